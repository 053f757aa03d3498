"""DeepLabV3 as one of MMSegmentation's networks, and a PAN that starts with its logits."""

from collections.abc import Collection
from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from mmseg.models import EncoderDecoder, FCNHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_pan.configs.contents import read_config
from mmseg_pan.errors import UserError
from mmseg_pan.models import ImagePoolingNeck, PANHead
from mmseg_pan.models.distillation import network_alone
from mmseg_pan.models.fpa import FeaturePyramidAttention
from mmseg_pan.weights.tensors import name_weights, read_weights, write_weights

from .deeplab import HEAD

#: Weight of the norm layers of branches that DeepLabV3 lacks. At 0 their convs would get no
#: gradient.
FAINT = 1e-3


def start_as_deeplab(
    model: EncoderDecoder, backbone: dict[str, Tensor], head: dict[str, Tensor]
) -> None:
    """Give a network the weights of a DeepLabV3, so that it computes the same logits.

    An ``FCNHead`` without convs takes the classifier as it is: that is DeepLabV3 itself.

    A PAN carries a logit through its ReLUs as two channels, its positive and its negative part,
    and the classifier takes their difference. The attention starts at 1, and what GAU and
    the global branch add at almost 0. The norm layer of ``fpa.main`` is the identity in
    evaluation mode: keep it there while training (``FrozenNormHook``).

    Args:
        model: With an ``ImagePoolingNeck`` and an ``FCNHead`` of ``num_convs=0``, or a ``PANHead``
            of at least two channels a class, whose other weights stay as they are.
        backbone: State dict of the backbone, from ``tflite2mmseg.py``.
        head: State dict of DeepLabV3's head, from the same.

    Raises:
        UserError: If the model has not these parts.
    """
    decoder = model.decode_head
    classes = head['logits.weight'].shape[0]
    itself = type(decoder) is FCNHead and decoder.num_convs == 0 and not decoder.concat_input
    if not isinstance(getattr(model, 'neck', None), ImagePoolingNeck) or not (
        itself or isinstance(decoder, PANHead)
    ):
        raise UserError(
            'The config must have an ImagePoolingNeck, and a PANHead or an FCNHead with '
            'num_convs=0 and concat_input=False.'
        )
    width = 0 if itself else 2 * classes
    if decoder.num_classes != classes or decoder.channels < width:
        raise UserError(
            f'The {type(decoder).__name__} must have num_classes={classes} and channels={width} or '
            f'more, not {decoder.num_classes} and {decoder.channels}.'
        )
    model.backbone.load_state_dict(backbone)
    model.neck.load_state_dict(
        {key: value for key, value in head.items() if not key.startswith('logits')}
    )
    with torch.no_grad():
        if itself:
            decoder.conv_seg.weight.copy_(head['logits.weight'])
            decoder.conv_seg.bias.copy_(head['logits.bias'])
            return
        _carry_logits(decoder, head['logits.weight'][:, :, 0, 0], head['logits.bias'])
        _set_attention_to_one(decoder.fpa)
        if decoder.fpa.global_branch is not None:
            decoder.fpa.global_branch.norm.weight.fill_(FAINT)
        for gau in decoder.gau:
            _norm_of(gau.low).weight.fill_(FAINT)


def _carry_logits(decoder: PANHead, weight: Tensor, bias: Tensor) -> None:
    classes = len(weight)
    main, norm = decoder.fpa.main.conv.weight[:, :, 0, 0], decoder.fpa.main.norm
    norm.running_mean.zero_()
    norm.running_var.fill_(1)
    norm.weight.fill_((1 + norm.eps) ** 0.5)
    norm.bias.zero_()
    norm.weight[2 * classes :] = FAINT
    decoder.conv_seg.weight.normal_(0, 0.1)
    decoder.conv_seg.weight[:, : 2 * classes] = 0
    decoder.conv_seg.bias.zero_()
    for sign, first in ((1, 0), (-1, classes)):
        rows = slice(first, first + classes)
        main[rows] = sign * weight
        norm.bias[rows] = sign * bias
        decoder.conv_seg.weight[:, rows, 0, 0] = sign * torch.eye(classes)


def _set_attention_to_one(fpa: FeaturePyramidAttention) -> None:
    if not fpa.down:
        return
    if isinstance(fpa.project, nn.Identity):
        raise UserError('The PANHead must have pyramid_channels other than channels.')
    fpa.project.norm.weight.fill_(0)
    fpa.project.norm.bias.fill_(1)


def _norm_of(conv: nn.Module) -> nn.Module:
    """The norm layer of a conv, or of the pointwise half of a separable one."""
    return (conv[-1] if isinstance(conv, nn.Sequential) else conv).norm


def write_start(
    config: str | Path, backbone: str | Path, head: str | Path, out: str | Path, seed: int = 0
) -> None:
    """Write DeepLabV3's weights as a checkpoint of a config.

    Args:
        config: Of DeepLabV3 itself or of a PAN, see :func:`start_as_deeplab`.
        backbone: As ``tflite2mmseg.py`` wrote it.
        head: As ``tflite2mmseg.py`` wrote it.
        out: The .pth file to write.
        seed: Of the weights that DeepLabV3 lacks.

    Raises:
        UserError: If a file cannot be read or written, or the config's network does not fit.
    """
    out = name_weights(out, inputs=[Path(backbone), Path(head)])
    cfg = read_config(config)
    states = read_weights(backbone), read_weights(head)
    _check_keys(head, states[1], {f'{name}.{part}' for name in HEAD for part in ('weight', 'bias')})
    init_default_scope('mmseg')
    set_random_seed(seed)
    cfg.model.backbone.init_cfg = None  # its weights are given
    model = MODELS.build(network_alone(cfg.model))
    model.init_weights()
    _check_keys(backbone, states[0], model.backbone.state_dict())
    start_as_deeplab(model, *states)
    write_weights(model.state_dict(), out, meta=dict(config=Path(config).name, seed=seed))


def _check_keys(path: str | Path, state: dict[str, Tensor], expected: Collection[str]) -> None:
    """Check that a file is the one that ``tflite2mmseg.py`` wrote for this part."""
    if state.keys() != set(expected):
        strange = sorted(state.keys() ^ set(expected))[0]
        raise UserError(
            f'{path} {"has" if strange in state else "lacks"} {strange}; give the backbone and '
            'then the head as tflite2mmseg.py wrote them.'
        )
