"""Weights that are tested or exported fit their network to the last key, or are refused."""

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn

from mmseg_pan import UserError
from mmseg_pan.inference import load_segmentor
from mmseg_pan.weights.fit import check_class_names, load_fitting
from tests.paths import TOY


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def trained():
    """Weights that no new network has."""
    return {key: torch.rand_like(value.float()) for key, value in network().state_dict().items()}


def check_loaded(model, state):
    for key, value in model.state_dict().items():
        if 'num_batches_tracked' not in key:
            assert torch.equal(value, state[key]), key


@pytest.mark.parametrize(
    'rename',
    [
        lambda key: key,
        lambda key: f'module.{key}',
        lambda key: f'_orig_mod.{key}',
        lambda key: f'module._orig_mod.{key}',
        lambda key: f'_orig_mod.module.{key}',
        lambda key: f'model.net.{key}',
        lambda key: key.replace('0.', '0._orig_mod.', 1) if key.startswith('0.') else key,
    ],
    ids=['plain', 'DataParallel', 'compiled', 'both', 'both, swapped', 'Lightning', 'a part'],
)
def test_names_of_wrappers_are_taken_off(rename):
    state, model = trained(), network()
    found = load_fitting(model, {rename(key): value for key, value in state.items()}, 'x.pth')
    assert found.keys() == model.state_dict().keys()
    check_loaded(model, state)


def test_what_lies_beside_a_wrapped_network_is_not_its_own():
    state, model = trained(), network()
    wrapped = {f'model.{key}': value for key, value in state.items()}
    load_fitting(model, {**wrapped, 'criterion.weight': torch.ones(2)}, 'x.pth')
    check_loaded(model, state)


def test_two_networks_in_one_file_are_refused():
    state = {f'{who}.{key}': v for who in ('student', 'teacher') for key, v in trained().items()}
    with pytest.raises(UserError, match=r'8 keys missing .*student'):
        load_fitting(network(), state, 'x.pth')


CHANGES = {
    'missing': (lambda state: state.pop('2.bias'), r'1 keys missing \(2\.bias\)'),
    'unexpected': (
        lambda state: state.update({'3.weight': torch.ones(1)}),
        r'1 keys unexpected \(3\.weight\)',
    ),
    'shape': (
        lambda state: state.update({'2.weight': torch.ones(5, 4, 1, 1)}),
        r'1 keys of another shape \(2\.weight: \[5, 4, 1, 1\], expected \[2, 4, 1, 1\]\)',
    ),
}


@pytest.mark.parametrize('change', list(CHANGES))
def test_one_key_that_does_not_fit_is_named(change):
    alter, words = CHANGES[change]
    state = trained()
    alter(state)
    with pytest.raises(UserError, match=rf'x\.pth does not fit the config: {words}; give the'):
        load_fitting(network(), state, 'x.pth')


def test_of_many_keys_the_first_are_named():
    state = {f'a_rather_long_name_of_a_layer.number_{i}.weight': torch.ones(1) for i in range(900)}
    with pytest.raises(
        UserError, match=r'8 keys missing \(0\.weight.*900 keys unexpected'
    ) as error:
        load_fitting(network(), state, 'x.pth')
    assert len(str(error.value)) <= 300


def test_counters_of_batch_norms_may_be_missing():
    state, model = trained(), network()
    del state['1.num_batches_tracked']
    load_fitting(model, state, 'x.pth')
    check_loaded(model, state)


@pytest.fixture
def with_auxiliary_head():
    cfg = Config.fromfile(TOY).model
    head = dict(type='FCNHead', in_channels=64, channels=8, in_index=2, num_classes=7)
    return cfg, dict(cfg, auxiliary_head=head)


@pytest.mark.parametrize('kept', ['only in the file', 'only in the config', 'with other classes'])
def test_auxiliary_heads_do_not_matter(with_auxiliary_head, kept):
    plain, both = with_auxiliary_head
    source = MODELS.build(plain if kept == 'only in the config' else both).state_dict()
    if kept == 'with other classes':
        both['auxiliary_head']['num_classes'] = 9
    model = MODELS.build(plain if kept == 'only in the file' else both)
    found = load_fitting(model, {k: v + 1 for k, v in source.items()}, 'x.pth')
    assert found.keys() == model.state_dict().keys()  # what EMAHook loads, which is strict
    assert torch.equal(model.decode_head.conv_seg.bias, source['decode_head.conv_seg.bias'] + 1)


def test_a_segmentor_for_inference_names_three_keys_at_most(toy_checkpoint, tmp_path):
    config = tmp_path / 'wide.py'
    config.write_text(f"_base_ = '{TOY}'\nmodel = dict(backbone=dict(depth=50))\n")
    with pytest.raises(UserError, match=r'does not fit the config: .*give the config') as error:
        load_segmentor(toy_checkpoint, config)
    assert len(str(error.value)) <= 300


def test_normalisation_of_the_whole_config_reaches_predictions(toy_checkpoint, tmp_path):
    """Mmengine's Runner gives it to a model that has none; so the test uses it."""
    cfg = Config.fromfile(TOY)
    cfg.data_preprocessor = cfg.model.pop('data_preprocessor')
    cfg.data_preprocessor.mean = [1.0, 2.0, 3.0]
    cfg.dump(tmp_path / 'top.py')
    model = load_segmentor(toy_checkpoint, tmp_path / 'top.py')
    assert model.data_preprocessor.mean.flatten().tolist() == [1, 2, 3]


def test_class_names():
    check_class_names(None, 'ab', 'x')
    check_class_names(('bg', 'cat'), ['background', 'cat'], 'x')  # renamed
    with pytest.raises(UserError, match=r'x has 2 classes, and the data set 3; give'):
        check_class_names('ab', 'abc', 'x')
    with pytest.raises(UserError, match=r"another order \('c' has the id 1, .* has 'b'\)"):
        check_class_names('acb', 'abc', 'x')
