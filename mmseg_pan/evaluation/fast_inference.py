"""Faster inference: folded batch norms, channels-last, bfloat16, label maps only."""

import copy
from collections.abc import Callable
from functools import partial

import torch
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.registry import HOOKS
from torch import Tensor

from mmseg_pan.devices import has_bfloat16
from mmseg_pan.errors import UserError

from .fusion import fuse_conv_bn
from .label_maps import postprocess_labels
from .memory_format import use_channels_last


def prepare_for_inference(
    model: BaseSegmentor,
    fuse: bool = True,
    channels_last: bool = True,
    dtype: torch.dtype | None = None,
    labels_only: bool = False,
) -> BaseSegmentor:
    """Change a trained segmentor so that it predicts faster; it cannot be trained afterwards.

    Args:
        model: Any MMSeg segmentor; changed in place and put into evaluation mode.
        fuse: Fold batch norms into convolutions. Differs by rounding.
        channels_last: Keep weights and maps in channels-last format. Differs by rounding.
        dtype: ``torch.bfloat16``: run the network under autocast, with logits in float32
            from where they are resized. None: leave it in float32.
        labels_only: Keep no ``seg_logits`` in the results. Label maps stay the same.

    Returns:
        The model.

    Raises:
        UserError: If the model, or the device, cannot do what is asked for.
    """
    if not isinstance(model, BaseSegmentor):
        raise UserError(
            f'Faster inference is for segmentors of MMSegmentation, not {type(model).__name__}; '
            'test without --fast and --amp.'
        )
    model.eval()
    if fuse:
        fuse_conv_bn(model)
    if channels_last:
        use_channels_last(model)
    if dtype is not None:
        _run_under_autocast(model, dtype)
    if labels_only and type(model).postprocess_result is BaseSegmentor.postprocess_result:
        model.postprocess_result = partial(postprocess_labels, model)
    return model


def _run_under_autocast(model: BaseSegmentor, dtype: torch.dtype) -> None:
    device = next(model.parameters()).device.type
    if dtype is not torch.bfloat16:
        raise UserError(f'Inference under autocast is in bfloat16, not {dtype}.')
    if device == 'cuda' and not has_bfloat16():
        raise UserError(
            f'--amp tests in bfloat16, and {torch.cuda.get_device_name()} has none; leave it out.'
        )
    inference = model.inference

    def autocast_inference(inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        with torch.autocast(device, dtype):
            return inference(inputs, batch_img_metas).float()

    def resize_in_float32(resize, seg_logits: Tensor, batch_img_metas: list[dict]) -> Tensor:
        return resize(seg_logits.float(), batch_img_metas)

    model.inference = autocast_inference
    # bfloat16 has 8 bits of mantissa: interpolated logits of neighbours would tie.
    for head in model.modules():
        if isinstance(head, BaseDecodeHead):
            head.predict_by_feat = partial(resize_in_float32, head.predict_by_feat)


def _test_sizes_apart(step: Callable[[dict], list], data: dict) -> list:
    """Test a batch; image by image where sizes differ, which MMSegmentation refuses to stack."""
    images = data['inputs']
    if len({image.shape for image in images}) == 1:
        return step(data)
    singles = ({key: [each[n]] for key, each in data.items()} for n in range(len(images)))
    return [sample for single in singles for sample in step(single)]


@HOOKS.register_module()
class FastTestHook(Hook):
    """Test a prepared copy of the model; the runner's own comes back afterwards.

    Args:
        fast: Whether to fold batch norms and to use channels-last format.
        amp: Whether to run the network in bfloat16.
        labels_only: Whether nothing reads ``seg_logits``, so that none are kept.
    """

    priority = 'LOWEST'  # after EMAHook has put the averaged weights in

    def __init__(self, fast: bool = False, amp: bool = False, labels_only: bool = False):
        self.fast = fast
        self.amp = amp
        self.labels_only = labels_only
        self.model = None

    def before_test_epoch(self, runner: Runner) -> None:
        """Replace the model by the prepared copy.

        Raises:
            UserError: If the model, or the device, cannot do what is asked for.
        """
        self.model = runner.model
        model = self.model.module if is_model_wrapper(self.model) else self.model
        changes_weights = self.fast or self.amp
        # Without changes to layers, the copy may share them.
        model = copy.deepcopy(model) if changes_weights else copy.copy(model)
        # Test-time augmentation wraps the segmentor and merges its logits.
        wraps = isinstance(model, BaseTTAModel)
        segmentor = model.module if wraps else model
        if changes_weights or isinstance(segmentor, BaseSegmentor):
            prepare_for_inference(
                segmentor,
                fuse=self.fast,
                channels_last=self.fast,
                dtype=torch.bfloat16 if self.amp else None,
                labels_only=self.labels_only and not wraps,
            )
        if segmentor is model:
            segmentor.test_step = partial(_test_sizes_apart, segmentor.test_step)
        runner.model = model

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Restore the model."""
        runner.model, self.model = self.model, None
