"""Checkpoints that ``torch.load(weights_only=True)`` reads without extra safe globals."""

import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_pan.weights.plain_values import LEFT_OUT, from_plain, to_plain

# Both beside message_hub, where stock mmengine does not look.
_HISTORY = 'log_history'
_NOTES = 'plain_notes'
_PARTS = ('meta', 'message_hub', 'optimizer', 'param_schedulers')


@HOOKS.register_module()
class SafeCheckpointHook(Hook):
    """Save what mmengine would pickle as tensors and plain values.

    mmengine pickles its ``HistoryBuffer`` objects, and whatever hooks keep in the message hub,
    into every checkpoint. torch 2.6 and newer refuse such files: OpenMMLab's release can no
    longer test or resume its own checkpoints, OneDL's falls back to the unsafe load, which runs
    whatever code a file holds. With this hook the file is tensors and plain values, and a resumed
    run finds in the message hub what was there; stock mmengine reads the file too and only
    misses the smoothing window of its log.

    Functions and objects of other classes have no plain form: they are left out with a warning.
    """

    def __init__(self):
        self._warned: set[str] = set()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take the objects out."""
        hub = checkpoint['message_hub'] = dict(checkpoint['message_hub'])
        checkpoint[_HISTORY] = {
            name: dict(zip(('values', 'counts'), map(torch.from_numpy, buffer.data), strict=True))
            for name, buffer in hub.pop('log_scalars').items()
        }
        hub['log_scalars'] = {}
        if runner is not None:  # mmengine's copy has lost the factory of a defaultdict
            live = runner.message_hub.runtime_info
            hub['runtime_info'] = {
                key: live.get(key, value) for key, value in hub['runtime_info'].items()
            }
        checkpoint[_NOTES] = {}
        for part in _PARTS:
            if part in checkpoint:
                notes = checkpoint[_NOTES][part] = []
                checkpoint[part] = to_plain(checkpoint[part], notes)
                if part != 'param_schedulers':  # a scheduler builds its functions again
                    self._warn(runner, part, notes)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Put the objects back."""
        for part, notes in checkpoint.pop(_NOTES, {}).items():
            if part in checkpoint:
                checkpoint[part] = from_plain(checkpoint[part], notes)
        for name, history in checkpoint.pop(_HISTORY, {}).items():
            checkpoint['message_hub']['log_scalars'][name] = HistoryBuffer(
                history['values'].tolist(), history['counts'].tolist()
            )

    def _warn(self, runner: Runner, part: str, notes: list) -> None:
        for path, kind, detail in notes:
            name = '.'.join(map(str, (part, *path)))
            if kind == LEFT_OUT and name not in self._warned:
                self._warned.add(name)
                runner.logger.warning(
                    f'{name} is not saved: checkpoints hold tensors and plain values only, and it '
                    f'is of type {detail}.'
                )
