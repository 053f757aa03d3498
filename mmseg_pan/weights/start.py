"""Starting a run from published weights: their address, and a classifier of other classes."""

from collections.abc import Iterator
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import CheckpointLoader, Runner
from mmseg.registry import HOOKS
from torch import Tensor

from mmseg_pan.errors import UserError

from .fit import without_prefixes
from .published import load_from_safetensors

#: Address of a model in the package: it holds in any clone, and for a newer file of that name.
PREFIX = 'mmseg_pan://'

_CLASSIFIER = ('conv_seg.weight', 'conv_seg.bias')


def packaged_file(address: str) -> Path:
    """The file of ``mmseg_pan://NAME``, whose name ends in a hash.

    Raises:
        UserError: If the package has no model of that name.
    """
    folder = Path(__file__).parent
    known = {path.stem.rpartition('-')[0]: path for path in folder.glob('*.safetensors')}
    name = address.removeprefix(PREFIX)
    if name not in known:
        raise UserError(
            f'load_from is {address}, and the package has no model of that name; it has '
            f'{", ".join(PREFIX + item for item in sorted(known))}.'
        )
    return known[name]


@CheckpointLoader.register_scheme(prefixes=PREFIX)
def load_packaged(filename: str, map_location=None) -> dict:
    """Let mmengine's loader read a model in the package, in float32."""
    return load_from_safetensors(str(packaged_file(filename)), map_location)


@HOOKS.register_module()
class NewClassifierHook(Hook):
    """Start from weights whose classifier has other classes: it stays new, all else is loaded.

    mmengine does the same, with a table of names and a warning for each tensor. Other tensors of
    another shape are left to it.
    """

    priority = 'HIGHEST'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Put the network's own classifier in place of one of another size."""
        state = checkpoint.get('state_dict')
        if runner._resume or not isinstance(state, dict):
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        own = model.state_dict()
        state = without_prefixes(state, own)
        renewed = list(_other_classifiers(state, own))
        if not renewed:
            return
        before, now = len(state[renewed[0]]), len(own[renewed[0]])
        checkpoint['state_dict'] = {**state, **{name: own[name] for name in renewed}}
        print_log(
            f'The weights have a classifier of {before} classes, and the network {now}: it starts '
            f'new ({", ".join(renewed)}), and the other {len(state) - len(renewed)} tensors are '
            'loaded.',
            logger='current',
        )


def _other_classifiers(state: dict[str, Tensor], own: dict[str, Tensor]) -> Iterator[str]:
    for name, value in own.items():
        if name.endswith(_CLASSIFIER) and name in state and state[name].shape != value.shape:
            yield name
