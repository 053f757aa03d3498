"""How tools/test.py prepares a test, and what it refuses before one."""

import pytest
from mmengine.config import Config
from mmseg.evaluation import IoUMetric

from mmseg_pan import UserError, cli
from mmseg_pan.cli.testing import count_fast
from tests.paths import TOY


def toy():
    return Config.fromfile(TOY)


def test_augmentation_keeps_the_normalisation_of_the_model():
    cfg = toy()
    cfg.data_preprocessor = dict(type='SegDataPreProcessor', mean=[9.0] * 3, std=[9.0] * 3)
    expected = cfg.model.data_preprocessor.mean
    cli.set_tta(cfg)
    assert cfg.model['data_preprocessor']['mean'] == expected
    cfg = toy()
    del cfg.model['data_preprocessor']
    cli.set_tta(cfg)
    assert 'data_preprocessor' not in cfg.model  # mmengine fills in the config's


def test_augmentation_of_mmsegmentation_gives_way_to_ours():
    cfg = toy()
    cfg.tta_model = dict(type='SegTTAModel')
    cli.set_tta(cfg)
    assert cfg.model['type'] == 'FastTTAModel'


def test_augmentation_reaches_data_sets_inside_wrappers():
    cfg = toy()
    leaf = cfg.test_dataloader.dataset
    cfg.test_dataloader.dataset = dict(type='ConcatDataset', datasets=[leaf, dict(leaf)])
    cli.set_tta(cfg)
    assert [d.pipeline[-1].type for d in cfg.test_dataloader.dataset.datasets] == [
        'TestTimeAug'
    ] * 2


FLIP = dict(type='RandomFlip', prob=1.0, direction='diagonal')
LABELS = dict(type='LoadAnnotations')
REFUSED = {
    'crop': ([dict(type='mmseg.RandomCrop', crop_size=(8, 8))], 'undo RandomCrop; leave it out'),
    'rotation': ([dict(type='RandomRotate', prob=1.0, degree=10)], 'undo RandomRotate'),
    'direction': ([dict(FLIP, direction=['vertical', 'odd'])], "'odd' flip; RandomFlip may be hor"),
    'left and right': ([dict(FLIP, swap_seg_labels=[(1, 2)])], 'undo swap_seg_labels'),
    'labels': ([LABELS, FLIP], 'flip of the labels; put LoadAnnotations after RandomFlip'),
}


@pytest.mark.parametrize('augmented', [False, True])
@pytest.mark.parametrize('case', list(REFUSED))
def test_what_cannot_be_undone_is_refused(case, augmented):
    steps, words = REFUSED[case]
    if augmented:
        steps = [dict(type='TestTimeAug', transforms=[[step] for step in steps])]
    cfg = toy()
    cfg.test_dataloader.dataset.pipeline = steps
    with pytest.raises(UserError, match=f'A test cannot {words}|A test cannot undo a {words}'):
        cli.check_test_pipeline(cfg)


def test_pipelines_that_can_be_undone():
    cfg = toy()
    cli.check_test_pipeline(cfg)
    cli.set_tta(cfg)
    cli.check_test_pipeline(cfg)
    cfg.test_dataloader.dataset.pipeline = [LABELS, dict(FLIP, prob=0.0)]
    cli.check_test_pipeline(cfg)


@pytest.mark.parametrize('kind', ['IoUMetric', 'mmseg.IoUMetric', IoUMetric])
def test_validation_and_test_count_fast(kind):
    cfg = Config(dict(val_evaluator=[dict(type=kind)], test_evaluator=dict(type=kind)))
    count_fast(cfg)
    assert [cfg.val_evaluator[0].type, cfg.test_evaluator.type] == ['FastIoUMetric'] * 2
