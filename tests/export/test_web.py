"""The folder of a web page: its network, its files, and what is refused."""

import hashlib
import json
import os
import shutil
import tarfile

import numpy as np
import pytest
import torch

from mmseg_pan import UserError
from mmseg_pan.export import web, web_runtime
from mmseg_pan.export.web import check_site, describe_page, write_site
from mmseg_pan.export.web_network import (
    PageGraph,
    open_network,
    padding_rule,
    page_network,
    resizing_steps,
)
from mmseg_pan.inference import load_segmentor
from mmseg_pan.weights.agreement import segment_image, synthetic_images
from tests.paths import ROOT, TOY

onnx = pytest.importorskip('onnx', reason='requirements/deploy.txt is not installed')
PAGE = ROOT / 'mmseg_pan/export/page'
LOADER, PACK = dict(type='LoadImageFromFile'), dict(type='PackSegInputs')


@pytest.fixture(scope='module')
def model(toy_checkpoint):
    return load_segmentor(toy_checkpoint, TOY, 'cpu')


@pytest.fixture(scope='module')
def network(model) -> bytes:
    return page_network(model)


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    """Small files that pass for those of onnxruntime-web."""
    folder = tmp_path / 'onnxruntime-web' / 'dist'
    folder.mkdir(parents=True)
    files = {}
    for name in web_runtime.FILES:
        (folder / name).write_bytes(name.encode())
        files[name] = hashlib.sha256(name.encode()).hexdigest()
    monkeypatch.setattr(web_runtime, 'FILES', files)
    return folder.parent


@pytest.fixture
def quick(monkeypatch):
    """A page without an export, which takes seconds."""
    monkeypatch.setattr(web, 'page_network', lambda *_: b'network')


def pixels_of(image):
    """RGBA of an image (1, 3, H, W) in the order of its file."""
    pixels = image[0, [2, 1, 0]].permute(1, 2, 0).numpy()
    return np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])[None]


def half_model(toy_checkpoint):
    """A checkpoint of float16 numbers, as published ones are."""
    model = load_segmentor(toy_checkpoint, TOY, 'cpu')
    for parameter in model.parameters():
        parameter.data = parameter.data.half().float()
    return model


@pytest.mark.parametrize('size', [(64, 64), (97, 181), (3, 200), (1, 1)], ids=str)
def test_the_network_gives_the_logits_of_the_checkpoint(toy_checkpoint, network, size):
    (image,) = synthetic_images(size, seed=3)
    expected = segment_image(half_model(toy_checkpoint), image)
    (found,) = open_network(network).run(None, {'pixels': pixels_of(image)})
    assert found.shape == (1, 7, *size)
    assert np.abs(found - expected.numpy()).max() < 0.01 * np.ptp(expected.numpy())
    assert (found.argmax(1) == expected.argmax(1).numpy()).mean() > 0.99


def test_weights_are_stored_in_half_precision_and_batch_norms_apart(model, network):
    file = onnx.load_from_string(network)
    kernels = [item for item in file.graph.initializer if np.prod(item.dims) > 999]
    assert {item.data_type for item in kernels} == {onnx.TensorProto.FLOAT16}
    assert sum(node.op_type == 'BatchNormalization' for node in file.graph.node) > 20
    numbers = sum(parameter.numel() for parameter in model.parameters())
    assert len(network) < 2.1 * numbers
    assert b'.py' not in network  # where the exporter notes the lines of our code


def test_padding_is_done_where_alpha_is_zero(model):
    def padded(rule):
        model.data_preprocessor.test_cfg = rule
        graph = PageGraph(model)
        model.data_preprocessor.test_cfg = None
        return graph

    (image,) = synthetic_images((70, 80))
    pixels = np.zeros((1, 96, 128, 4), np.uint8)
    pixels[:, :70, :80] = pixels_of(image)
    model.data_preprocessor.test_cfg = dict(size=(96, 128))
    expected = segment_image(model, image)
    graph = padded(dict(size=(96, 128)))
    with torch.no_grad():
        found = graph(torch.from_numpy(pixels))
    torch.testing.assert_close(found, expected)


