"""Norm layers that keep their statistics while the network trains."""

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmseg_pan.errors import UserError


@HOOKS.register_module()
class FrozenNormHook(Hook):
    """Keep the batch norms of some modules in evaluation mode, as ``norm_eval`` does in a backbone.

    Their weights and biases still train.

    Args:
        modules: Names as in ``model.named_modules()``, ``decode_head.fpa.main`` for instance;
            the batch norms inside of them are kept.
    """

    def __init__(self, modules: Sequence[str]):
        self.modules = list(modules)
        self._norms: list[nn.Module] = []

    def before_train(self, runner: Runner) -> None:
        """Find the norm layers.

        Raises:
            UserError: If a module is not in the network or has no batch norm.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        found = dict(model.named_modules())
        self._norms = []
        for name in self.modules:
            norms = [m for m in found.get(name, nn.Identity()).modules() if _is_norm(m)]
            if not norms:
                reason = 'has no batch norm' if name in found else 'is not in the network'
                raise UserError(
                    f'FrozenNormHook names {name!r}, which {reason}; correct "modules" in '
                    'custom_hooks.'
                )
            self._norms += norms

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Set them to evaluation mode, which ``model.train()`` after a validation undoes."""
        for norm in self._norms:
            norm.eval()


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm)
