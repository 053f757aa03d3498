"""The division of the images, reruns, names, orientation, and what the tool may overwrite."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmseg_pan import UserError
from mmseg_pan.annotations.classes import divide
from mmseg_pan.annotations.records import Record
from mmseg_pan.datasets.reading import Loading
from tests.annotations.sources import (
    convert,
    labelme,
    photograph,
    read_masks,
    save,
    shape,
    triangles,
)


def records(names: list[str], splits=None) -> list[Record]:
    splits = splits or [None] * len(names)
    return [Record(n, Path(n), n, split=s) for n, s in zip(names, splits, strict=True)]


@given(st.integers(3, 60), st.integers(1, 60), st.floats(0.1, 0.5))
def test_images_keep_their_split_when_others_are_added(number, more, share):
    before = [f'{index}.jpg' for index in range(number)]
    after = [f'{index}.jpg' for index in range(-more, number)]
    old = dict(zip(before, divide(records(before), share, None), strict=True))
    new = dict(zip(after, divide(records(after), share, None), strict=True))
    assert set(old.values()) == {'train', 'val'}
    moved = [name for name in before if old[name] != new[name]]
    # Where no image would be in val, the nearest one is.
    assert not moved or (len(moved) == 1 and list(old.values()).count('val') == 1)


def test_share_of_many_images():
    found = divide(records([f'{index}.jpg' for index in range(5000)]), 0.2, None)
    assert 0.18 < found.count('val') / 5000 < 0.22


def test_groups_stay_together():
    names = [f'video{video}_{frame:04d}.jpg' for video in range(20) for frame in range(15)]
    found = divide(records(names), 0.3, re.compile(r'^(video\d+)_'))
    sides = {}
    for name, side in zip(names, found, strict=True):
        sides.setdefault(name.split('_')[0], set()).add(side)
    assert all(len(side) == 1 for side in sides.values())
    assert set().union(*sides.values()) == {'train', 'val'}


def test_copies_that_roboflow_makes_stay_together():
    names = [f'{i}_jpg.rf.{c:032x}.jpg' for i in range(40) for c in range(3)]
    found = divide(records(names), 0.3, None)
    assert all(len(set(found[start : start + 3])) == 1 for start in range(0, 120, 3))
    assert set(found) == {'train', 'val'}


@pytest.mark.parametrize(('group', 'match'), [('cow', 'fits none'), ('jpg', 'into one group')])
def test_groups_that_divide_nothing(group, match):
    with pytest.raises(UserError, match=match):
        divide(records(['a.jpg', 'b.jpg', 'c.jpg']), 0.3, re.compile(group))


def test_the_split_of_the_source_is_kept():
    names = [f'{index}.jpg' for index in range(6)]
    splits = ['train', 'train', 'val', 'test', 'train', 'test']
    assert divide(records(names, splits), 0.5, None) == splits
    without = ['train'] * 5 + ['test']
    assert set(divide(records(names, without), 0.5, None)[:5]) == {'train', 'val'}


def test_a_class_that_val_lacks_is_named(tmp_path):
    triangles(tmp_path / 'in', 8)
    convert(tmp_path / 'in', tmp_path / 'first')
    (first, *_) = (tmp_path / 'first/masks/train').iterdir()
    file = tmp_path / f'in/{first.stem}.json'
    save(file, file.read_text().replace('"part"', '"rare"'))
    lines = convert(tmp_path / 'in', tmp_path / 'out')
    assert "No image of val has 'rare', which cannot be validated." in lines


def times(out: Path) -> dict[str, int]:
    return {str(p.relative_to(out)): p.stat().st_mtime_ns for p in out.rglob('*.*') if p.is_file()}


def test_a_rerun_writes_only_what_is_new_or_changed(tmp_path):
    source, out = triangles(tmp_path / 'in', 6), tmp_path / 'out'
    convert(source, out)
    before = times(out)
    assert '6 images from labelme' in (lines := convert(source, out))[0]
    assert ': 0 written, 6 unchanged, 0 left out.' in lines[0]
    content = json.loads((source / '002.json').read_text())
    content['shapes'][0]['points'][0] = [1, 9]
    save(source / '002.json', content)
    save(source / 'new.png', photograph(20, 16))
    save(source / 'new.json', labelme('new.png', (20, 16), content['shapes']))
    for path in source.glob('004.*'):
        path.unlink()
    lines = convert(source, out)
    assert ': 2 written, 4 unchanged, 0 left out, 2 files removed that the source' in lines[0]
    after = times(out)
    changed = {n for n in after if after[n] != before.get(n)} - {'.mmseg_pan_annotations.json'}
    assert {Path(n).name for n in changed if n.startswith('images')} == {'new.png'}
    assert {Path(n).name for n in changed if n.startswith('masks')} == {'002.png', 'new.png'}
    assert {Path(n).stem for n in before.keys() - after.keys()} == {'004'}


def test_another_share_moves_images_and_leaves_no_copy(tmp_path):
    source, out = triangles(tmp_path / 'in', 12), tmp_path / 'out'
    convert(source, out)
    convert(source, out, val_share=0.6)
    names = [path.name for path in out.glob('images/*/*')]
    assert len(names) == len(set(names)) == 12


def test_an_edited_config_is_kept(tmp_path):
    source, out = triangles(tmp_path / 'in', 4), tmp_path / 'out'
    convert(source, out)
    file = out / 'config.py'
    text = file.read_text()
    file.write_text(text + '# mine\n')
    for _ in range(2):
        assert any('was edited and is kept' in line for line in convert(source, out))
        assert file.read_text() == text + '# mine\n'
    file.unlink()
    convert(source, out)
    assert file.read_text() == text


def test_a_damaged_output_is_written_again(tmp_path):
    source, out = triangles(tmp_path / 'in', 4), tmp_path / 'out'
    convert(source, out)
    (first, *_) = out.glob('masks/*/*.png')
    whole = first.read_bytes()
    first.write_bytes(whole[:40])
    (first.parent / f'.{first.name}.77.part').write_bytes(b'x')  # of a run that was killed
    assert ': 1 written, 3 unchanged' in convert(source, out)[0]
    assert first.read_bytes() == whole
    assert not list(out.rglob('.*.part'))


def test_what_is_not_overwritten(tmp_path):
    source = triangles(tmp_path / 'in', 4)
    save(tmp_path / 'full/notes.txt', 'mine')
    for out, match in (
        (tmp_path / 'full', 'holds files that this tool did not write'),
        (source, 'is, or holds, the source'),
        (tmp_path, 'is, or holds, the source'),
        (tmp_path / 'full/notes.txt', 'is a file, but outputs need a folder'),
    ):
        with pytest.raises(UserError, match=match):
            convert(source, out)
    assert [path.name for path in (tmp_path / 'full').iterdir()] == ['notes.txt']


def test_output_inside_of_the_source_is_not_read_again(tmp_path):
    source = triangles(tmp_path / 'in', 4)
    for _ in range(2):
        assert convert(source, source / 'data')[0].startswith('4 images from labelme')


def test_names_that_are_no_utf_8(tmp_path):
    source = triangles(tmp_path / 'in', 4)
    (source / '000.png').rename(source / '\udcff.png')
    (source / '001.png').rename(source / '.hidden\n.png')
    for name, new in (('000', '\udcff'), ('001', '.hidden\n')):
        file = source / f'{name}.json'
        content = json.loads(file.read_text()) | dict(imagePath=f'{new}.png')
        file.write_text(json.dumps(content))
    (source / '002.json').rename(source / '\udcfe.json')
    (source / '002.png').unlink()
    lines = convert(source, tmp_path / 'out')
    assert sorted(read_masks(tmp_path / 'out')) == ['003', '_', 'hidden_']
    for line in lines:
        line.encode('utf-8')


def test_a_list_of_files_removes_nothing_else(tmp_path):
    source, out = triangles(tmp_path / 'in', 4), tmp_path / 'out'
    convert(source, out)
    save(tmp_path / 'mine.txt', 'mine')
    file = out / '.mmseg_pan_annotations.json'
    content = json.loads(file.read_text())
    save(file, content | dict(files=['images/../../mine.txt', '../mine.txt', *content['files']]))
    convert(source, out)
    assert (tmp_path / 'mine.txt').is_file()


def test_images_of_one_name_get_names_of_their_own(tmp_path):
    box = [shape('a', [[1, 1], [5, 5]], 'rectangle')]
    for name, seed in (('a.png', 0), ('a.bmp', 1), ('one/b.png', 2), ('two/b.png', 3)):
        save(tmp_path / 'in' / name, photograph(20, 16, seed))
        file = tmp_path / 'in' / name.replace('.bmp', '_bmp.json').replace('.png', '.json')
        save(file, labelme(Path(name).name, (20, 16), box))
    convert(tmp_path / 'in', tmp_path / 'out')
    assert sorted(read_masks(tmp_path / 'out')) in (
        ['a-bmp', 'a-png', 'one/b', 'two/b'],
        ['a', 'a', 'one/b', 'two/b'],  # in different splits
        ['a', 'one/b', 'two/b'],
    )
    lists = [(tmp_path / f'out/{split}.txt').read_text() for split in ('train', 'val')]
    assert sorted(''.join(lists).split()) == sorted(
        '/'.join(p.parts[p.parts.index('images') + 2 :])
        for p in (tmp_path / 'out').glob('images/**/*.*')
    )


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('upright', [True, False])
def test_masks_fit_images_that_exif_turns(tmp_path, orientation, upright):
    """The object is bright: after conversion, where the mask says so, the pixels are bright."""
    width, height = 33, 20
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[4:9, 6:20] = 255
    stored, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    stored.save(file, 'JPEG', quality=95, subsampling=0, exif=exif)
    loaded = Loading().decode(file.getvalue())[..., 0] > 127
    swapped = orientation >= 5
    if not upright and not swapped:
        pytest.skip('the size does not tell whether the annotation is upright')
    triangles(tmp_path / 'in', 1, 'a')
    (tmp_path / 'in/z.jpg').write_bytes(file.getvalue())
    if upright:  # what LabelMe and browsers show
        rows, columns = np.nonzero(loaded)
        size = loaded.shape[::-1]
    else:
        rows, columns = np.nonzero(pixels[..., 0])
        size = (width, height)
    corners = [[int(columns.min()), int(rows.min())], [int(columns.max()), int(rows.max())]]
    box = shape('a', corners, 'rectangle')
    save(tmp_path / 'in/z.json', labelme('z.jpg', size, [box]))
    convert(tmp_path / 'in', tmp_path / 'out')
    (image,) = (tmp_path / 'out').glob('images/*/z.jpg')
    written = Loading().decode(image.read_bytes())[..., 0] > 127
    assert np.array_equal(read_masks(tmp_path / 'out')['z'], written)
    assert np.array_equal(written, loaded)
    assert Image.open(image).getexif().get(0x0112, 1) == 1  # upright for every program


def test_a_first_run_that_fails_leaves_nothing(tmp_path, monkeypatch):
    source = triangles(tmp_path / 'in', 4)

    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr('mmseg_pan.annotations.convert_annotations.write_config', fail)
    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_processes_give_the_same_files(tmp_path):
    source = triangles(tmp_path / 'in', 40)
    convert(source, tmp_path / 'one')
    convert(source, tmp_path / 'two', processes=2)
    found = [tmp_path / 'one', tmp_path / 'two']
    one, two = ({name: (p / name).read_bytes() for name in times(p)} for p in found)
    assert one == two
