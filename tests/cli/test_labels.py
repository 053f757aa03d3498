"""Data set, heads, metrics and padding ignore one id."""

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS, TRANSFORMS

from mmseg_pan import UserError, cli
from mmseg_pan.cli.labels import settle_ignore_index
from mmseg_pan.datasets import CheckedSegDataset
from tests.paths import TOY

#: Every place of a config that may set the ignored id.
PLACES = {
    'train': 'train_dataloader.dataset',
    'val': 'val_dataloader.dataset',
    'test': 'test_dataloader.dataset',
    'head': 'model.decode_head',
    'auxiliary': 'model.auxiliary_head',
    'val metric': 'val_evaluator',
    'test metric': 'test_evaluator',
}


def read(*places, value=250, **more):
    options = {f'{PLACES[place]}.ignore_index': value for place in places}
    auxiliary = dict(type='FCNHead', in_channels=64, channels=8, in_index=2, num_classes=7)
    cfg = Config.fromfile(TOY)
    cfg.model.auxiliary_head = auxiliary
    cfg.merge_from_dict({**options, **more})
    settle_ignore_index(cfg)
    return cfg


def at(cfg, place):
    for key in PLACES[place].split('.'):
        cfg = cfg[key]
    return cfg.get('ignore_index')


@pytest.mark.parametrize('place', list(PLACES))
def test_each_place_sets_it_for_all(place):
    cfg = read(place)
    assert [at(cfg, other) for other in PLACES] == [250] * len(PLACES)
    assert cfg.model.data_preprocessor.seg_pad_val == 250


@pytest.mark.parametrize('place', [place for place in PLACES if place != 'head'])
def test_each_place_that_differs_is_named(place):
    with pytest.raises(UserError, match=r'ignore_index=25[05], .* has ignore_index=') as error:
        read('head', **{f'{PLACES[place]}.ignore_index': 255})
    assert PLACES[place].split('.dataset')[0] in str(error.value)
    assert 'model.decode_head' in str(error.value)


def test_without_any_nothing_changes():
    cfg = Config.fromfile(TOY)
    before = cfg.pretty_text
    settle_ignore_index(cfg)
    assert cfg.pretty_text == before


def test_data_sets_inside_wrappers():
    cfg = Config.fromfile(TOY)
    leaf = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(
        type='RepeatDataset',
        times=2,
        dataset=dict(type='ConcatDataset', datasets=[leaf, dict(leaf)]),
    )
    cfg.model.decode_head.ignore_index = 250
    settle_ignore_index(cfg)
    inner = cfg.train_dataloader.dataset.dataset.datasets
    assert [part.ignore_index for part in inner] == [250, 250]
    inner[1].ignore_index = 3
    with pytest.raises(UserError, match=r'dataset\.dataset\.datasets\[1\] has .*=3'):
        settle_ignore_index(cfg)


def test_an_id_that_no_mask_holds():
    with pytest.raises(UserError, match='ignore_index=-100, and a mask holds ids from 0 to 255'):
        read('head', value=-100)


def test_padding_is_ignored():
    """Crops of small images, rotated ones, and padded batches get the id too."""
    pipeline = [
        dict(type='RandomCrop', crop_size=(8, 8), cat_max_ratio=0.75),
        dict(type='RandomRotate', prob=1.0, degree=(45, 45)),
        dict(type='Pad', size=(32, 32), pad_val=0),
        dict(type='Pad', size=(64, 64)),
    ]
    cfg = read('head', **{'train_dataloader.dataset.pipeline': pipeline})
    sample = dict(
        img=np.zeros((16, 16, 3), np.uint8),
        gt_seg_map=np.ones((16, 16), np.uint8),
        seg_fields=['gt_seg_map'],
        img_shape=(16, 16),
    )
    for step in cfg.train_dataloader.dataset.pipeline:
        sample = TRANSFORMS.build(step)(sample)
    assert np.unique(sample['gt_seg_map']).tolist() == [1, 250]
    cfg.model.data_preprocessor.size = (64, 64)
    assert MODELS.build(cfg.model).data_preprocessor.seg_pad_val == 250


@DATASETS.register_module()
class IgnoresSeven(CheckedSegDataset):
    """A data set whose code, and not its config, says what is ignored."""

    METAINFO = dict(classes=('a', 'b'))

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, 'ignore_index': 7})


@pytest.fixture
def small(toy_root):
    def make(kind, **more):
        data = dict(
            type=kind,
            data_root=str(toy_root),
            data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
            pipeline=[],
            **more,
        )
        cfg = Config.fromfile(TOY)
        cfg.test_dataloader = dict(dataset=data)
        settle_ignore_index(cfg)
        return cfg

    return make


def test_a_data_set_that_sets_it_in_code_must_agree(small):
    cfg = small('IgnoresSeven')
    with pytest.raises(UserError, match=r'has ignore_index=7, and model.decode_head has .*=255'):
        cli.check_data(cfg, 'test')


@pytest.mark.parametrize('more', [dict(reduce_zero_label=True), dict(metainfo=dict(classes=['b']))])
def test_what_the_loader_calls_255_must_be_ignored(small, more, monkeypatch):
    kind = 'ToyShapesDataset'
    if 'metainfo' in more:
        more = dict(metainfo=dict(classes=DATASETS.get(kind).METAINFO['classes'][1:]))
    cli.check_data(small(kind, **more), 'test')
    with pytest.raises(UserError, match=r'ignore_index=250 and .* loads as 255; set ignore_index='):
        cli.check_data(small(kind, ignore_index=250, **more), 'test')
