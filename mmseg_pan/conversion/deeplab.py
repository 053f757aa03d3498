"""DeepLabV3 on MobileNetV2 from its public TFLite file: the backbone's weights and the head's.

The file is ``deeplabv3_mnv2_pascal_quant.tflite`` of the repository google-coral/test_data
(Apache-2.0). It holds 8-bit weights with batch norms folded into convs and biases, and expects
``(pixel - 128) / 128``.
"""

import hashlib
import re
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_pan.errors import UserError
from mmseg_pan.weights.tensors import name_weights, write_weights

from .names import MOBILENET_BLOCKS

PUBLIC_SHA256 = '350af47fd346ea6d74b58833a351f583ba860e9806ec5bd292ff8d8f1f249398'
#: At output stride 16. The rate holds for every block of a stage but the first, which keeps the
#: rate of the stage before.
STRIDES, DILATIONS = (1, 2, 2, 2, 1, 1, 1), (1, 1, 1, 1, 1, 2, 2)
HEAD = {
    'aspp0': (256, 320, 1, 1),
    'image_pooling': (256, 320, 1, 1),
    'concat_projection': (256, 512, 1, 1),
    'logits': (21, 256, 1, 1),
}
#: What MMSeg's configs subtract and divide by, RGB.
IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class FoldedConv(NamedTuple):
    """A conv with its batch norm folded in: weight (out, in / groups, k, k) and bias (out)."""

    weight: Tensor
    bias: Tensor
    stride: int
    dilation: int


def tflite_convs(path: str | Path) -> tuple[dict[str, FoldedConv], float, int]:
    """Read all convs of a quantized TFLite file.

    Args:
        path: The file.

    Returns:
        Convs by the name of their weights, in order of execution, and the input's scale and zero
        point: the network sees ``(pixel - zero point) * scale``.

    Raises:
        UserError: If the file is absent or damaged or is not quantized in that way, or the library
            that reads it is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f'The network {path} does not exist; give a .tflite file.')
    try:
        import tflite
    except ImportError:
        raise UserError(
            f'{path} needs the library tflite; type "pip install -r requirements/convert.txt".'
        ) from None
    data = path.read_bytes()
    if len(data) < 8 or data[4:8] != b'TFL3':
        raise UserError(f'{path} is not a TFLite file; give one that ends in .tflite.')
    try:
        return _parse(tflite, data, path)
    except UserError:
        raise
    except (struct.error, ValueError, IndexError, TypeError, AttributeError, UnicodeError):
        # Offsets that point outside the file, which the library does not check.
        raise UserError(f'{path} is damaged; download it again.') from None


def _parse(tflite, data: bytes, path: Path) -> tuple[dict[str, FoldedConv], float, int]:
    model = tflite.Model.GetRootAs(data, 0)
    graph = model.Subgraphs(0)
    kinds = {
        tflite.BuiltinOperator.CONV_2D: tflite.Conv2DOptions,
        tflite.BuiltinOperator.DEPTHWISE_CONV_2D: tflite.DepthwiseConv2DOptions,
    }
    convs = {}
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        code = model.OperatorCodes(operator.OpcodeIndex())
        # Old files fill only the first of the two fields.
        kind = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
        if kind not in kinds:
            continue
        options = kinds[kind]()
        options.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
        _, weight, bias = (graph.Tensors(index) for index in operator.InputsAsNumpy())
        values = _dequantized(model, weight, np.uint8, tflite.TensorType.UINT8, path)
        # (out, k, k, in), and (1, k, k, channels) where depthwise
        order = (0, 3, 1, 2) if kind == tflite.BuiltinOperator.CONV_2D else (3, 0, 1, 2)
        convs[weight.Name().decode()] = FoldedConv(
            torch.from_numpy(values.transpose(order).copy()),
            torch.from_numpy(_dequantized(model, bias, np.int32, tflite.TensorType.INT32, path)),
            options.StrideH(),
            options.DilationHFactor(),
        )
    scale, zero_point = _quantization(graph.Tensors(graph.Inputs(0)), path)
    return convs, scale, zero_point


def _dequantized(model, tensor, dtype, code: int, path: Path) -> np.ndarray:
    scale, zero_point = _quantization(tensor, path)
    if tensor.Type() != code:
        raise UserError(
            f'{path} holds {tensor.Name().decode().split(";")[0]} in another type than '
            f'{np.dtype(dtype).name}; give the file with 8-bit weights.'
        )
    integers = model.Buffers(tensor.Buffer()).DataAsNumpy().view(dtype)
    # float64: zero points are taken off and scales multiplied without a second rounding
    values = (integers.astype(np.float64) - zero_point) * scale
    return values.reshape(tensor.ShapeAsNumpy()).astype(np.float32)


def _quantization(tensor, path: Path) -> tuple[float, int]:
    found = tensor.Quantization()
    if found is None or found.ScaleLength() != 1:
        scales = found.ScaleLength() if found else 0
        raise UserError(
            f'{path} holds {tensor.Name().decode().split(";")[0]} with {scales} scales, expected '
            'one for the whole tensor; give the file with 8-bit weights.'
        )
    return float(found.Scale(0)), int(found.ZeroPoint(0))


def mmseg_name(name: str) -> str | None:
    """Name of a conv in MMSeg's MobileNetV2 or in the head, or None where it is in neither.

    Args:
        name: Of its weights in the TFLite file.
    """
    if name.startswith('MobilenetV2/Conv/'):
        return 'conv1'
    match = re.match(r'MobilenetV2/expanded_conv(?:_(\d+))?/(expand|depthwise|project)/', name)
    if not match:
        return next((part for part in HEAD if name.startswith(f'{part}/')), None)
    block, stage = int(match[1] or 0), 0
    while stage < 6 and block >= MOBILENET_BLOCKS[stage]:
        block -= MOBILENET_BLOCKS[stage]
        stage += 1
    # The first stage does not expand: depthwise comes first.
    part = ('expand', 'depthwise', 'project').index(match[2]) - (stage == 0)
    return f'layer{stage + 1}.{block}.conv.{part}'


def stride_and_rate(name: str) -> tuple[int, int]:
    """Stride and dilation rate that a conv of the network must have.

    Args:
        name: As :func:`mmseg_name` gives it.
    """
    match = re.match(r'layer(\d)\.(\d+)\.conv\.(\d)', name)
    if not match:
        return (2, 1) if name == 'conv1' else (1, 1)
    stage, block, part = int(match[1]) - 1, int(match[2]), int(match[3])
    if part != (stage > 0):  # not depthwise
        return 1, 1
    first = block == 0
    return (STRIDES[stage] if first else 1), DILATIONS[max(stage - first, 0)]


def convert_deeplab(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Convert the public TFLite file.

    Every batch norm of the backbone becomes the identity plus a bias in evaluation mode: mean 0,
    variance ``1 - eps``, weight 1. These are no statistics of images: train with
    ``norm_eval=True``. ImageNet's mean and standard deviation are folded into the first conv.
    Zero padding then stands for the mean colour, and not for 128: maps differ slightly near the
    border.

    Args:
        path: The file.

    Returns:
        State dicts of MMSeg's ``MobileNetV2`` and of the head's four 1x1 convs.

    Raises:
        UserError: If the file cannot be read or holds another network.
    """
    convs, scale, zero_point = tflite_convs(path)
    backbone = MODELS.build(dict(type='MobileNetV2')).state_dict()
    shapes = {k.removesuffix('.conv.weight'): v.shape for k, v in backbone.items() if v.ndim == 4}
    shapes.update(HEAD)
    for name in convs:
        if mmseg_name(name) not in shapes:
            raise UserError(
                f'{path} holds the conv {name.split(";")[0]}, which DeepLabV3 on MobileNetV2 does '
                'not have; give that network.'
            )
    convs = {mmseg_name(name): conv for name, conv in convs.items()}
    for name, shape in shapes.items():
        if name not in convs:
            raise UserError(
                f'{path} has no conv {name}, which DeepLabV3 on MobileNetV2 has; give that network.'
            )
        conv = convs[name]
        found = (tuple(conv.weight.shape), (conv.stride, conv.dilation))
        expected = (tuple(shape), stride_and_rate(name))
        if found != expected:
            raise UserError(
                f'{path} has {name} with shape {found[0]}, stride and rate {found[1]}, expected '
                f'{expected[0]} and {expected[1]}; give DeepLabV3 on MobileNetV2 of width 1.'
            )
    convs['conv1'] = _for_imagenet_pixels(convs['conv1'], scale, zero_point)
    norms = [k.removesuffix('.running_var') for k in backbone if k.endswith('.running_var')]
    for norm in norms:
        name = norm.removesuffix('.bn')
        backbone[f'{name}.conv.weight'] = convs[name].weight
        backbone[f'{norm}.weight'] = torch.ones_like(convs[name].bias)
        backbone[f'{norm}.bias'] = convs[name].bias
        backbone[f'{norm}.running_mean'] = torch.zeros_like(convs[name].bias)
        backbone[f'{norm}.running_var'] = torch.full_like(convs[name].bias, 1 - 1e-5)
    head = {
        f'{name}.{part}': getattr(convs[name], part) for name in HEAD for part in ('weight', 'bias')
    }
    return backbone, head


