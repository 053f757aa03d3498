"""List files: the names of a split, one a line."""

from pathlib import Path

from mmseg_pan.errors import UserError


def read_lines(path: Path) -> list[str]:
    """The lines of a list as they stand there.

    Raises:
        UserError: If the list is not there or is not text.
    """
    try:
        text = path.read_text('utf-8')
    except FileNotFoundError:
        raise UserError(
            f'The list {path} is not there; restore it from the official archive.'
        ) from None
    except UnicodeDecodeError:
        raise UserError(f'The list {path} is not text; restore it.') from None
    return text.splitlines()


def read_ids(path: Path) -> list[str]:
    """The ids of a list, one a line; an error as :func:`read_lines` has it."""
    return [line.strip() for line in read_lines(path) if line.strip()]
