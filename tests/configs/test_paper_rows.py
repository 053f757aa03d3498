"""Each row of the paper's ablation differs from its neighbour in what it names."""

import re

import pytest
from mmengine.config import Config

from tests.paths import ROOT

PAN = ROOT / 'configs/pan'
CARD = (PAN / 'README.md').read_text()

# (row, neighbour) -> what the row's head has that the neighbour's has not.
NEIGHBOURS = {
    ('gau_r101-d16_c1', 'gau_r101-d16_c3'): dict(low_level_kernel_size=1),
    ('gau_r101-d16_no-context', 'gau_r101-d16_c3'): dict(context=False),
    ('rrb_r101-d16', 'gau_r101-d16_c3'): dict(refinement=True),
    ('gau_r101-d16_c3', 'pan_r101-d16'): dict(kernel_sizes=(), global_branch=False),
    ('fpa_r101-d16_c357-ave-gp', 'pan_r101-d16'): dict(
        type='FPAHead', in_channels=2048, in_index=3
    ),
    ('psp128_r101-d16', 'psp_r101-d16'): dict(channels=128),
    ('baseline_r101-d16', 'fcn_r101-d16'): dict(channels=2048, num_convs=0, concat_input=False),
}
for pooling in ('ave', 'max'):
    for branch in ('', '-gp'):
        row = f'{pooling}{branch}'
        NEIGHBOURS[f'fpa_r101-d16_c333-{row}', f'fpa_r101-d16_c357-{row}'] = dict(
            kernel_sizes=(3, 3, 3)
        )
for kernels in ('c333', 'c357'):
    for branch in ('', '-gp'):
        NEIGHBOURS[f'fpa_r101-d16_{kernels}-max{branch}', f'fpa_r101-d16_{kernels}-ave{branch}'] = (
            dict(pooling='max')
        )
    for pooling in ('ave', 'max'):
        NEIGHBOURS[f'fpa_r101-d16_{kernels}-{pooling}', f'fpa_r101-d16_{kernels}-{pooling}-gp'] = (
            dict(global_branch=False)
        )


def load(name):
    return Config.fromfile(PAN / f'{name}_voc.py').to_dict()


def test_every_row_has_a_neighbour():
    assert len(NEIGHBOURS) == 19


@pytest.mark.parametrize('row', NEIGHBOURS, ids='-'.join)
def test_a_row_differs_from_its_neighbour_in_the_option_that_it_names(row):
    ours, theirs = map(load, row)
    head, other = ours['model'].pop('decode_head'), theirs['model'].pop('decode_head')
    assert ours == theirs  # everything but the head
    changed = {k: v for k, v in head.items() if k not in other or other[k] != v}
    assert changed == NEIGHBOURS[row]
    # What the neighbour has and the row has not: nothing.
    assert set(other) <= set(head)


def test_modules_in_place_of_fpa_have_its_width():
    for name in (
        'psp128_r101-d16',
        'aspp128_r101-d16',
        'se128_r101-d16',
        'fpa_r101-d16_c357-ave-gp',
    ):
        assert load(name)['model']['decode_head']['channels'] == 128


def test_both_protocols_of_multi_scale_testing():
    ratios = [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
    scales = {
        name: [
            step.get('scale_factor', step.get('scale'))
            for step in Config.fromfile(PAN / f'{name}.py').tta_pipeline[1]['transforms'][0]
        ]
        for name in ('pan_r101-d16_voc', 'pan_r101-d16_voc_tta-2048x512')
    }
    assert scales['pan_r101-d16_voc'] == ratios
    assert [tuple(s) for s in scales['pan_r101-d16_voc_tta-2048x512']] == [
        (int(2048 * r), int(512 * r)) for r in ratios
    ]


def test_cityscapes_is_the_papers_recipe():
    cfg = Config.fromfile(PAN / 'pan_r101-d16_cityscapes.py')
    (crop,) = [t for t in cfg.train_pipeline if t.type == 'RandomCrop']
    assert tuple(crop.crop_size) == tuple(cfg.model.data_preprocessor.size) == (768, 768)
    assert cfg.model.decode_head.num_classes == 19
    assert cfg.optim_wrapper.optimizer.lr == 4e-3


def test_the_card_maps_every_row_to_a_config():
    rows = re.findall(r'^\| (.+?) \| `(\w[^`{}]*_(?:voc|cityscapes)[^`{}]*\.py)`', CARD, re.M)
    named = {config for _, config in rows}
    assert len(named) >= 17
    assert all((PAN / name).is_file() for name in named)
    assert {f'{row}_voc.py' for row, _ in NEIGHBOURS} <= named
