"""A quantized DeepLabV3 on MobileNetV2 with random weights, written plainly for the tests.

The network is a list of :class:`Layer`; ``write`` stores it as TFLite does and ``maps`` computes
what it stands for, in floats.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

SCALE, ZERO_POINT = 1 / 128, 128


@dataclass
class Layer:
    """A conv; ``weight`` lies as TFLite keeps it: (out, k, k, in) or (1, k, k, channels)."""

    name: str
    weight: np.ndarray
    scale: float
    bias: np.ndarray
    bias_scale: float
    stride: int = 1
    rate: int = 1
    depthwise: bool = False
    zero_point: int = 121

    def __call__(self, x):
        weight = torch.from_numpy((self.weight.astype(np.float64) - self.zero_point) * self.scale)
        weight = weight.permute((3, 0, 1, 2) if self.depthwise else (0, 3, 1, 2))
        bias = torch.from_numpy(self.bias * self.bias_scale)
        padding = self.rate * (weight.shape[-1] // 2)
        groups = len(weight) if self.depthwise else 1
        if len(weight) == 32 and x.shape[1] == 3:  # beyond the image lies the mean colour
            border = (torch.tensor([123.675, 116.28, 103.53]) - ZERO_POINT) * SCALE
            x = F.pad(x - border.view(1, 3, 1, 1), (1, 1, 1, 1)) + border.view(1, 3, 1, 1)
            padding = 0
        return F.conv2d(
            x, weight.to(x), bias.to(x), self.stride, padding, dilation=self.rate, groups=groups
        )


def layer(random, name, inside, outside, kernel=1, depthwise=False, **kwargs):
    shape = (1, kernel, kernel, outside) if depthwise else (outside, kernel, kernel, inside)
    fan_in = kernel * kernel * (1 if depthwise else inside)
    return Layer(
        name,
        random.integers(0, 256, shape, dtype=np.uint8),
        float(np.float32((2 / fan_in) ** 0.5 / 74)),
        random.integers(-(2**20), 2**20, outside, dtype=np.int32),
        float(np.float32(2**-23)),
        depthwise=depthwise,
        **kwargs,
    )


def deeplab(seed=0):
    """The 52 convs of the backbone and the four of the head, in order of execution."""
    random = np.random.default_rng(seed)
    layers = [layer(random, 'MobilenetV2/Conv/Conv2D_Fold', 3, 32, 3, stride=2)]
    inside, number = 32, 0
    for outside, strides, rates in (
        (16, [1], [1]), (24, [2, 1], [1, 1]), (32, [2, 1, 1], [1] * 3), (64, [2, 1, 1, 1], [1] * 4),
        (96, [1] * 3, [1] * 3), (160, [1] * 3, [1, 2, 2]), (320, [1], [2]),
    ):  # fmt: skip
        for stride, rate in zip(strides, rates, strict=True):
            block = 'MobilenetV2/expanded_conv' + (f'_{number}' if number else '')
            wide = inside * (6 if number else 1)
            if number:
                layers.append(layer(random, f'{block}/expand/weights', inside, wide))
            layers += [
                layer(
                    random, f'{block}/depthwise/weights', wide, wide, 3, True,
                    stride=stride, rate=rate,
                ),
                layer(random, f'{block}/project/weights', wide, outside),
            ]  # fmt: skip
            inside, number = outside, number + 1
    return layers + [
        layer(random, 'aspp0/weights', 320, 256),
        layer(random, 'image_pooling/weights', 320, 256),
        layer(random, 'concat_projection/weights', 512, 256),
        layer(random, 'logits/semantic/weights', 256, 21),
    ]


def maps(layers, pixels):
    """Compute the maps of stages 2, 3, 5 and 7 and the logits of RGB ``pixels`` (N, 3, H, W)."""
    *backbone, aspp, pooling, projection, logits = layers
    x = F.relu6(backbone[0]((pixels - ZERO_POINT) * SCALE))
    outputs, shortcut = [x], None
    for conv in backbone[1:]:
        y = conv(x)
        if 'project' in conv.name:
            x = y + shortcut if shortcut is not None and shortcut.shape == y.shape else y
            outputs.append(x)
        else:
            if 'expand/' in conv.name:
                shortcut = x
            x = F.relu6(y)
    a, p = F.relu(aspp(x)), F.relu(pooling(x.mean((2, 3), keepdim=True)))
    y = logits(F.relu(projection(torch.cat([p.expand_as(a), a], 1))))
    return [outputs[i] for i in (3, 6, 13, 17)], y


def write(path, layers):
    """Write the convs as a TFLite file; only what a reader of weights looks at is there."""
    import flatbuffers
    import tflite

    b = flatbuffers.Builder(1 << 22)

    def vector(start, items, put):
        start(b, len(items))
        for item in reversed(items):
            put(item)
        return b.EndVector()

    def table(start, end, **fields):
        start(b)
        for name, value in fields.items():
            getattr(tflite, name)(b, value)
        return end(b)

    buffers = [table(tflite.BufferStart, tflite.BufferEnd)]
    tensors, operators = [], []

    def tensor(name, shape, kind, scale, zero_point, data=None):
        if data is not None:
            content = b.CreateNumpyVector(np.frombuffer(data.tobytes(), np.uint8))
            buffers.append(table(tflite.BufferStart, tflite.BufferEnd, BufferAddData=content))
        scales = b.CreateNumpyVector(np.array(scale, np.float32, ndmin=1))
        zeros = b.CreateNumpyVector(np.full(np.size(scale), zero_point, np.int64))
        quantization = table(
            tflite.QuantizationParametersStart,
            tflite.QuantizationParametersEnd,
            QuantizationParametersAddScale=scales,
            QuantizationParametersAddZeroPoint=zeros,
        )
        dimensions = b.CreateNumpyVector(np.array(shape, np.int32))
        label = b.CreateString(name)
        tensors.append(
            table(
                tflite.TensorStart,
                tflite.TensorEnd,
                TensorAddShape=dimensions,
                TensorAddType=kind,
                TensorAddBuffer=0 if data is None else len(buffers) - 1,
                TensorAddName=label,
                TensorAddQuantization=quantization,
            )
        )
        return len(tensors) - 1

    types = tflite.TensorType
    image = tensor('input', (1, 513, 513, 3), types.UINT8, SCALE, ZERO_POINT)
    for conv in layers:
        kind = types.UINT8 if conv.weight.dtype == np.uint8 else types.INT8
        weight = tensor(
            conv.name, conv.weight.shape, kind, conv.scale, conv.zero_point, conv.weight
        )
        bias = tensor(
            f'{conv.name}/bias', conv.bias.shape, types.INT32, conv.bias_scale, 0, conv.bias
        )
        inputs = b.CreateNumpyVector(np.array([image, weight, bias], np.int32))
        name = 'DepthwiseConv2DOptions' if conv.depthwise else 'Conv2DOptions'
        options = table(
            getattr(tflite, f'{name}Start'),
            getattr(tflite, f'{name}End'),
            **{
                f'{name}AddStrideH': conv.stride,
                f'{name}AddStrideW': conv.stride,
                f'{name}AddDilationHFactor': conv.rate,
                f'{name}AddDilationWFactor': conv.rate,
            },
        )
        operators.append(
            table(
                tflite.OperatorStart,
                tflite.OperatorEnd,
                OperatorAddOpcodeIndex=int(conv.depthwise),
                OperatorAddInputs=inputs,
                OperatorAddBuiltinOptionsType=getattr(tflite.BuiltinOptions, name),
                OperatorAddBuiltinOptions=options,
            )
        )
    codes = [
        table(
            tflite.OperatorCodeStart,
            tflite.OperatorCodeEnd,
            OperatorCodeAddDeprecatedBuiltinCode=code,
            OperatorCodeAddBuiltinCode=code,
        )
        for code in (tflite.BuiltinOperator.CONV_2D, tflite.BuiltinOperator.DEPTHWISE_CONV_2D)
    ]
    offset = b.PrependUOffsetTRelative
    graph_tensors = vector(tflite.SubGraphStartTensorsVector, tensors, offset)
    graph_operators = vector(tflite.SubGraphStartOperatorsVector, operators, offset)
    graph_inputs = b.CreateNumpyVector(np.array([image], np.int32))
    graph = table(
        tflite.SubGraphStart,
        tflite.SubGraphEnd,
        SubGraphAddTensors=graph_tensors,
        SubGraphAddInputs=graph_inputs,
        SubGraphAddOperators=graph_operators,
    )
    graphs = vector(tflite.ModelStartSubgraphsVector, [graph], offset)
    all_codes = vector(tflite.ModelStartOperatorCodesVector, codes, offset)
    all_buffers = vector(tflite.ModelStartBuffersVector, buffers, offset)
    model = table(
        tflite.ModelStart,
        tflite.ModelEnd,
        ModelAddVersion=3,
        ModelAddOperatorCodes=all_codes,
        ModelAddSubgraphs=graphs,
        ModelAddBuffers=all_buffers,
    )
    b.Finish(model, file_identifier=b'TFL3')
    path.write_bytes(b.Output())
    return path
