"""The page's scripts, run by node: pixels as OpenCV's, ids as torch's, PNGs for Pillow."""

import io
import json
import re
import shutil

import cv2
import mmcv
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from tests.paths import ROOT
from tests.processes import run_command

NODE = shutil.which('node')
PAGE = ROOT / 'mmseg_pan/export/page'
BEFORE = """
import {readFileSync, writeFileSync} from 'fs';
const values = JSON.parse(readFileSync('values.json'));
"""
pytestmark = pytest.mark.skipif(NODE is None, reason='node is not installed')


@pytest.fixture
def run_script(tmp_path):
    """Run JavaScript with ``values``; arrays are files there, and what it logs is read as JSON."""
    for path in PAGE.glob('*.js'):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / 'package.json').write_text('{"type": "module"}')

    def run(code: str, values=None, **arrays):
        for name, array in arrays.items():
            array.tofile(tmp_path / name)
        (tmp_path / 'values.json').write_text(json.dumps(values))
        (tmp_path / 'test.js').write_text(BEFORE + code)
        done = run_command([NODE, 'test.js'], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout or 'null')

    run.folder = tmp_path
    return run


def sizes(seed, count, largest):
    random = np.random.default_rng(seed)
    shapes = np.exp(random.uniform(0, np.log(largest), (count, 4))).astype(int)
    return random, shapes.tolist()


def test_resizing_is_opencvs_byte_for_byte(run_script):
    random, shapes = sizes(0, 40, 300)
    shapes += [(100, 200, 50, 100), (64, 64, 128, 128), (1, 1, 3, 2), (375, 500, 385, 513)]
    images = [random.integers(0, 256, (h, w, 4), np.uint8) for h, w, _, _ in shapes]
    run_script(
        """
        import {resize} from './prepare.js';
        const data = readFileSync('images');
        let at = 0;
        const out = [];
        for (const [height, width, rows, columns] of values) {
            const part = data.subarray(at, at += 4 * height * width);
            const size = {width: columns, height: rows};
            out.push(Buffer.from(resize({data: part, width, height}, size).data));
        }
        writeFileSync('resized', Buffer.concat(out));
        """,
        shapes,
        images=np.concatenate([image.ravel() for image in images]),
    )
    found, at = np.fromfile(run_script.folder / 'resized', np.uint8), 0
    for image, shape in zip(images, shapes, strict=True):
        rows, columns = shape[2:]
        part = found[at : at + 4 * rows * columns].reshape(rows, columns, 4)
        at += part.size
        expected = cv2.resize(image[..., :3], (columns, rows))
        np.testing.assert_array_equal(part[..., :3], expected, str(shape))


