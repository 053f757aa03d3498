"""Saving Matplotlib figures: formats, fonts and the mark of outputs."""

import io
from collections.abc import Iterable
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.text import Text

from mmseg_pan.errors import UserError
from mmseg_pan.files import disk_errors_explained, write_whole
from mmseg_pan.fonts import plot_families
from mmseg_pan.outputs import MARK, name_output

#: Formats that can hold the mark of an output, and the metadata key for it.
_MARKED = {
    'png': dict(metadata=dict(Comment=MARK)),
    'svg': dict(metadata=dict(Description=MARK)),
    'webp': dict(pil_kwargs=dict(xmp=MARK.encode())),
    **{kind: dict(metadata=dict(Creator=MARK)) for kind in ('pdf', 'ps', 'eps')},
    **{kind: dict(pil_kwargs=dict(comment=MARK.encode())) for kind in ('jpg', 'jpeg')},
    **{kind: dict(pil_kwargs=dict(description=MARK)) for kind in ('tif', 'tiff')},
}


def check_picture(file: Path, inputs: Iterable[Path] = (), option: str = '--out') -> None:
    """Check that a plot can be written, before it is drawn.

    Raises:
        UserError: If the folder does not exist or cannot be written, the ending names no format,
            or something else than a plot of ours would be overwritten.
    """
    if file.suffix[1:].lower() not in _MARKED:
        raise UserError(
            f'{option} {file} must end in one of {", ".join("." + name for name in _MARKED)}; type '
            f'for example "{option} {file}.png".'
        )
    if not file.parent.is_dir():
        raise UserError(f'The folder {file.parent} of {option} does not exist; create it first.')
    name_output(file, inputs=inputs, option=option)


def write_picture(data: bytes, file: Path) -> None:
    """Write a plot to a file atomically."""
    with disk_errors_explained(file.parent):
        write_whole(file, data, durable=False)


def encode(figure: Figure, kind: str = 'png') -> bytes:
    """Render a figure in the format given by the file's suffix, with our mark."""
    texts = figure.findobj(Text)
    families = plot_families([text.get_text() for text in texts])
    for text in texts:
        text.set_fontfamily(families)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, **_MARKED[kind.lower()])
    return buffer.getvalue()
