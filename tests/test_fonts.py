"""Class names of any script in pictures: drawn, or ids with a legend."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.figure import Figure

from mmseg_pan import fonts
from mmseg_pan.figures import encode
from mmseg_pan.fonts import drawable_names, find_font, missing_letters, plot_families
from mmseg_pan.inference.pictures import Painter
from mmseg_pan.reports import plots
from mmseg_pan.verification.browsing import beside

CHINESE = ('背景', '裂缝', '凹痕')
RUSSIAN = ('фон', 'дом', 'лес')
COLOURS = [[0, 0, 0], [200, 0, 0], [0, 200, 0]]
LABELS = np.repeat(np.arange(3, dtype=np.uint8), 20)[None].repeat(40, 0)
GREY = np.full((40, 60, 3), 100, np.uint8)


@pytest.fixture(autouse=True)
def _fresh():
    yield
    fonts.find_font.cache_clear()


def use_fonts(monkeypatch, *files) -> None:
    """Let the machine have Matplotlib's DejaVu Sans and some other fonts."""
    own = fonts.font_files()[0]
    monkeypatch.setattr(fonts, 'font_files', lambda: (own, *map(str, files)))
    fonts.find_font.cache_clear()


def make_font(file: Path, letters: str) -> Path:
    """A font whose letters are bars, each of another height."""
    names = {ord(letter): f'u{ord(letter):x}' for letter in letters}
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(['.notdef', *names.values()])
    builder.setupCharacterMap(names)
    glyphs = {}
    for index, name in enumerate(['.notdef', *names.values()]):
        pen = TTGlyphPen(None)
        top = 100 + 700 * index // len(names)
        pen.moveTo((50, 0)), pen.lineTo((50, top)), pen.lineTo((400, top)), pen.lineTo((400, 0))
        pen.closePath()
        glyphs[name] = pen.glyph()
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics({name: (500, 50) for name in glyphs})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable(dict(familyName='Bars', styleName='Regular'))
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.save(file)
    return file


@pytest.fixture
def bars(tmp_path):
    return make_font(tmp_path / 'bars.ttf', ''.join(CHINESE) + ' 0123456789.,%<()')


def overlay(classes) -> bytes:
    return Painter(dict(classes=classes, palette=COLOURS)).encode(GREY, LABELS)


def browsed(classes) -> bytes:
    return beside(GREY, LABELS, dict(classes=classes, palette=COLOURS)).tobytes()


def plotted(classes) -> bytes:
    return plots.draw_confusion(np.eye(3, dtype=int), classes)


PICTURES = pytest.mark.parametrize('picture', [overlay, browsed, plotted])


@PICTURES
@pytest.mark.parametrize(
    ('names', 'others'),
    [
        (RUSSIAN, ('луг', 'сад', 'пол')),
        (('ουρα', 'δρυς', 'γαία'), ('γαία', 'ουρα', 'δρυς')),  # noqa: RUF001
        (('čas', 'łan', 'ţap'), ('ţap', 'čas', 'łan')),
    ],
)
def test_letters_of_dejavu_are_drawn(monkeypatch, picture, names, others):
    use_fonts(monkeypatch)
    assert drawable_names(names) == list(names) and missing_letters(names) == ''
    assert picture(names) != picture(others)


@PICTURES
def test_a_font_of_the_machine_is_used(monkeypatch, bars, picture):
    use_fonts(monkeypatch, bars)
    assert drawable_names(CHINESE) == list(CHINESE)
    assert picture(CHINESE) != picture(CHINESE[::-1])


@pytest.mark.parametrize('picture', [overlay, browsed])
def test_ids_where_no_font_has_the_letters(monkeypatch, texts, picture):
    use_fonts(monkeypatch)
    picture(('cat', '裂缝', 'дом'))
    assert not any('裂' in text for text in texts)
    assert [text.split()[0] for text in texts] in (['cat', '1', 'дом'], ['0', '1', '2'])


def test_ids_in_plots_and_their_legend(monkeypatch):
    use_fonts(monkeypatch)
    figures = []
    monkeypatch.setattr(plots, 'encode', lambda f, *kind: figures.append(f) or encode(f, *kind))
    plotted(('cat', '裂缝', '凹痕'))
    (ticks,) = ([t.get_text() for t in f.axes[0].get_yticklabels()] for f in figures)
    assert ticks == ['cat', '1', '2']
    note = missing_letters(('cat', '裂缝', '凹痕'))
    assert note.startswith('No font') and '1: 裂缝, 2: 凹痕' in note and 'cat' not in note


def test_a_font_that_lacks_one_letter_is_passed_over(monkeypatch, tmp_path, bars):
    poor = make_font(tmp_path / 'poor.ttf', '背景 0123456789.,%<()')
    use_fonts(monkeypatch, poor, bars)
    assert find_font('背景') == str(poor)
    assert find_font('裂缝') == str(bars)


def test_damaged_fonts_are_passed_over(monkeypatch, tmp_path, bars):
    broken = tmp_path / 'broken.ttf'
    broken.write_bytes(bars.read_bytes()[:100])
    use_fonts(monkeypatch, broken, bars)
    assert find_font('裂缝') == str(bars)


def test_fonts_that_only_draw_boxes_do_not_count(monkeypatch, tmp_path, bars):
    from matplotlib import font_manager

    last = shutil.copy(bars, tmp_path / 'LastResort-Regular.ttf')
    monkeypatch.setattr(font_manager, 'findSystemFonts', lambda: [last])
    assert last not in fonts.font_files.__wrapped__()


def test_plots_mix_scripts(monkeypatch, bars):
    use_fonts(monkeypatch, bars)
    assert plot_families(['дом', '裂缝', 'cat']) == ['DejaVu Sans', 'Bars']
    figure = Figure()
    figure.text(0, 0, '裂缝 и дом')
    assert encode(figure)


def test_accents_in_two_parts_and_line_breaks(monkeypatch):
    use_fonts(monkeypatch)
    assert drawable_names(('e\u0301te\u0301', 'two\nlines')) == ['\u00e9t\u00e9', 'two lines']