def test_sizes_are_mmcvs(run_script):
    _, shapes = sizes(1, 300, 5000)
    found = run_script(
        """
        import {sizeAfter} from './prepare.js';
        const after = ([height, width, ...scale]) => {
            const kept = sizeAfter({width, height}, {scale, keepRatio: true});
            const set = sizeAfter({width, height}, {scale, keepRatio: false});
            const multiple = sizeAfter({width, height}, {divisor: 32});
            return [kept, set, multiple].map((size) => [size.width, size.height]);
        };
        console.log(JSON.stringify(values.map(after)));
        """,
        shapes,
    )
    for (height, width, *scale), (kept, given, multiple) in zip(shapes, found, strict=True):
        assert tuple(kept) == mmcv.rescale_size((width, height), tuple(scale))
        assert given == scale
        assert multiple == [-(-width // 32) * 32, -(-height // 32) * 32]


def test_photographs_are_padded_on_the_right_and_below(run_script):
    image = np.random.default_rng(0).integers(0, 255, (3, 5, 4), np.uint8)
    found = run_script(
        """
        import {prepare} from './prepare.js';
        const photo = {data: readFileSync('image'), width: 5, height: 3};
        const run = (padding) => {
            const {pixels, seen} = prepare(photo, {steps: [], padding});
            return {...pixels, data: [...pixels.data], seen};
        };
        console.log(JSON.stringify([null, {size: [6, 4]}, {divisor: 4}].map(run)));
        """,
        image=image,
    )
    opaque = np.dstack([image[..., :3], np.full((3, 5), 255)])
    for item, (rows, columns) in zip(found, [(3, 5), (6, 5), (4, 8)], strict=True):
        assert (item['height'], item['width']) == (rows, columns)
        assert item['seen'] == dict(width=5, height=3)
        pixels = np.reshape(item['data'], (rows, columns, 4))
        np.testing.assert_array_equal(pixels[:3, :5], opaque)
        assert not pixels[3:].any() and not pixels[:, 5:].any()


@pytest.mark.parametrize('align', [True, False], ids=['corners', 'no corners'])
def test_ids_are_those_of_torchs_interpolation(run_script, align):
    _, shapes = sizes(2, 12, 60)
    torch.manual_seed(0)
    runs, arrays, expected = [], {}, []
    for number, (rows, columns, height, width) in enumerate(shapes):
        logits = torch.randn(1, 5, rows + 2, columns + 3)  # with padding
        seen = logits[:, :, :rows, :columns]
        large = F.interpolate(seen, (height, width), mode='bilinear', align_corners=align)
        expected.append(large[0].numpy())
        arrays[f'logits{number}'] = logits.numpy()
        seen, size = dict(height=rows, width=columns), dict(height=height, width=width)
        runs.append((f'logits{number}', logits.shape[1:], seen, size))
    found = run_script(
        """
        import {countIds, labelsOf} from './labels.js';
        const about = {alignCorners: values.align, limit: null, classes: 'abcde'};
        const run = ([file, shape, seen, size]) => {
            const logits = new Float32Array(new Uint8Array(readFileSync(file)).buffer);
            const ids = labelsOf(logits, shape, seen, size, about);
            return [[...ids], countIds(ids, 5)];
        };
        console.log(JSON.stringify(values.runs.map(run)));
        """,
        dict(align=align, runs=runs),
        **arrays,
    )
    for logits, (ids, counts) in zip(expected, found, strict=True):
        ids = np.reshape(ids, logits.shape[1:])
        chosen = np.take_along_axis(logits, ids[None], 0)[0]
        assert (logits.max(0) - chosen).max() < 1e-5
        assert (ids == logits.argmax(0)).mean() > 0.999
        assert counts == np.bincount(ids.ravel(), minlength=5).tolist()


def test_one_channel_is_compared_with_the_limit(run_script):
    found = run_script(
        """
        import {labelsOf} from './labels.js';
        const logits = new Float32Array([-1, 0.2, 0.4, 3]);
        const size = {width: 2, height: 2};
        const about = {alignCorners: false, limit: 0.3, classes: 'ab'};
        console.log(JSON.stringify([...labelsOf(logits, [1, 2, 2], size, size, about)]));
        """
    )
    assert found == [0, 0, 1, 1]


@pytest.mark.parametrize('kind', ['Uint8Array', 'Uint16Array'])
def test_masks_are_grey_pngs_of_ids(run_script, kind):
    ids = np.random.default_rng(0).integers(0, 256, (7, 13), np.uint8).astype(kind[:-5].lower())
    if kind == 'Uint16Array':
        ids[0, :2] = 256, 65535
    found = run_script(
        """
        import {encodeIds} from './png.js';
        const bytes = new Uint8Array(readFileSync('ids'));
        const png = await encodeIds(new globalThis[values](bytes.buffer), 13, 7);
        console.log(JSON.stringify([...new Uint8Array(await png.arrayBuffer())]));
        """,
        kind,
        ids=ids,
    )
    image = Image.open(io.BytesIO(bytes(found)))
    image.load()
    assert image.mode == ('L' if kind == 'Uint8Array' else 'I;16')
    np.testing.assert_array_equal(np.asarray(image), ids)


def test_both_languages_say_everything(run_script):
    texts = run_script(
        """
        globalThis.navigator ??= {languages: []};
        const {TEXTS} = await import('./texts.js');
        console.log(JSON.stringify(TEXTS));
        """
    )
    english, chinese = texts['en'], texts['zh']
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        blanks = [sorted(re.findall(r'\{\w+\}', one)) for one in (text, chinese[key])]
        assert blanks[0] == blanks[1], key
    html = (PAGE / 'index.html').read_text()
    code = ''.join(path.read_text() for path in PAGE.glob('*.js'))
    assert set(re.findall(r'data-text="(\w+)"', html)) < english.keys()
    assert set(re.findall(r"(?:say|inform)\('(\w+)'", code)) < english.keys()
    for key in english:
        assert re.search(rf"""['"]{key}['"]""", html + code), f'{key} is never said'
