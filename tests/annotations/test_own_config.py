"""The config of a converted data set: what it chooses, and that all tools take it."""

import runpy
import shutil
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from mmseg.registry import DATASETS, MODELS

from mmseg_pan import UserError
from mmseg_pan.annotations.own_config import Facts, write_config
from mmseg_pan.cli import load_config
from mmseg_pan.weights.published import SHIPPED
from mmseg_pan.weights.start import packaged_file
from mmseg_pan.weights.tensors import read_weights
from tests.annotations.sources import convert, labelme, photograph, save, shape, triangles
from tests.paths import ROOT
from tests.rights import run_tools


def facts(images: int = 40, size=(640, 480), shares=(0.8, 0.2), **more) -> Facts:
    """Facts of equal images, in which the classes have these shares."""
    pixels = np.array([np.array(shares) * size[0] * size[1]] * images)
    names = tuple(f'class {index}' for index in range(len(shares)))
    palette = tuple((index, 0, 0) for index in range(len(shares)))
    usual = dict(suffixes=['.jpg'], has_test=False, network='small', val_images=10)
    return Facts(names, palette, [size] * images, pixels, **usual | more)


def chosen(tmp_path, **values):
    file = tmp_path / 'config.py'
    file.write_text(write_config(facts(**values)), encoding='utf-8')
    return load_config(str(file))


@pytest.mark.parametrize(
    ('values', 'side', 'batch', 'iterations'),
    [
        (dict(), 321, 5, 480),
        (dict(images=3), 321, 3, 320),
        (dict(images=5000), 321, 5, 1000),
        (dict(size=(128, 128)), 129, 8, 320),
        (dict(size=(300, 262)), 257, 8, 320),
        (dict(shares=(0.999, 0.001)), 481, 2, 1000),
        (dict(network='large', images=400), 481, 16, 1500),
        (dict(network='large', size=(4000, 3000)), 513, 16, 1000),
    ],
)
def test_sizes_follow_the_images(tmp_path, values, side, batch, iterations):
    cfg = chosen(tmp_path, **values)
    assert (cfg.side, cfg.batch_size, cfg.iterations) == (side, batch, iterations)
    assert cfg.side % 16 == 1
    assert cfg.model.data_preprocessor.size == (side, side)
    assert cfg.train_cfg.max_iters == cfg.param_scheduler[-1].end == iterations


def test_rare_classes_get_weights_that_keep_the_mean(tmp_path):
    assert chosen(tmp_path).class_weight is None
    shares = np.array([0.9, 0.09, 0.01])
    weights = np.array(chosen(tmp_path, shares=shares).class_weight)
    assert (np.diff(weights) > 0).all()
    assert abs((weights * shares).sum() - 1) < 0.01
    text = (tmp_path / 'config.py').read_text()
    assert "90 times as many pixels as the rarest, 'class 2'" in text
    weights = chosen(tmp_path, shares=(0.99, 0.01, 0)).class_weight
    assert np.isfinite(weights).all() and len(weights) == 3


def test_a_gpu_gets_the_larger_network(tmp_path, monkeypatch):
    assert chosen(tmp_path, network='auto').model.backbone.type == 'DilatedMobileNetV2'
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr('mmseg_pan.annotations.own_config.has_bfloat16', lambda: True)
    text = write_config(facts(network='auto'))
    assert "type='ResNetV1c'" in text and "type='BFloat16OptimWrapper'" in text


@pytest.mark.parametrize('network', ['small', 'large'])
def test_the_network_is_built(tmp_path, network):
    cfg = chosen(tmp_path, network=network)
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    assert model.decode_head.conv_seg.out_channels == 2


def test_the_start_fits_but_for_the_classifier(tmp_path):
    cfg = chosen(tmp_path)
    loaded = CheckpointLoader.load_checkpoint(cfg.load_from)['state_dict']
    own = MODELS.build(cfg.model).state_dict()
    assert loaded.keys() == own.keys()
    other = {name for name in own if own[name].shape != loaded[name].shape}
    assert other == {'decode_head.conv_seg.weight', 'decode_head.conv_seg.bias'}
    assert packaged_file(cfg.load_from) == SHIPPED


def test_an_address_that_the_package_lacks():
    with pytest.raises(UserError, match=r'it has mmseg_pan://pan_mobilenet-v2_voc'):
        CheckpointLoader.load_checkpoint('mmseg_pan://pan_r101_voc')


