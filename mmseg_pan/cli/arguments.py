"""Command-line arguments that tools share."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from mmengine.config import DictAction


class ArgumentParser(argparse.ArgumentParser):
    """``argparse``'s parser, with one-sentence errors and exit code 2, as for all user errors.

    Args:
        description: Its first line is shown; None, as docstrings are under ``python -OO``: nothing.
        **kwargs: Arguments of ``argparse.ArgumentParser``.
    """

    def __init__(self, description: str | None = None, **kwargs):
        lines = (description or '').splitlines()
        super().__init__(description=lines[0] if lines else None, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Print the message and exit."""
        self.exit(2, f'error: {message}; type "{self.prog} --help".\n')


class ConfigOptions(DictAction):
    """``--cfg-options KEY=VALUE ...`` that names a value without the equals sign."""

    def __call__(self, parser, namespace, values, option_string=None):
        """Store the options as a dict."""
        for value in values:
            if '=' not in value:
                hint = ' (put the config before the flag)' if value.endswith('.py') else ''
                parser.error(f'{option_string} takes KEY=VALUE, not {value!r}{hint}')
        super().__call__(parser, namespace, values, option_string)


def add_common_arguments(parser: ArgumentParser) -> None:
    """Add the flags that ``tools/train.py`` and ``tools/test.py`` share."""
    parser.add_argument('--work-dir', help='output folder (default: work_dirs/<config>)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        metavar='KEY=VALUE',
        help='change the config, for example train_dataloader.batch_size=8',
    )
    parser.add_argument(
        '--unsafe-load',
        action='store_true',
        help='allow checkpoints to run code; only for files from a trusted source',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # torchrun and the older torch.distributed.launch spell it differently.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def parse_resume(argv: Sequence[str]) -> list[str]:
    """Keep a bare ``--resume`` from consuming the config that follows it.

    Args:
        argv: The command line after the program's name.
    """
    argv = list(argv)
    for i, token in enumerate(argv):
        following = argv[i + 1] if i + 1 < len(argv) else ''
        if token == '--resume' and Path(following).suffix in ('.py', '.json', '.yaml', '.yml'):
            argv[i] = '--resume=newest'
    return argv


def whole_number(least: int) -> Callable[[str], int]:
    """Return an argparse ``type`` for whole numbers of at least ``least``."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f'{text!r} is not a whole number, {least} or more')
        return int(text)

    return number


def share(text: str, ends: bool = True) -> float:
    """An argparse ``type`` for numbers between 0 and 1; ``ends``: or one of these."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if 0 < number < 1 or (ends and number in (0, 1)):
        return number
    expected = 'not a number from 0 to 1' if ends else 'no share between 0 and 1, such as 0.2'
    raise argparse.ArgumentTypeError(f'{text!r} is {expected}')
