"""Losses that are not finite, and what the loop asks of a config."""

import re

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_pan import UserError
from mmseg_pan.engine.loop import FiniteLossGuard, describe_losses, image_paths
from tests.engine.runs import differences, small_cfg, tensors, train


@MODELS.register_module()
class SpoiltLoss(torch.nn.Module):
    """Cross entropy that is not finite at some calls, and leaves NaN in batch norm then."""

    loss_name = 'loss_ce'
    spoilt: tuple = ()
    value = float('nan')
    calls = 0

    def forward(self, logits, label, **kwargs):
        SpoiltLoss.calls += 1
        loss = logits.square().mean()
        return loss * self.value if SpoiltLoss.calls in self.spoilt else loss


@pytest.fixture
def spoil(monkeypatch):
    def set_calls(*calls, value=float('nan')):
        monkeypatch.setattr(SpoiltLoss, 'spoilt', calls)
        monkeypatch.setattr(SpoiltLoss, 'calls', 0)
        monkeypatch.setattr(SpoiltLoss, 'value', value)

    return set_calls


def spoilt_cfg(work_dir, toy_root, **options):
    loss = dict(_delete_=True, type='SpoiltLoss')
    return small_cfg(work_dir, toy_root, model__decode_head__loss_decode=loss, **options)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@pytest.mark.filterwarnings('error:Converting a tensor with requires_grad')
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, toy_root, spoil, value):
    spoil(3, value=value)
    cfg = spoilt_cfg(tmp_path, toy_root, interval=1)
    with pytest.raises(UserError) as caught:
        train(cfg)
    sentence = str(caught.value)
    assert 'not finite at iteration 3 (learning rate 0.0004' in sentence
    assert re.search(r'decode\.loss_ce (nan|inf)', sentence)
    assert len(re.findall(r'JPEGImages/train_\d+\.jpg', sentence)) == 2
    assert 'train_cfg.max_nonfinite_steps=10' in sentence
    assert {p.name for p in tmp_path.glob('*.pth')} == {'iter_1.pth', 'iter_2.pth'}


class SpoilBatchNorm(Hook):
    """What an overflow in the forward pass leaves behind."""

    def __init__(self, iteration):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.here = batch_idx + 1 == self.iteration
        if self.here:
            norm = runner.model.backbone.stem[1]

            def spoil(module, *_):
                module.running_mean.fill_(float('nan'))

            self.handle = norm.register_forward_hook(spoil)

    def after_train_iter(self, *args, **kwargs):
        if self.here:
            self.handle.remove()


def test_steps_are_left_out_up_to_the_limit(tmp_path, toy_root, spoil):
    """As if the step had not been: weights, batch norm and optimizer stay."""
    spoil(3, 5)
    states = {}

    class Keep(Hook):
        priority = 'LOWEST'

        def after_train_iter(self, runner, batch_idx, *args, **kwargs):
            state = dict(
                model=runner.model.state_dict(), optimizer=runner.optim_wrapper.state_dict()
            )
            states[batch_idx + 1] = {
                k: v.clone() for k, v in tensors(state).items() if '.lr' not in k
            }

    cfg = spoilt_cfg(tmp_path, toy_root, train_cfg__max_nonfinite_steps=2, param_scheduler=[])
    runner = train(cfg, hooks=[Keep(), SpoilBatchNorm(3)])
    assert runner.iter == 6
    for iteration in (2, 4, 6):
        moved = differences(states[iteration], states[iteration - 1])
        assert any('conv_seg.weight' in k for k in moved)
    for iteration in (3, 5):
        assert differences(states[iteration], states[iteration - 1]) == {}


@pytest.fixture
def two():
    """Two layers, and an optimizer for each."""
    layers = {name: torch.nn.Linear(2, 1) for name in ('left', 'right')}
    wrappers = {
        name: OptimWrapper(torch.optim.SGD(layer.parameters(), 0.1))
        for name, layer in layers.items()
    }
    return layers, OptimWrapperDict(**wrappers)


def step_by_step(wrapper, loss):
    wrapper.zero_grad()
    wrapper.backward(loss)
    wrapper.step()


#: Ways in which a model trains with one of several optimizers.
WAYS = {
    'by name': lambda all_, name, loss: all_[name].update_params(loss),
    'in turns': lambda all_, name, loss: dict(all_.items())[name].update_params(loss),
    'step by step': lambda all_, name, loss: step_by_step(all_[name], loss),
}


