"""Memory format, bfloat16 and compilation: in effect, and the same training."""

import os
import sys
from functools import partial

import pytest
import torch
from mmengine.hooks import Hook

from mmseg_pan import cli, devices
from mmseg_pan.engine.acceleration import step_options
from tests.engine.runs import differences, small_cfg, train, trained_state
from tests.paths import ROOT
from tests.processes import run_command

CHANNELS_LAST = [dict(type='ChannelsLastHook')]
BFLOAT16 = dict(type='BFloat16OptimWrapper')


class Look(Hook):
    """Note what the convolutions of backbone and head are given."""

    priority = 'LOWEST'

    def before_train(self, runner):
        self.seen = {}
        for name, module in runner.model.named_modules():
            if isinstance(module, torch.nn.Conv2d):
                module.register_forward_hook(partial(self.note, name))

    def note(self, name, module, args, out):
        self.seen.setdefault(name, (args[0], module.weight.detach(), out))

    def __call__(self):
        assert any('backbone' in name for name in self.seen)
        assert any('decode_head' in name for name in self.seen)
        return self.seen.values()


def losses(runner):
    return runner.message_hub.get_scalar('train/loss').data[0].tolist()


@pytest.fixture(scope='module')
def plain(tmp_path_factory, toy_root):
    look = Look()
    runner = train(small_cfg(tmp_path_factory.mktemp('plain'), toy_root, 3), hooks=[look])
    assert not all(image.is_contiguous(memory_format=torch.channels_last) for image, *_ in look())
    return losses(runner)


def test_channels_last_reaches_every_convolution(tmp_path, toy_root, plain):
    cfg = small_cfg(tmp_path, toy_root, 3)
    cfg.custom_hooks += CHANNELS_LAST
    look = Look()
    runner = train(cfg, hooks=[look])
    for tensors in look():
        for tensor in tensors:
            assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert losses(runner) == pytest.approx(plain, rel=1e-3)


def test_no_gradient_in_bfloat16_comes_from_memory_that_was_never_written():
    """Of every kind of convolution in PAN on MobileNetV2, on a map of 29x29."""
    script = ROOT / 'tests/engine/bfloat16_gradients.py'
    config = ROOT / 'configs/pan/pan_mobilenet-v2-d16_voc.py'
    env = {k: v for k, v in os.environ.items() if k != 'VOC_ROOT'}
    env |= {'MALLOC_PERTURB_': '128', 'PYTHONPATH': str(ROOT)}
    done = run_command([sys.executable, script, config, 464, 464, 1], env=env)
    assert (done.returncode, done.stdout) == (0, '42 convolutions\n'), done.stderr


def test_bfloat16_reaches_convolutions_and_leaves_weights_alone(tmp_path, toy_root, plain):
    look = Look()
    runner = train(small_cfg(tmp_path, toy_root, 3, optim_wrapper=BFLOAT16), hooks=[look])
    for image, weight, out in look():
        assert weight.dtype == torch.float32
        # But for maps that a kernel reaches beyond: see SafeConvModule.
        small = min(image.shape[2:]) <= weight.shape[2] // 2
        assert out.dtype == (torch.float32 if small else torch.bfloat16)
    assert losses(runner) == pytest.approx(plain, rel=0.05)
    assert losses(runner) != pytest.approx(plain, rel=1e-6)


class Compile(Hook):
    """Compile backbone and head, by torch's own function."""

    def before_train(self, runner):
        runner.model.backbone.compile(fullgraph=True, backend='aot_eager')
        # The head's loss calls forward and not the module: Module.compile() has no effect.
        head = runner.model.decode_head
        head.forward = torch.compile(head.forward, fullgraph=True, backend='aot_eager')


def test_compiled_training_is_the_same_and_one_graph_a_part(tmp_path, toy_root, plain):
    """Without inductor, which would take minutes: a graph break is an error all the same."""
    cfg = small_cfg(tmp_path, toy_root, 3)
    torch._dynamo.utils.counters.clear()
    runner = train(cfg, hooks=[Compile()])
    counters = torch._dynamo.utils.counters
    assert counters['stats']['unique_graphs'] >= 2
    assert not counters['graph_break']
    assert losses(runner) == pytest.approx(plain, rel=1e-3)


def test_resume_is_exact_with_all_of_them(tmp_path, toy_root):
    states = []
    for name in 'ab':
        cfg = small_cfg(tmp_path / name, toy_root, optim_wrapper=BFLOAT16)
        cfg.custom_hooks += CHANNELS_LAST
        if name == 'b':
            train(cfg, stop_after=3)
        train(cfg, resume='auto')
        states.append(trained_state(tmp_path / name / 'iter_6.pth'))
    assert differences(*states) == {}


@pytest.fixture
def with_bfloat16(monkeypatch):
    """A processor with it: one without emulates it, slowly and with the same results."""
    monkeypatch.setattr(devices, 'cpu_has_bfloat16', lambda: True)


def fast_cfg(work_dir, toy_root, **options):
    cfg = small_cfg(work_dir, toy_root, **options)
    cli.set_fast_training(cfg)
    return cfg


@pytest.mark.skipif(torch.cuda.is_available(), reason='the GPU decides there')
@pytest.mark.parametrize(
    ('before', 'after'), [(fast_cfg, fast_cfg), (small_cfg, fast_cfg), (fast_cfg, small_cfg)]
)
def test_a_resumed_run_is_as_fast_as_its_config(tmp_path, toy_root, with_bfloat16, before, after):
    train(before(tmp_path, toy_root, iterations=3), stop_after=2)
    runner = train(after(tmp_path, toy_root, iterations=3), resume='auto')
    assert runner.iter == 3
    fast = after is fast_cfg
    assert step_options(runner) == {
        'optimizer': 'AdamW, fused' if fast else 'AdamW',
        'precision': 'bfloat16' if fast else 'float32',
        'memory format': 'channels-last' if fast else 'channels-first',
    }