@pytest.mark.parametrize('suffixes', [('.png',), ('.png', '.jpg')])
def test_data_sets_find_every_pair_from_anywhere(tmp_path, monkeypatch, suffixes):
    source = triangles(tmp_path / 'in', 10, 'Schraube "M3" \\ 螺丝')
    if '.jpg' in suffixes:
        save(source / 'x y.jpg', photograph(20, 16))
        box = shape('Schraube "M3" \\ 螺丝', [[1, 1], [5, 5]], 'rectangle')
        save(source / 'x y.json', labelme('x y.jpg', (20, 16), [box]))
    convert(source, tmp_path / "Ann's data")
    shutil.move(tmp_path / "Ann's data", tmp_path / "moved, Ann's data")
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    cfg = load_config("../moved, Ann's data/config.py")
    found = 0
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        dataset = DATASETS.build(loader.dataset)
        assert dataset.metainfo['classes'] == ['background', 'Schraube "M3" \\ 螺丝']
        found += len([dataset[index] for index in range(len(dataset))])
    assert found == 10 + len(suffixes) - 1


def test_the_whole_way_as_typed(tmp_path):
    """Convert, verify, look, train, test, predict: no further arguments, from another folder."""
    triangles(tmp_path / 'in', 8, size=(60, 50))
    checkpoint = 'RUN/best_mIoU_iter_2.pth'
    few = ['train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'train_dataloader.batch_size=2']
    loaders = [f'{split}_dataloader.num_workers=0' for split in ('train', 'val', 'test')]
    converted, verified, looked, trained, tested, predicted = run_tools(
        [
            ['dataset_converters/annotations.py', 'in', '--out', 'DATA'],
            ['verify_dataset.py', 'DATA/config.py'],
            ['analysis_tools/browse_dataset.py', 'DATA/config.py'],
            ['train.py', 'DATA/config.py', '--work-dir', 'RUN', '--cfg-options', *few, *loaders],
            ['test.py', 'DATA/config.py', checkpoint, '--cfg-options', *loaders],
            ['predict.py', 'in/000.png', '--checkpoint', checkpoint, '--out', 'OUT'],
        ],
        tmp_path,
    )
    assert converted.stdout.splitlines()[-1] == 'Config: DATA/config.py'
    assert 'No faults found.' in verified.stdout
    assert ' pictures in ' in looked.stdout
    log = trained.stdout + trained.stderr
    lines = [line for line in log.splitlines() if 'classifier of 21 classes' in line]
    assert len(lines) == 1 and 'the network 2: it starts new' in lines[0]
    assert 'size mismatch' not in log and 'do not match exactly' not in log
    assert 'mIoU' in tested.stdout + tested.stderr
    assert list((tmp_path / 'OUT').rglob('*.png'))
    done = [converted, verified, looked, trained, tested, predicted]
    assert [result.returncode for result in done] == [0] * 6
    weights = torch.load(tmp_path / checkpoint, map_location='cpu', weights_only=True)
    name = 'backbone.conv1.conv.weight'
    ours, start = weights['state_dict'][name].flatten(), read_weights(SHIPPED)[name].float()
    near = torch.nn.functional.cosine_similarity(ours, start.flatten(), dim=0)
    assert near > 0.99  # after two steps of the warm-up


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['none', '--out', 'o'], 'none does not exist; give a folder'),
        (['.', '--out', 'o', '--val-share', '1.2'], 'no share between 0 and 1'),
        (['.', '--out', 'o', '--group', '('], 'no regular expression'),
        (['.', '--out', 'o', '--labels', 'none.txt'], 'none.txt is no file'),
        (['.'], 'the following arguments are required: --out'),
    ],
)
def test_errors_of_the_command_line(tmp_path, monkeypatch, capsys, arguments, message):
    tool = ROOT / 'tools/dataset_converters/annotations.py'
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', [str(tool), *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(tool), run_name='__main__')
    assert ended.value.code == 2
    errors = capsys.readouterr().err.splitlines()
    (line,) = [line for line in errors if line.startswith('error: ')]
    assert message in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('network', 'base'),
    [
        ('small', 'pan/pan_mobilenet-v2-d16_deeplabv3-start_1xb6-1400_voc12aug-385x513.py'),
        ('large', '_base_/models/pan_r50-d16.py'),
    ],
)
def test_networks_are_those_of_the_repository(tmp_path, network, base):
    """The text of a config stands alone, so it repeats them."""
    ours = chosen(tmp_path, network=network).model
    theirs = Config.fromfile(ROOT / 'configs' / base).model
    own = ('num_classes', 'align_corners', 'loss_decode', 'dropout_ratio')
    head, other = ours.decode_head, theirs.decode_head
    assert {k: v for k, v in head.items() if k not in own} == {
        k: v for k, v in other.items() if k not in own
    }
    for part in ('backbone', 'neck'):
        found, expected = dict(ours.get(part) or {}), dict(theirs.get(part) or {})
        found.pop('init_cfg', None), expected.pop('init_cfg', None)
        assert found == expected