def test_a_network_that_differs_is_refused(model, monkeypatch):
    monkeypatch.setattr('mmseg_pan.export.web_network.share_changed', lambda *_, **__: 0.02)
    monkeypatch.setattr('mmseg_pan.export.web_network._trace', lambda _: None)
    monkeypatch.setattr('mmseg_pan.export.web_network._store_halves', lambda _: b'')

    class Session:
        def run(self, *_):
            return [np.zeros(1)]

    monkeypatch.setattr('mmseg_pan.export.web_network.open_network', lambda _: Session())
    with pytest.raises(UserError, match=r'segments 2\.00% of .* nothing is written'):
        page_network(model)


def test_a_page_has_all_its_files_and_names_their_sizes(model, runtime, quick, tmp_path):
    out = write_site(model, tmp_path / 'deep' / 'site', runtime)
    about = json.loads((out / 'about.json').read_text())
    assert about['classes'] == list(model.dataset_meta['classes'])
    assert about['colours'] == [list(colour) for colour in model.dataset_meta['palette']]
    assert {path.name for path in PAGE.iterdir()} < {path.name for path in out.iterdir()}
    assert (out / about['network']).read_bytes() == b'network'
    assert len(about['sizes']) == 4
    assert not list(out.rglob('*.mjs')), 'which old hosts serve as bytes'
    for name, size in about['sizes'].items():
        assert (out / name).stat().st_size == size
    assert not list(out.parent.glob('.*')), 'leftovers'


def test_an_older_page_is_replaced_and_nothing_else(model, runtime, quick, tmp_path):
    out = write_site(model, tmp_path / 'site', runtime)
    (out / 'app.js').write_text('old')
    write_site(model, out, runtime)
    assert (out / 'app.js').read_text() == (PAGE / 'app.js').read_text()
    (out / 'CNAME').write_text('pan.example.org')
    with pytest.raises(UserError, match=r'holds CNAME, which is not of a page .* move it away'):
        write_site(model, out, runtime)
    assert (out / 'CNAME').exists()
    other = tmp_path / 'mine'
    other.mkdir()
    check_site(other)
    (other / 'index.html').write_text('mine')
    with pytest.raises(UserError, match=r'holds index\.html'):
        check_site(other)
    with pytest.raises(UserError, match='is a file, and a page needs a folder'):
        check_site(other / 'index.html')


