"""What of the log reaches the terminal; the log file has all of it."""

import logging
import shutil
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.logging import MMLogger, print_log
from mmengine.runner import Runner, checkpoint

#: How messages of mmengine and mmcv begin that describe their own workings.
HIDDEN = (
    f'\n{"-" * 60}\nSystem environment:',
    'Config:\n',
    'Using env variable',
    'Distributed training is not used, all SyncBatchNorm',
    'Hooks will be executed in the following order',
    'The prefix is not set in metric class',
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    'Checkpoints will be saved to',
    'paramwise_options -- ',
    'Exp name: ',
    'load model from: ',
    'Loads checkpoint by ',
    'Load checkpoint from ',
)


def reaches_screen(record: logging.LogRecord) -> bool:
    """Whether a message is more than a description of mmengine's own workings."""
    # How each parameter was initialised: hundreds of lines, where there is no log file.
    return record.funcName != '_dump_init_info' and not record.getMessage().startswith(HIDDEN)


def clear_screen(logger: MMLogger) -> None:
    """Keep on the terminal only what :func:`reaches_screen`; files keep everything."""
    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(reaches_screen)


def with_clear_screen(kind: type[Runner]) -> type[Runner]:
    """Return a runner's class whose log is cleared before the first message."""

    class ClearRunner(kind):
        def build_logger(self, *args, **kwargs) -> MMLogger:
            logger = super().build_logger(*args, **kwargs)
            clear_screen(logger)
            return logger

        def _log_env(self, env_cfg: dict) -> None:
            with _missing_compiler_hidden():
                super()._log_env(env_cfg)

    ClearRunner.__name__ = ClearRunner.__qualname__ = kind.__name__  # as errors and logs name it
    return ClearRunner


@contextmanager
def _missing_compiler_hidden() -> Iterator[None]:
    """Have mmengine report no compiler where there is none.

    It asks the compiler that built Python for its version, and the shell would say on stderr that
    there is no such command.
    """
    known = sysconfig.get_config_vars()
    compiler = known.get('CC')
    if compiler and shutil.which(Path(compiler.split()[0]).name) is None:
        known['CC'] = 'false'  # a command that fails: reported as "n/a"
    try:
        yield
    finally:
        known['CC'] = compiler


def log_loaded_files() -> None:
    """Let mmengine log which files it loads; without a logger it prints that."""
    checkpoint.print_log = _log


def _log(message: str, logger=None, level: int = logging.INFO) -> None:
    print_log(message, 'current' if logger is None else logger, level)
