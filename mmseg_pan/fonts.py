"""Fonts for class names in any script, and ids if no font has the glyphs."""

import os
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from PIL import ImageFont

#: They claim to have every character, and draw a box or nothing for it.
_NO_LETTERS = ('lastresort', 'blank', 'notdef', 'color')

#: Characters that pictures write next to a name, in the same font.
_BESIDE = '0123456789.,%<()'


def drawable_names(names: Sequence[str]) -> list[str]:
    """Return what pictures show for each name: itself, or its index if no font has its glyphs."""
    return [_cleaned(name) if _has_font(name) else str(number) for number, name in enumerate(names)]


def missing_letters(names: Sequence[str]) -> str:
    """Return a legend of the names that pictures show as ids; empty if all can be drawn."""
    missing = [f'{number}: {name}' for number, name in enumerate(names) if not _has_font(name)]
    if not missing:
        return ''
    return (
        'No font on this machine has the glyphs of some class names, so pictures show their ids '
        f'instead: {", ".join(missing)}. Install a font that has them, such as Noto Sans CJK.'
    )


def picture_font(text: str, size: int) -> ImageFont.FreeTypeFont:
    """Return a font with all glyphs of a text, in a size in pixels."""
    file = find_font(_cleaned(text))
    return ImageFont.truetype(file, size) if file else ImageFont.load_default(size)


def plot_families(texts: Sequence[str]) -> list[str]:
    """Return the font families that Matplotlib needs for some texts, its default first."""
    from matplotlib import font_manager

    found = ['DejaVu Sans']
    for letter in sorted(set(''.join(map(_cleaned, texts)))):
        if file := find_font(letter):
            font_manager.fontManager.addfont(file)
            found.append(font_manager.FontProperties(fname=file).get_name())
    return list(dict.fromkeys(found))


def _has_font(name: str) -> bool:
    return find_font(f'{_cleaned(name)}{_BESIDE}') is not None


@lru_cache(maxsize=4096)
def find_font(text: str) -> str | None:
    """Return a font file with all glyphs of a text; '' for the default font, None if none has."""
    if text.isascii():
        return ''
    needed = {ord(letter) for letter in text if not letter.isspace()}
    return next((file for file in font_files() if needed <= _letters(file)), None)


@lru_cache(maxsize=1)
def font_files() -> tuple[str, ...]:
    """The fonts of this machine: Matplotlib's DejaVu Sans, then plain fonts without serifs."""
    import matplotlib
    from matplotlib import font_manager

    def plainness(file: str) -> tuple:
        name = os.path.basename(file).lower()
        styled = any(word in name for word in ('bold', 'italic', 'oblique', 'black', 'mono'))
        return 'sans' not in name, styled, name

    own = os.path.join(matplotlib.get_data_path(), 'fonts/ttf/DejaVuSans.ttf')
    installed = [
        file
        for file in font_manager.findSystemFonts()
        if not any(word in os.path.basename(file).lower() for word in _NO_LETTERS)
    ]
    return (own, *sorted(installed, key=plainness))


@lru_cache(maxsize=1024)
def _letters(file: str) -> frozenset[int]:
    """The code points for which a font has a glyph; none where it cannot be used."""
    from matplotlib.ft2font import FT2Font

    try:
        ImageFont.truetype(file, 16)
        return frozenset(code for code, glyph in FT2Font(file).get_charmap().items() if glyph)
    except (OSError, RuntimeError):  # damaged, or a bitmap font of other sizes
        return frozenset()


def _cleaned(name: str) -> str:
    """One line, and letters with their accents in one where Unicode has them."""
    return unicodedata.normalize('NFC', ' '.join(str(name).split()))
