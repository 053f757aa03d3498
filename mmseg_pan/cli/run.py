"""Errors of a user in one sentence, with exit code 2."""

import re
import sys
from collections.abc import Callable

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
