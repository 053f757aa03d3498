"""The archive, read back by an independent reader."""

import subprocess
import zlib

import numpy as np
import pytest
from PIL import Image

from mmseg_pan import UserError
from mmseg_pan.voc.server import write_archive

SIZES = {'2008_000001': (20, 30), '2008_000002': (31, 17)}


@pytest.fixture
def voc(tmp_path):
    """A miniature VOC test set with right predictions."""
    rng = np.random.default_rng(0)
    (tmp_path / 'JPEGImages').mkdir()
    (tmp_path / 'maps').mkdir()
    (tmp_path / 'ImageSets/Segmentation').mkdir(parents=True)
    (tmp_path / 'ImageSets/Segmentation/test.txt').write_text('\n'.join(SIZES))
    for name, size in SIZES.items():
        photograph = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
        Image.fromarray(photograph).save(tmp_path / f'JPEGImages/{name}.jpg')
        labels = rng.integers(0, 21, size, dtype=np.uint8)
        Image.fromarray(labels).save(tmp_path / f'maps/{name}.png')
    return tmp_path


def pack(voc):
    write_archive(voc / 'maps', voc, list(SIZES), voc / 'results.tgz')


def read_palette_png(data):
    """Width, height, colour type, palette and pixels of an unfiltered 8-bit PNG."""
    assert data[:8] == b'\x89PNG\r\n\x1a\n'
    chunks, position = {}, 8
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], 'big')
        kind = data[position + 4 : position + 8]
        chunks[kind] = chunks.get(kind, b'') + data[position + 8 : position + 8 + length]
        position += 12 + length
    header = chunks[b'IHDR']
    width, height = (int.from_bytes(header[i : i + 4], 'big') for i in (0, 4))
    assert tuple(header[8:10]) == (8, 3)  # 8 bits, palette
    rows = np.frombuffer(zlib.decompress(chunks[b'IDAT']), np.uint8).reshape(height, width + 1)
    assert not rows[:, 0].any()  # no filter
    return rows[:, 1:], np.frombuffer(chunks[b'PLTE'], np.uint8).reshape(-1, 3)


def test_archive_is_what_the_server_takes(voc, tmp_path):
    """Unpacked by the system's tar, read by a PNG reader of the test's own."""
    pack(voc)
    target = tmp_path / 'unpacked'
    target.mkdir()
    subprocess.run(['tar', '-xzf', voc / 'results.tgz', '-C', target], check=True)
    files = sorted(p.relative_to(target).as_posix() for p in target.rglob('*') if p.is_file())
    folder = 'results/VOC2012/Segmentation/comp6_test_cls'
    assert files == [f'{folder}/{name}.png' for name in SIZES]
    for name, size in SIZES.items():
        labels, palette = read_palette_png((target / folder / f'{name}.png').read_bytes())
        assert labels.shape == size
        assert np.array_equal(labels, np.asarray(Image.open(voc / f'maps/{name}.png')))
        assert palette[15].tolist() == [192, 128, 128]  # person


def test_same_predictions_same_bytes(voc):
    """But for the second at which gzip was called."""
    archives = []
    for _ in range(2):
        pack(voc)
        archives.append(zlib.decompress((voc / 'results.tgz').read_bytes(), 31))
    assert archives[0] == archives[1]


def spoil_missing(voc):
    (voc / 'maps/2008_000002.png').unlink()


def spoil_extra(voc):
    Image.new('L', (3, 3)).save(voc / 'maps/other.png')


def spoil_size(voc):
    Image.new('L', (30, 21)).save(voc / 'maps/2008_000001.png')


def spoil_ids(voc):
    Image.new('L', (30, 20), 255).save(voc / 'maps/2008_000001.png')


def spoil_file(voc):
    (voc / 'maps/2008_000001.png').write_bytes(b'no image')


@pytest.mark.parametrize(
    ('spoil', 'sentence'),
    [
        (spoil_missing, r'maps lacks 1 of the maps, first 2008_000002.png'),
        (spoil_extra, r'maps has, unasked, 1 of the maps, first other.png'),
        (spoil_size, r'2008_000001.png has shape \(21, 30\), but .* has \(20, 30\)'),
        (spoil_ids, r'2008_000001.png holds the ids \[255\]; the server takes 0 to 20'),
        (spoil_file, r'2008_000001.png is not a readable image'),
    ],
)
def test_wrong_predictions_are_named_and_nothing_is_written(voc, spoil, sentence):
    spoil(voc)
    before = set(voc.iterdir())
    with pytest.raises(UserError, match=sentence):
        pack(voc)
    assert set(voc.iterdir()) == before


def test_tool(voc, run_tool):
    done = run_tool('voc_server_archive.py', voc / 'maps', '--root', voc, '--out', voc / 'a.tgz')
    assert '2 maps, names, sizes and ids checked' in done.stdout
    assert (voc / 'a.tgz').is_file()
    done = run_tool('voc_server_archive.py', voc / 'no', '--root', voc, check=False)
    assert done.returncode == 2
    assert 'no does not exist; give the predictions' in done.stderr
