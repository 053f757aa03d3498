"""Exported networks: the same classes, whatever the size, and a description inside."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmseg.apis import inference_model
from mmseg.registry import DATASETS, MODELS

from mmseg_pan import UserError, cli
from mmseg_pan.datasets.toy import make_toy_shapes
from mmseg_pan.export import parity
from mmseg_pan.export.graph import SegmentorGraph
from mmseg_pan.export.quantize import quantize
from mmseg_pan.export.writing import export, library
from mmseg_pan.weights import ExportedSegmentor, load_segmentor
from mmseg_pan.weights.exported import open_exported
from tests.paths import ROOT, TOY

onnx = pytest.importorskip('onnx', reason='requirements/deploy.txt is not installed')
VARIANTS = [
    dict(),
    dict(file_format='openvino'),
    dict(shape=(96, 128)),
    dict(file_format='openvino', shape=(96, 128), preprocess=True),
]


@pytest.fixture
def reference(toy_checkpoint):
    return load_segmentor(toy_checkpoint, TOY)


@pytest.fixture(scope='module')
def images_96(tmp_path_factory):
    """Toy images above the smallest side of networks of any size."""
    root = tmp_path_factory.mktemp('toy_96') / 'toy'
    make_toy_shapes(root, train=2, val=4, size=96)
    return root


@pytest.fixture
def dataset(images_96, monkeypatch):
    monkeypatch.setenv('TOY_ROOT', str(images_96))
    return DATASETS.build(Config.fromfile(TOY).test_dataloader.dataset)


@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    size=st.tuples(st.integers(1, 3), st.integers(20, 200), st.integers(20, 200)),
    file_format=st.sampled_from(['onnx', 'openvino']),
)
def test_any_batch_and_size(reference, exported, size, file_format):
    model = ExportedSegmentor(str(exported(file_format=file_format)))
    batch, height, width = size
    image = torch.randn(batch, 3, height, width)
    found = model.encode_decode(image, [])
    assert found.shape == (batch, 7, height, width)
    if min(height, width) >= 65:
        with torch.no_grad():
            expected = SegmentorGraph(reference)(image)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('options', VARIANTS, ids=str)
def test_a_photograph_gets_the_same_classes(reference, exported, options):
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    model = load_segmentor(exported(**options))
    assert model.dataset_meta == reference.dataset_meta
    expected, found = (inference_model(one, image).pred_sem_seg.data for one in (reference, model))
    assert len(expected.unique()) > 1
    assert (expected == found).float().mean() > 0.999


def test_classes_in_the_graph_are_those_of_the_logits(reference, exported):
    image = torch.randint(256, (1, 3, 96, 128), dtype=torch.uint8)
    run, about = open_exported(exported(preprocess=True, labels=True))
    assert (about.labels, about.preprocess) == (True, True)
    found = torch.from_numpy(run(image.numpy()))
    data = reference.data_preprocessor(dict(inputs=[image[0]]), False)
    expected = SegmentorGraph(reference)(data['inputs']).argmax(1)
    assert found.shape == (1, 96, 128)
    assert (found == expected).float().mean() > 0.999
    with pytest.raises(UserError, match=r'returns class ids, .* export it without --labels'):
        ExportedSegmentor(str(exported(preprocess=True, labels=True)))


@pytest.mark.parametrize('options', VARIANTS[:2], ids=str)
def test_the_file_says_what_it_is_and_names_no_path(exported, options):
    _, about = open_exported(exported(**options))
    assert about.classes[:2] == ['background', 'disk'] and len(about.palette) == 7
    assert about.config['test_pipeline'][0]['type'] == 'LoadImageFromFile'
    assert about.config['model']['data_preprocessor']['mean']
    assert 'data_root' not in json.dumps(about.config)


def test_parity_counts_differences(reference, exported, dataset):
    class Broken(ExportedSegmentor):
        def encode_decode(self, inputs, batch_img_metas):
            return super().encode_decode(inputs, batch_img_metas).roll(1, dims=1)

    file = str(exported())
    rows = parity.compare_networks(
        reference, dict(good=ExportedSegmentor(file), bad=Broken(file)), dataset
    )
    assert rows['reference']['same'] == 1 and rows['reference']['speed'] == 1
    assert rows['good']['difference'] < 1e-3 and rows['good']['same'] > 0.999
    assert rows['good']['mIoU'] == pytest.approx(rows['reference']['mIoU'], abs=0.1)
    assert rows['bad']['difference'] > 0.1 and rows['bad']['same'] < 0.9
    assert parity.parity_table(rows).count('\n') == 4


def test_tools_export_and_test_it_with_the_same_result(
    run_tool, toy_checkpoint, images_96, tmp_path
):
    run_tool = partial(run_tool, TOY_ROOT=str(images_96))
    exporting = [TOY, toy_checkpoint, '--format', 'onnx', '--images', 2]
    done = run_tool('deployment/export.py', *exporting, '--out', 'pan.onnx')
    assert '| pan.onnx | ' in done.stdout and '100.0000%' in done.stdout
    run_tool('test.py', TOY, 'pan.onnx', '--work-dir', 'test')
    found = json.loads(next((tmp_path / 'test').glob('*/*.json')).read_text())['mIoU']
    table = run_tool('deployment/parity.py', TOY, toy_checkpoint, 'pan.onnx').stdout
    row = next(line for line in table.splitlines() if line.startswith('| reference'))
    assert found == pytest.approx(float(row.split('|')[4]), abs=0.02)


def test_exports_that_differ_are_refused():
    rows = {'good.onnx': dict(same=0.9995), 'bad.onnx': dict(same=0.98)}
    parity.check_same(rows, 'good.onnx', 1e-3)
    with pytest.raises(
        UserError, match=r'bad\.onnx predicts another class for 2\.00% .*not use it'
    ):
        parity.check_same(rows, 'bad.onnx', 1e-3)
    with pytest.raises(UserError, match='tested as it is; omit --fast'):
        cli.set_exported(Config(), 'pan.onnx', fast=True)


def test_int8_is_smaller_and_close(reference, exported, dataset, tmp_path):
    file = exported(file_format='openvino')
    out = quantize(file, dataset, tmp_path / 'int8', images=3)
    sizes = [f.with_suffix('.bin').stat().st_size for f in (out, file)]
    assert sizes[0] < 0.5 * sizes[1]
    rows = parity.compare_networks(reference, dict(int8=ExportedSegmentor(str(out))), dataset)
    assert 0.8 < rows['int8']['same'] < 1
    with pytest.raises(UserError, match=r'needs an OpenVINO network, but .*\.onnx is not a \.xml'):
        quantize(exported(), dataset, tmp_path / 'other')


def test_files_that_cannot_be_used(exported, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r'none\.onnx does not exist; write it with'):
        open_exported(tmp_path / 'none.onnx')
    for name in ('bad.onnx', 'bad.xml', 'bad.bin'):
        (tmp_path / name).write_bytes(b'no network')
    for name in ('bad.onnx', 'bad.xml'):
        with pytest.raises(UserError, match=rf'{name} cannot be read .* export it again'):
            open_exported(tmp_path / name)
    (tmp_path / 'alone.xml').write_bytes(exported(file_format='openvino').read_bytes())
    with pytest.raises(UserError, match=r'needs alone\.bin next to it; copy both'):
        open_exported(tmp_path / 'alone.xml')
    foreign = onnx.load(exported())
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / 'foreign.onnx')
    with pytest.raises(UserError, match=r'foreign\.onnx does not say which classes'):
        open_exported(tmp_path / 'foreign.onnx')
    with pytest.raises(UserError, match=r'no_such is not installed; type .*deploy\.txt'):
        library('no_such')


def test_models_that_cannot_be_exported(toy_checkpoint, tmp_path):
    model = load_segmentor(toy_checkpoint, TOY)
    model.test_cfg = dict(mode='slide', crop_size=(32, 32), stride=(16, 16))
    with pytest.raises(UserError, match='test_cfg mode "whole", not EncoderDecoder'):
        export(model, tmp_path / 'slide')
    cfg = Config.fromfile(TOY).model
    cfg.decode_head.update(num_classes=2, out_channels=1, threshold=0.3)
    cfg.decode_head.loss_decode.use_sigmoid = True
    with pytest.raises(UserError, match='one output channel'):
        SegmentorGraph(MODELS.build(cfg), labels=True)
    assert not list(tmp_path.iterdir())


def test_the_baseline_is_exported_too(tmp_path):
    file = ROOT / 'configs/pan/fcn_r18-d16_toy.py'
    model = MODELS.build(Config.fromfile(file).model).eval()
    checkpoint = tmp_path / 'x.pth'
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    out = export(load_segmentor(checkpoint, file), tmp_path / 'x')
    image = torch.randn(1, 3, 80, 112)
    with torch.no_grad():
        expected = SegmentorGraph(model)(image)
    found = ExportedSegmentor(str(out)).encode_decode(image, [])
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