def test_nothing_half_written_stays(model, runtime, quick, tmp_path, monkeypatch):
    out = tmp_path / 'out' / 'site'

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(web, '_replace', interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_site(model, out, runtime)
    assert not list(out.parent.iterdir())


def test_the_run_time_from_folders_and_archives(runtime, tmp_path):
    expected = {name: name.encode() for name in web_runtime.FILES}
    archive = tmp_path / 'onnxruntime-web.tgz'
    with tarfile.open(archive, 'w:gz') as file:
        file.add(runtime, 'package')
    for path in (runtime, runtime / 'dist', archive):
        assert web_runtime.runtime_files(path) == expected
    (runtime / 'dist/ort.wasm.min.mjs').write_text('another')
    with pytest.raises(UserError, match=r'ort\.wasm\.min\.mjs in .* SHA-256 is another'):
        web_runtime.runtime_files(runtime)
    (runtime / 'dist/ort.wasm.min.mjs').unlink()
    with pytest.raises(UserError, match=r'has no dist/ort\.wasm\.min\.mjs; give onnxruntime-web'):
        web_runtime.runtime_files(runtime)
    with pytest.raises(UserError, match='none does not exist; give onnxruntime-web 1'):
        web_runtime.runtime_files(tmp_path / 'none')
    archive.write_bytes(archive.read_bytes()[:100])
    with pytest.raises(UserError, match=r'cannot be read as a \.tgz'):
        web_runtime.runtime_files(archive)


def test_npm_fetches_it_or_one_sentence_says_why_not(runtime, tmp_path, monkeypatch):
    folder = tmp_path / 'bin'
    folder.mkdir()
    monkeypatch.setenv('PATH', str(folder))
    with pytest.raises(UserError, match=r'npm, .* is not installed; install it, or give'):
        web_runtime.runtime_files()
    archive = tmp_path / 'a.tgz'
    with tarfile.open(archive, 'w:gz') as file:
        file.add(runtime, 'package')
    npm = folder / 'npm'
    npm.write_text(f'#!/bin/sh\n{shutil.which("cp", path=os.defpath)} {archive} ort.tgz\n')
    npm.chmod(0o755)
    assert set(web_runtime.runtime_files()) == set(web_runtime.FILES)
    npm.write_text('#!/bin/sh\necho "npm error code ENOTFOUND" >&2\nexit 1\n')
    with pytest.raises(UserError, match=r'did not fetch .* \(npm error code ENOTFOUND\); give'):
        web_runtime.runtime_files()


def test_steps_of_the_pipeline(model):
    resize = dict(type='Resize', scale=(2048, 512), keep_ratio=True)
    multiple = dict(type='ResizeToMultiple', size_divisor=16)
    square = dict(type='mmseg.Resize', scale=(96, 64))
    labels = dict(type='LoadAnnotations')
    assert resizing_steps([LOADER, resize, labels, multiple, PACK]) == [
        dict(scale=[2048, 512], keepRatio=True),
        dict(divisor=16),
    ]
    assert resizing_steps([LOADER, square, PACK]) == [dict(scale=[96, 64], keepRatio=False)]
    assert resizing_steps(model.cfg.test_pipeline) == describe_page(model)['steps']


@pytest.mark.parametrize(
    ('step', 'message'),
    [
        (dict(type='Resize', scale=(64, 64), backend='pillow'), 'can do backend cv2'),
        (dict(type='Resize', scale=(64, 64), interpolation='area'), 'bilinear interpolation'),
        (dict(type='Resize', scale_factor=0.5), 'Resize with a scale'),
        (dict(type='RandomFlip', prob=1.0), "has type='RandomFlip', prob=1.0, and the page"),
    ],
    ids=str,
)
def test_steps_that_a_page_cannot_do(step, message):
    with pytest.raises(UserError, match=message):
        resizing_steps([LOADER, step, PACK])


def test_loaders_that_a_page_cannot_do():
    for options in (dict(color_type='unchanged'), dict(imdecode_backend='pillow')):
        with pytest.raises(UserError, match='8-bit colour with cv2'):
            resizing_steps([LOADER | options, PACK])


def test_padding_rules(model):
    before = model.data_preprocessor
    for rule, expected in (
        (None, None),
        (dict(size=(129, 130)), dict(size=[129, 130])),
        (dict(size_divisor=32), dict(divisor=32)),
    ):
        before.test_cfg = rule
        assert padding_rule(model) == expected
    before.test_cfg = None


def test_the_tool_says_what_does_not_fit(run_tool, toy_checkpoint, tmp_path):
    def refusal(*arguments):
        done = run_tool('deployment/export.py', *arguments, '--out', 'site', check=False)
        assert done.returncode == 2 and 'Traceback' not in done.stderr
        assert not (tmp_path / 'site').exists()
        return done.stderr

    web_options = ['--format', 'web', '--onnxruntime-web', 'none']
    both = [TOY, toy_checkpoint, *web_options]
    assert 'leave out --shape, --labels' in refusal(*both, '--shape', 9, 9, '--labels')
    assert 'none does not exist' in refusal(*both)
    assert f'{TOY} needs its checkpoint' in refusal(TOY, *web_options)
