"""Every config: that it is there, that it builds, and that it says what it should."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS

from mmseg_pan.benchmarks.complexity import count_cost
from mmseg_pan.experiments.results import Results
from tests.paths import ROOT
from tests.training import train_a_step

CONFIGS = sorted((ROOT / 'configs' / 'pan').rglob('*.py'))
NAMES = {p.name: p for p in CONFIGS}
BACKBONES = ('r101', 'r50', 'r18', 'mobilenet-v2')


def load(name):
    return Config.fromfile(NAMES[name])


def test_the_configs_that_the_card_promises_are_there():
    promised = {
        'pan_r101-d16_dense256_voc.py',
        'pan_r101-d16_separable256_voc.py',
        'psp_r101-d16_voc.py',
        'deeplabv3plus_r101-d16_voc.py',
        'psp128_r101-d16_voc.py',
        'aspp128_r101-d16_voc.py',
        'baseline_r101-d16_voc.py',
        'gau_r101-d16_c1_voc.py',
        'gau_r101-d16_c3_voc.py',
        'gau_r101-d16_no-context_voc.py',
        'pan_r101-d16_voc_tta-2048x512.py',
        'pan_r101-d16_voc_test-server.py',
        'pan_r101-d16_cityscapes.py',
        'pan_r101-d16_cityscapes_test-server.py',
        'fcn_r101-d16_cityscapes.py',
        'se128_r101-d16_voc.py',
        'rrb_r101-d16_voc.py',
        'pan_mobilenet-v2-d16_1xb8-1200_voc12aug-320x320.py',
        *(
            f'fpa_r101-d16_{kernels}-{pooling}{branch}_voc.py'
            for kernels in ('c333', 'c357')
            for pooling in ('ave', 'max')
            for branch in ('', '-gp')
        ),
    }
    for head in ('pan', 'fcn'):
        promised |= {
            f'{head}_r18-d16_toy.py',
            f'{head}_mobilenet-v2-d16_1xb8-1k_voc12aug-256x256.py',
            f'{head}_mobilenet-v2-d16_1xb8-1k_voc12aug-256x256_held-out.py',
        }
        for backbone in BACKBONES:
            promised.add(f'{head}_{backbone}-d16_voc.py')
            for iterations in ('20k', '40k'):
                promised.add(f'{head}_{backbone}-d16_4xb4-{iterations}_voc12aug-512x512.py')
    for head in ('psp', 'deeplabv3plus', 'fpa', 'gau', 'pan-no-context'):
        promised.add(f'{head}_mobilenet-v2-d16_1xb8-1k_voc12aug-256x256.py')
    promised.add('deeplabv3_mobilenet-v2-d16_voc12aug-513x513.py')
    promised.add('deeplabv3_mobilenet-v2-d16_voc12aug-513x513_tta.py')
    promised.add(DISTILLED)
    promised.add('pan_mobilenet-v2-d16_1xb8-1k_voc12aug-257x257.py')
    promised.add('pan_r18-d16_toy_129x129.py')
    promised.add('pan_r101-d16_voc_513x513.py')
    assert len(promised) == 67
    assert promised == set(NAMES)


def test_no_config_inherits_from_an_installed_package():
    for path in (ROOT / 'configs').rglob('*.py'):
        assert '::' not in path.read_text(), path


@pytest.mark.parametrize('name', sorted(NAMES))
def test_builds_and_segments_an_odd_image(name):
    cfg = load(name)
    model = MODELS.build(cfg.model).eval()
    head = model.decode_head
    with torch.no_grad():
        logits = model(torch.rand(1, 3, 33, 47), mode='tensor')
    assert logits.shape[:2] == (1, head.num_classes)
    # The preprocessor pads to what the pipeline crops.
    size = cfg.model.data_preprocessor.size
    crops = [t.crop_size for t in cfg.train_pipeline if t.type.endswith('RandomCrop')]
    assert all(tuple(crop) == tuple(size) for crop in crops)
    assert cfg.auto_scale_lr.base_batch_size in (6, 8, 16)
    assert not cfg.auto_scale_lr.enable
    assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_iters


DISTILLED = 'pan_mobilenet-v2-d16_deeplabv3-start_1xb6-1400_voc12aug-385x513.py'

# One config of each head, backbone, auxiliary head and optimizer that configs/pan combines.
FAMILIES = {
    'pan_r101-d16_voc.py': {'decode.loss_ce'},
    'pan_r101-d16_voc_513x513.py': {'decode.loss_ce'},
    'pan_r101-d16_separable256_voc.py': {'decode.loss_ce'},
    'pan_r50-d16_4xb4-20k_voc12aug-512x512.py': {'decode.loss_ce', 'aux.loss_ce'},
    'fcn_r50-d16_4xb4-20k_voc12aug-512x512.py': {'decode.loss_ce', 'aux.loss_ce'},
    'fcn_mobilenet-v2-d16_voc.py': {'decode.loss_ce'},
    'pan_mobilenet-v2-d16_voc.py': {'decode.loss_ce'},
    'pan_mobilenet-v2-d16_4xb4-20k_voc12aug-512x512.py': {'decode.loss_ce', 'aux.loss_ce'},
    'fcn_mobilenet-v2-d16_4xb4-20k_voc12aug-512x512.py': {'decode.loss_ce', 'aux.loss_ce'},
    'pan_r18-d16_toy.py': {'decode.loss_ce'},
    'fcn_r18-d16_toy.py': {'decode.loss_ce'},
    'pan_r101-d16_cityscapes.py': {'decode.loss_ce'},
    'baseline_r101-d16_voc.py': {'decode.loss_ce'},
    'fpa_r101-d16_c333-max_voc.py': {'decode.loss_ce'},
    'fpa_r101-d16_c357-ave-gp_voc.py': {'decode.loss_ce'},
    'gau_r101-d16_no-context_voc.py': {'decode.loss_ce'},
    'gau_r101-d16_c1_voc.py': {'decode.loss_ce'},
    'psp128_r101-d16_voc.py': {'decode.loss_ce'},
    'aspp128_r101-d16_voc.py': {'decode.loss_ce'},
    'se128_r101-d16_voc.py': {'decode.loss_ce'},
    'rrb_r101-d16_voc.py': {'decode.loss_ce'},
    'psp_r101-d16_voc.py': {'decode.loss_ce'},
    'deeplabv3plus_r101-d16_voc.py': {'decode.loss_ce'},
    'pan_mobilenet-v2-d16_1xb8-1k_voc12aug-256x256.py': {'decode.loss_ce'},
    'fcn_mobilenet-v2-d16_1xb8-1k_voc12aug-256x256.py': {'decode.loss_ce'},
    'fpa_mobilenet-v2-d16_1xb8-1k_voc12aug-256x256.py': {'decode.loss_ce'},
    'psp_mobilenet-v2-d16_1xb8-1k_voc12aug-256x256.py': {'decode.loss_ce'},
    'deeplabv3plus_mobilenet-v2-d16_1xb8-1k_voc12aug-256x256.py': {'decode.loss_ce'},
    'deeplabv3_mobilenet-v2-d16_voc12aug-513x513.py': {'decode.loss_ce'},
    DISTILLED: {'decode.loss_ce', 'decode.loss_soft'},
}


def test_every_combination_of_heads_backbone_and_optimizer_has_a_family():
    def combination(name):
        cfg = load(name)
        parts = [cfg.model.get(k) for k in ('backbone', 'decode_head', 'auxiliary_head')]
        return (*(p and p.type for p in parts), cfg.optim_wrapper.optimizer.type)

    assert {combination(name) for name in NAMES} == {combination(name) for name in FAMILIES}


@pytest.mark.parametrize('name', FAMILIES)
def test_family_trains_a_step(name):
    cfg = load(name)
    _, losses = train_a_step(cfg)
    assert {key for key in losses if '.loss' in key} == FAMILIES[name]


@pytest.mark.parametrize('name', [n for n in NAMES if 'toy' not in n])
def test_backbone_has_output_stride_16(name):
    backbone = MODELS.build(load(name).model.backbone)
    sizes = [tuple(x.shape[2:]) for x in backbone(torch.rand(2, 3, 64, 128))]
    assert sizes == [(16, 32), (8, 16), (4, 8), (4, 8)]


def test_dilation_starts_with_the_second_block_of_the_last_stage():
    backbone = MODELS.build(load('pan_r101-d16_voc.py').model.backbone)
    rates = [block.conv2.dilation[0] for block in backbone.layer4]
    assert rates == [1, 2, 2]
    assert all(block.conv2.dilation == (1, 1) for block in backbone.layer3)


@pytest.mark.parametrize('backbone', BACKBONES)
@pytest.mark.parametrize('head', ['pan', 'fcn'])
def test_short_name_is_the_papers_recipe(head, backbone):
    cfg = load(f'{head}_{backbone}-d16_voc.py')
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.momentum) == ('SGD', 4e-3, 0.9)
    assert optimizer.weight_decay == 1e-4
    (poly,) = cfg.param_scheduler
    assert (poly.type, poly.power, poly.by_epoch) == ('PolyLR', 0.9, False)
    assert cfg.train_dataloader.batch_size == 16
    assert cfg.train_cfg.max_iters == 40000
    assert 'auxiliary_head' not in cfg.model
    for dataset in cfg.train_dataloader.dataset.datasets:
        steps = [t.type for t in dataset.pipeline]
        assert not any(step.endswith('PhotoMetricDistortion') for step in steps)
        assert {'RandomResize', 'FastRandomFlip', 'FastRandomCrop'} <= set(steps)


@pytest.mark.parametrize('backbone', BACKBONES)
@pytest.mark.parametrize('head', ['pan', 'fcn'])
@pytest.mark.parametrize(('name', 'iterations'), [('20k', 20000), ('40k', 40000)])
def test_long_name_is_the_zoos_recipe(head, backbone, name, iterations):
    cfg = load(f'{head}_{backbone}-d16_4xb4-{name}_voc12aug-512x512.py')
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.weight_decay) == (0.01, 5e-4)
    assert cfg.param_scheduler[0].eta_min == 1e-4
    assert cfg.train_cfg.max_iters == iterations
    assert cfg.train_dataloader.batch_size == 4
    assert cfg.model.auxiliary_head.type == 'FCNHead'
    assert cfg.model.auxiliary_head.loss_decode.loss_weight == 0.4
    for dataset in cfg.train_dataloader.dataset.datasets:
        assert 'FastPhotoMetricDistortion' in [t.type for t in dataset.pipeline]


def test_small_configs_train_and_test_at_256():
    for head in ('pan', 'fcn'):
        cfg = load(f'{head}_mobilenet-v2-d16_1xb8-1k_voc12aug-256x256.py')
        assert tuple(cfg.model.data_preprocessor.size) == (256, 256)
        pipelines = [d.pipeline for d in cfg.train_dataloader.dataset.datasets]
        pipelines.append(cfg.test_dataloader.dataset.pipeline)
        for pipeline in pipelines:
            scales = [tuple(t.scale) for t in pipeline if 'scale' in t]
            assert scales == [(1024, 256)]


def test_pan_and_its_baseline_differ_in_the_head_alone():
    names = [n for n in NAMES if n.startswith('pan') and n.replace('pan', 'fcn', 1) in NAMES]
    assert len(names) == 16
    for name in names:
        pan, fcn = load(name), load(name.replace('pan', 'fcn', 1))
        for cfg in (pan, fcn):
            cfg.model.pop('decode_head')
        assert pan.to_dict() == fcn.to_dict(), name


def test_data_root_comes_from_the_environment(monkeypatch):
    monkeypatch.delenv('VOC_ROOT', raising=False)
    assert load('pan_r18-d16_voc.py').data_root == 'data/VOCdevkit/VOC2012'
    monkeypatch.setenv('VOC_ROOT', '/somewhere')
    cfg = load('pan_r18-d16_voc.py')
    assert cfg.val_dataloader.dataset.data_root == '/somewhere'


@pytest.mark.parametrize('name', sorted(NAMES))
def test_cost_of_every_config_can_be_counted(name):
    cost = count_cost(load(name).model, 512, 512)
    assert min(cost['decode_head']) > 1e3


def test_shipped_decoder_costs_at_most_a_quarter_of_its_backbone():
    costs = {
        name: count_cost(load(f'pan_r101-d16{name}_voc.py').model, 512, 512)
        for name in ('', '_dense256', '_separable256')
    }
    share = {
        k: c['decode_head'].multiply_adds / c['backbone'].multiply_adds for k, c in costs.items()
    }
    assert share[''] == pytest.approx(0.197, abs=0.001)
    assert share['_dense256'] == pytest.approx(0.474, abs=0.001)
    assert share['_separable256'] == pytest.approx(0.052, abs=0.001)


def test_cost_of_a_head_counted_by_hand():
    # FCN: 3x3 from 512 to 512 twice, 3x3 over the concatenation, 1x1 classifier, on 32x32.
    cost = count_cost(load('fcn_r18-d16_voc.py').model, 512, 512)['decode_head']
    assert cost.multiply_adds == 32 * 32 * (9 * (512 * 512 * 2 + 1024 * 512) + 512 * 21)


RECORD = Results(ROOT / 'configs/pan/results/voc_gates.jsonl')
HELD_OUT = 'pan_mobilenet-v2-d16_1xb8-1k_voc12aug-256x256_held-out.py'


@pytest.mark.parametrize('images', [4, 437, 1464])
def test_a_third_of_the_training_list_is_held_out_whatever_its_length(mini, monkeypatch, images):
    """437 is the part of VOC that the runs on record have, 1464 the whole."""
    monkeypatch.setenv('VOC_ROOT', str(mini.voc))
    names = [f'2009_{i:06d}' for i in range(images)]
    lists, masks = mini.voc / 'ImageSets/Segmentation', mini.voc / 'SegmentationClassAug'
    (lists / 'train.txt').write_text(''.join(f'{name}\n' for name in names))
    (lists / 'aug.txt').write_text('2008_000002\n')
    masks.mkdir()
    for name in names:
        (mini.voc / f'JPEGImages/{name}.jpg').touch()
        (mini.voc / f'SegmentationClass/{name}.png').touch()
    (masks / '2008_000002.png').touch()
    cfg = load(HELD_OUT)
    own, aug = DATASETS.build(cfg.train_dataloader.dataset).datasets
    stems = [
        [Path(part.get_data_info(i)['img_path']).stem for i in range(len(part))]
        for part in (own, DATASETS.build(cfg.test_dataloader.dataset))
    ]
    # The split of the runs on record: by position in the list.
    assert stems == [[n for i, n in enumerate(names) if i % 3], names[::3]]
    assert len(aug) == 1
    assert images != 437 or len(stems[1]) == RECORD.find(kind='run')['test_images'] == 146


def test_the_held_out_config_loads_without_the_data(tmp_path, monkeypatch):
    monkeypatch.setenv('VOC_ROOT', str(tmp_path / 'nowhere'))
    assert load(HELD_OUT).test_dataloader.dataset.folds == dict(count=3, used=(0,))


def test_recipes_are_chosen_on_images_that_training_does_not_see(voc_root, monkeypatch):
    monkeypatch.setenv('VOC_ROOT', str(voc_root))
    cfg = load(HELD_OUT)
    parts = DATASETS.build(cfg.train_dataloader.dataset).datasets
    train, test = (
        {part.get_data_info(i)['img_path'] for part in some for i in range(len(part))}
        for some in (parts, [DATASETS.build(cfg.test_dataloader.dataset)])
    )
    val = set((voc_root / 'ImageSets/Segmentation/val.txt').read_text().split())
    assert len(test) > 100 and len(train) > 700
    assert not train & test
    listed = (voc_root / 'ImageSets/Segmentation/train.txt').read_text().split()
    if len(listed) == 437:  # the part of VOC that the runs on record have
        _, images = RECORD.counts(RECORD.find(kind='run')['run'])
        assert sorted(images) == sorted(Path(path).name for path in test)
    assert not {Path(path).stem for path in train | test} & val
