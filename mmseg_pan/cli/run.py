"""User errors as one-sentence messages with exit code 2."""

import os
import re
import select
import sys
from collections.abc import Callable

from mmengine.logging import MMLogger
from torch import distributed

from mmseg_pan.errors import UserError

from .screen import clear_screen, log_loaded_files


def run_tool(main: Callable[[], int | None]) -> None:
    """Run a tool; a user error prints one sentence and exits with code 2.

    Args:
        main: The tool. What it returns is the exit code (None: 0).
    """
    # What is logged without a Runner, or before it is built.
    clear_screen(MMLogger.get_instance('mmengine'))
    log_loaded_files()
    try:
        code = main()
        if distributed.is_available() and distributed.is_initialized():
            # Left to the interpreter's end, gloo's threads now and then abort a finished job.
            distributed.destroy_process_group()
        sys.stdout.flush()
        sys.exit(code)
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's last flush
        sys.exit(128 + 13)  # as a shell has it: SIGPIPE
    except UserError as error:
        print(f'error: {sentence(error)}', file=sys.stderr)
        sys.exit(2)


def _reader_is_gone() -> bool:
    """Whether it is the standard output that broke: "| head" has read enough."""
    poll = select.poll()  # exists on POSIX only, as broken pipes do
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def sentence(error: UserError) -> str:
    """Return an error's message without the traceback of a data loader worker.

    torch raises a worker's exception again with the whole traceback as its message, and
    mmengine's registry puts the class that failed to build before it.
    """
    text = str(error).strip()
    return re.split(r'(?:^|\n)[\w.]*UserError: ', text)[-1].strip()
