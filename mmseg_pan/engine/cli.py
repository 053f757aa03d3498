"""What every tool shares: arguments, and errors in one sentence."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path

from mmengine.config import Config, DictAction

from mmseg_pan.errors import UserError


def run_tool(main: Callable[[], int | None]) -> None:
    """Run a tool: a user's mistake ends in one sentence and exit code 2.

    Args:
        main: The tool. What it returns is the exit code (None: 0).
    """
    try:
        sys.exit(main())
    except UserError as error:
        print(f'error: {sentence(error)}', file=sys.stderr)
        sys.exit(2)


def sentence(error: UserError) -> str:
    """Return the sentence of an error, without the traceback of a data loader worker.

    torch raises a worker's exception again with the whole traceback as its message, and
    mmengine's registry puts the class that failed to build before it.
    """
    text = str(error).strip()
    return re.split(r'(?:^|\n)[\w.]*UserError: ', text)[-1].strip()


class ConfigOptions(DictAction):
    """``--cfg-options KEY=VALUE ...`` that names a value without the equals sign."""

    def __call__(self, parser, namespace, values, option_string=None):
        """Store the options as a dict."""
        for value in values:
            if '=' not in value:
                hint = ' (put the config before the flag)' if value.endswith('.py') else ''
                parser.error(f'{option_string} takes KEY=VALUE, not {value!r}{hint}')
        super().__call__(parser, namespace, values, option_string)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that ``tools/train.py`` and ``tools/test.py`` share."""
    parser.add_argument('--work-dir', help='where results go (default: work_dirs/<config>)')
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
        help='let checkpoints run the code they hold; only for files whose maker you trust',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # torchrun and the older torch.distributed.launch spell it differently.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def load_config(path: str, options: dict | None = None, work_dir: str | None = None) -> Config:
    """Read a config file and settle where its results go.

    Args:
        path: Config file.
        options: Changes, as ``--cfg-options`` gives them.
        work_dir: Overrides the config; without either, ``work_dirs/<config stem>``.

    Raises:
        UserError: If there is no such file.
    """
    if not Path(path).is_file():
        folder = Path(path).parent
        names = [p.name for p in folder.glob('*.py')] if folder.is_dir() else []
        close = get_close_matches(Path(path).name, names, n=1)
        hint = f'did you mean {folder / close[0]}?' if close else 'see configs/pan for the names.'
        raise UserError(f'The config {path} is not there; {hint}')
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options or {})
    cfg.work_dir = work_dir or cfg.get('work_dir') or f'./work_dirs/{Path(path).stem}'
    return cfg


def parse_resume(argv: Sequence[str]) -> list[str]:
    """Keep a bare ``--resume`` from swallowing the config that follows it.

    Args:
        argv: The command line after the program's name.
    """
    argv = list(argv)
    for i, token in enumerate(argv):
        following = argv[i + 1] if i + 1 < len(argv) else ''
        if token == '--resume' and Path(following).suffix in ('.py', '.json', '.yaml', '.yml'):
            argv[i] = '--resume=newest'
    return argv
