import pytest
import torch
from mmengine.hooks import Hook
from torch.nn import BatchNorm2d

from mmseg_pan import UserError
from tests.engine.runs import small_cfg, train


class Note(Hook):
    """Notes which batch norms are in training mode at every step."""

    priority = 'LOWEST'

    def __init__(self, seen):
        self.seen = seen

    def after_train_iter(self, runner, batch_idx, *args, **kwargs):
        self.seen.append({
            name for name, module in runner.model.named_modules()
            if isinstance(module, BatchNorm2d) and module.training
        })  # fmt: skip


def run(tmp_path, toy_root, modules, seen):
    cfg = small_cfg(tmp_path, toy_root, iterations=4, val_interval=2)
    cfg.custom_hooks.append(dict(type='FrozenNormHook', modules=modules))
    return train(cfg, hooks=[Note(seen)])


def test_statistics_stay_and_weights_train(tmp_path, toy_root):
    """A validation is between the steps, after which the loop sets the network to training."""
    seen = []
    runner = run(tmp_path, toy_root, ['decode_head.fpa.main', 'decode_head.gau.0'], seen)
    assert len(seen) == 4
    for names in seen:
        assert not any(n.startswith(('decode_head.fpa.main', 'decode_head.gau.0')) for n in names)
        assert any(n.startswith('decode_head.gau.1') for n in names)
    kept = runner.model.decode_head.fpa.main.bn
    trained = runner.model.decode_head.gau[1].low.bn
    assert torch.equal(kept.running_mean, torch.zeros_like(kept.running_mean))
    assert not torch.equal(trained.running_mean, torch.zeros_like(trained.running_mean))
    assert not torch.equal(kept.weight, torch.ones_like(kept.weight))


@pytest.mark.parametrize(
    ('name', 'match'),
    [
        ('decode_head.fpn', "'decode_head.fpn', which is not in the network"),
        ('decode_head.dropout', "'decode_head.dropout', which has no batch norm"),
    ],
)
def test_a_module_without_batch_norms_is_refused(tmp_path, toy_root, name, match):
    with pytest.raises(UserError, match=match):
        run(tmp_path, toy_root, [name], [])