def _for_imagenet_pixels(conv: FoldedConv, scale: float, zero_point: int) -> FoldedConv:
    """Make the first conv take ``(pixel - mean) / std`` in place of ``(pixel - zero) * scale``."""
    mean, std = (torch.tensor(v, dtype=torch.float64) for v in (IMAGENET_MEAN, IMAGENET_STD))
    weight = conv.weight.double()
    shift = (weight * ((mean - zero_point) * scale).view(1, 3, 1, 1)).sum((1, 2, 3))
    weight = weight * (std * scale).view(1, 3, 1, 1)
    return conv._replace(weight=weight.float(), bias=(conv.bias + shift).float())


def convert_deeplab_file(
    source: str | Path, backbone: str | Path, head: str | Path
) -> tuple[str, bool]:
    """Convert the public TFLite file into two checkpoints.

    Args:
        source: The .tflite file.
        backbone: The .pth file to write for MMSeg's ``MobileNetV2``.
        head: The .pth file to write for the head.

    Returns:
        SHA-256 of the source, and whether it is that of the public file.

    Raises:
        UserError: If the file cannot be converted, the outputs' names cannot be meant, or they
            cannot be written.
    """
    source = Path(source)
    backbone, head = (name_weights(path, inputs=[source]) for path in (backbone, head))
    if backbone.resolve() == head.resolve():
        raise UserError(f'Both outputs are {backbone}; type two names.')
    states = convert_deeplab(source)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    meta = dict(source=source.name, sha256=digest)
    geometry = dict(strides=STRIDES, dilations=DILATIONS)
    write_weights(states[0], backbone, meta={**meta, **geometry})
    write_weights(states[1], head, meta=meta)
    return digest, digest == PUBLIC_SHA256