@pytest.mark.parametrize('bad', [None, 'left', 'right'])
@pytest.mark.parametrize('way', WAYS)
def test_several_optimizers_are_guarded_one_by_one(two, bad, way):
    layers, wrapper = two
    before = {name: layer.weight.clone() for name, layer in layers.items()}
    with FiniteLossGuard(wrapper) as guard:
        for name, layer in layers.items():
            loss = layer(torch.ones(1, 2)).sum() * (float('nan') if name == bad else 1)
            WAYS[way](wrapper, name, loss)
    assert guard.skipped is (bad is not None)
    for name, layer in layers.items():
        assert torch.equal(layer.weight, before[name]) is (name == bad)


def test_nothing_follows_a_loss_that_is_not_finite_until_the_guard_is_gone(two):
    """Gradients of a second loss would else wait for the next step."""
    layers, wrapper = two
    one, layer = wrapper['left'], layers['left']
    before = layer.weight.clone()
    layer.weight.grad = torch.ones(1, 2)  # of an earlier, accumulated step
    with FiniteLossGuard(wrapper) as guard:
        one.backward(layer(torch.ones(1, 2)).sum() * float('inf'))
        one.update_params(layer(torch.ones(1, 2)).sum())
        assert guard.skipped
    assert torch.equal(layer.weight, before)
    assert torch.equal(layer.weight.grad, torch.ones(1, 2))
    assert not {'backward', 'step', 'zero_grad'} & set(vars(one))
    one.update_params(layer(torch.ones(1, 2)).sum())
    assert not torch.equal(layer.weight, before)


def test_a_guard_leaves_what_others_have_put_before_a_step(two):
    _, wrapper = two
    one, called = wrapper['left'], []
    one.step = lambda **_: called.append('theirs')
    theirs = one.step
    with FiniteLossGuard(wrapper):
        one.step()
    assert called == ['theirs'] and one.step is theirs


@pytest.mark.parametrize(
    ('batch', 'expected'),
    [
        (dict(inputs=[], data_samples=[SegDataSample(metainfo=dict(img_path='a.jpg'))]), ['a.jpg']),
        (dict(inputs=[], data_samples=[SegDataSample()]), ['?']),
        (dict(inputs=[], data_samples=torch.zeros(2, 1)), ['?', '?']),
        (dict(inputs=[], data_samples=None), []),
        (dict(data_samples=[dict(img_path='a.jpg')]), ['?']),
        (torch.zeros(2, 1), []),
        ([torch.zeros(2)], []),
    ],
)
def test_images_of_any_batch(batch, expected):
    assert image_paths(batch) == expected


@pytest.mark.parametrize(
    ('outputs', 'expected'),
    [
        (dict(loss=torch.tensor(float('nan')), x=1), 'loss nan; '),
        (dict(loss_a=1, loss_b=torch.ones(1), loss_c=torch.ones(3)), 'loss_a 1, loss_b 1; '),
        (dict(loss='high', losses=[1.0, 2.0]), ''),
        (None, ''),
        ([torch.ones(1)], ''),
    ],
)
def test_losses_of_any_outputs(outputs, expected):
    assert describe_losses(outputs) == expected


def test_the_limit_counts_over_a_resume(tmp_path, toy_root, spoil):
    spoil(2)
    cfg = spoilt_cfg(tmp_path, toy_root, train_cfg__max_nonfinite_steps=1)
    train(cfg, stop_after=4)
    spoil(1)
    with pytest.raises(UserError, match=r'at iteration 5 .* and 1 such steps are allowed'):
        train(cfg, resume='newest')


def test_other_samplers_are_refused(tmp_path, toy_root):
    cfg = small_cfg(tmp_path, toy_root)
    cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)
    with pytest.raises(UserError, match=r'sampler=dict\(type="InfiniteSampler"\).*DefaultSampler'):
        train(cfg)


@pytest.mark.parametrize('workers', [0, 1, 3])
@pytest.mark.parametrize('fault', ['image', 'mask'])
def test_a_sample_that_cannot_be_read_is_named(tmp_path, toy_root, workers, fault):
    import shutil

    from PIL import Image

    root = shutil.copytree(toy_root, tmp_path / 'toy')
    if fault == 'image':
        path = root / 'JPEGImages/train_00005.jpg'
        path.write_bytes(path.read_bytes()[:300])
    else:
        path = root / 'SegmentationClass/train_00005.png'
        Image.new('L', (64, 64), 99).save(path)
    cfg = small_cfg(tmp_path / 'run', root, workers=workers, iterations=20)
    with pytest.raises(UserError, match=r'train_00005'):
        train(cfg)
