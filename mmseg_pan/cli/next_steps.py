"""What to type when a tool has ended."""

import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import join

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmseg_pan.engine.summary import print_rows
from mmseg_pan.evaluation.label_map_files import single_datasets

_TITLE = 'Next'
#: Options of a launcher, which starts several processes; what is printed runs in one.
_LAUNCHER = ('--launcher', '--local_rank', '--local-rank')


def print_after_training(runner: Runner) -> None:
    """Print how to test the best checkpoint, to report on it and to predict with it."""
    checkpoint = _best_or_last(runner)
    config = Path(runner.work_dir, Path(runner.cfg.filename or '').name)  # as mmengine dumps it
    if not (is_main_process() and checkpoint and config.is_file()):
        return
    rows = {}
    if runner.cfg.get('test_dataloader'):
        test = [_tool_path('test.py'), config, checkpoint]
        rows['test'] = _line(*test)
        rows['report'] = _line(*test, '--report', Path(runner.work_dir, 'report'))
    loader = runner.train_dataloader if runner.val_loop is None else runner.val_dataloader
    rows['predict'] = _predict(loader.dataset, '--checkpoint', checkpoint)
    print_rows(_TITLE, rows)


def print_after_test(
    runner: Runner, argv: Sequence[str], checkpoint: str, config: str | None, report: bool
) -> None:
    """Print how to report on a test and to predict.

    Args:
        runner: The runner.
        argv: The command line of the test.
        checkpoint: Weights or exported network.
        config: Config file for the prediction; None: the checkpoint's own.
        report: Whether the report is written already.
    """
    rows = {}
    if not report:
        command = _in_one_process(argv[1:])
        rows['report'] = _line(argv[0], *command, '--report', Path(runner.work_dir, 'report'))
    own = ['--config', config] if config else []
    rows['predict'] = _predict(
        runner.test_loop.dataloader.dataset, *own, '--checkpoint', checkpoint
    )
    print_rows(_TITLE, rows)


def _best_or_last(runner: Runner) -> str | None:
    hook = next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)
    several = list(getattr(hook, 'best_ckpt_path_dict', {}).values())
    best = [getattr(hook, 'best_ckpt_path', None), *several]
    return next(filter(None, [*best, getattr(hook, 'last_ckpt', None)]), None)


def _predict(dataset, *options) -> str:
    """The line that segments the first image of a data set, as far as it tells its path."""
    first = next(single_datasets(dataset))
    info = first.get_data_info(0) if hasattr(first, 'get_data_info') else {}
    image = info.get('img_path', 'photo.jpg')
    return _line(_tool_path('predict.py'), image, *options, '--out', 'predictions')


def _tool_path(name: str) -> Path:
    """Another tool, by the path that was typed for this one."""
    return Path(sys.argv[0]).with_name(name)


def _line(*words) -> str:
    return join(['python', *map(_short, words)])


def _short(word: str | Path) -> str:
    """A path below the current folder without it."""
    path, here = Path(word), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else word)


def _in_one_process(words: Sequence[str]) -> list[str]:
    """Leave a launcher's options out."""
    kept, value = [], False
    for word in words:
        name = word.partition('=')[0]
        if not value and name not in _LAUNCHER:
            kept.append(word)
        value = word in _LAUNCHER  # its value is the word that follows
    return kept
