"""The network of a web page: bytes of a photograph in, logits out, weights in half precision."""

import copy
import math
import warnings

import numpy as np
import torch
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import TRANSFORMS
from torch import Tensor, nn

from mmseg_pan.datasets.reading import Loading
from mmseg_pan.errors import UserError
from mmseg_pan.weights.agreement import HALF_ROUNDING, share_changed, synthetic_images
from mmseg_pan.weights.exported import library

from .graph import SegmentorGraph, replace_upsampling
from .synthetic import SIZES, TOLERANCE
from .writing import free_sides, quiet_exporter

#: Pixels of the longer side that the network is given at most, where predict.py takes windows.
LONGEST = 2048
#: Steps of a test pipeline that leave the pixels alone.
_IDLE = ('LoadAnnotations', 'PackSegInputs')


class PageGraph(nn.Module):
    """Map the bytes of a photograph to logits of its size.

    Args:
        model: A segmentor of MMSegmentation's EncoderDecoder kind.
    """

    def __init__(self, model: EncoderDecoder):
        super().__init__()
        self.segmentor = SegmentorGraph(model)
        before = model.data_preprocessor
        self.is_rgb = before._channel_conversion
        self.pad_value = before.pad_val if before.test_cfg else None
        normalizes = before._enable_normalize
        # Buffers, since the preprocessor's own move with a device that the exporter does not know.
        self.register_buffer('mean', before.mean.clone() if normalizes else torch.zeros(3, 1, 1))
        self.register_buffer('std', before.std.clone() if normalizes else torch.ones(3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Segment RGBA bytes (1, H, W, 4); where alpha is 0 there is padding.

        Returns:
            Logits (1, C, H, W).
        """
        # Contiguous: for channels-last strides torch.export takes the example's size for a rule.
        image = pixels[..., :3].permute(0, 3, 1, 2).contiguous().float()
        if not self.is_rgb:
            image = image.flip(1)
        image = (image - self.mean) / self.std
        if self.pad_value is not None:
            inside = (pixels[..., 3:] > 0).permute(0, 3, 1, 2)
            image = torch.where(inside, image, torch.full_like(image, self.pad_value))
        return self.segmentor(image)


def resizing_steps(pipeline: list[dict]) -> list[dict]:
    """What a test pipeline does to the pixels of a photograph, for the page to do it as well.

    Args:
        pipeline: The config's test pipeline.

    Returns:
        One for each step: 'scale' with the two sides, and 'keepRatio'; or 'divisor' alone.

    Raises:
        UserError: If a step is none that the page can do.
    """
    loading = Loading.of(pipeline)
    if loading != Loading() or pipeline[0].get('to_float32'):
        raise _undoable(pipeline[0], 'LoadImageFromFile of 8-bit colour with cv2')
    steps = []
    for step in pipeline[1:]:
        kind = TRANSFORMS.get(step['type']).__name__
        if kind == 'Resize' and step.get('scale'):
            if step.get('interpolation', 'bilinear') != 'bilinear':
                raise _undoable(step, 'bilinear interpolation')
            if step.get('backend', 'cv2') != 'cv2':
                raise _undoable(step, 'backend cv2')
            scale = step['scale']
            scale = [scale, scale] if isinstance(scale, int) else list(scale)
            steps.append(dict(scale=scale, keepRatio=bool(step.get('keep_ratio'))))
        elif kind == 'ResizeToMultiple' and step.get('interpolation') in (None, 'bilinear'):
            steps.append(dict(divisor=step.get('size_divisor', 32)))
        elif kind not in _IDLE:
            raise _undoable(step, 'Resize with a scale, or ResizeToMultiple')
    return steps


def padding_rule(model: EncoderDecoder) -> dict | None:
    """How the data preprocessor pads test images: 'size', height and width, or 'divisor'."""
    rule = model.data_preprocessor.test_cfg or {}
    if rule.get('size') is not None:
        return dict(size=list(rule['size']))
    if (rule.get('size_divisor') or 1) > 1:
        return dict(divisor=rule['size_divisor'])
    return None


def decision_limit(model: EncoderDecoder) -> float | None:
    """The logit above which a network of one output channel says class 1; None for others."""
    if model.out_channels != 1:
        return None
    threshold = model.decode_head.threshold
    return math.log(threshold / (1 - threshold))


def page_network(model: EncoderDecoder, tolerance: float = TOLERANCE) -> bytes:
    """Export a network for the page as ONNX, and compare it with the model.

    Weights are stored in float16, and the run time computes in float32. Batch norms are not folded
    into the convolutions: published weights are float16 numbers, and products of them are not. (On
    60 photographs of VOC, folding first changed 0.3 % of the pixels, and this none.)

    Args:
        model: From :func:`mmseg_pan.inference.load_segmentor`, on the CPU.
        tolerance: Share of the pixels of synthetic images that may get another class.

    Returns:
        The file. Input 'pixels' (1, H, W, 4), uint8, RGBA; output 'logits' (1, C, H, W), float32.

    Raises:
        UserError: If the model is of a kind that cannot be exported, a library is missing, or the
            file gives other classes than the model.
    """
    original = PageGraph(model.eval())
    halved = copy.deepcopy(model)
    round_weights(halved)
    replace_upsampling(halved)
    images = [_as_pixels(image) for image in synthetic_images(*SIZES)]
    expected = [_logits(original, pixels) for pixels in images]
    data = _store_halves(_trace(PageGraph(halved)))
    session = open_network(data)
    for pixels, logits in zip(images, expected, strict=True):
        found = torch.from_numpy(session.run(None, {'pixels': pixels.numpy()})[0])
        changed = share_changed(logits, found, rounding=HALF_ROUNDING)
        if changed > tolerance:
            raise UserError(
                f'The network of the page segments {changed:.2%} of the pixels of a synthetic '
                f'image differently from the checkpoint, more than {tolerance:.2%}; nothing is '
                'written. Export it as ONNX instead, or allow more with --tolerance.'
            )
    return data


def open_network(data: bytes):
    """Open the file for onnxruntime on the CPU."""
    runtime = library('onnxruntime')
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    return runtime.InferenceSession(data, options, providers=['CPUExecutionProvider'])


def round_weights(model: nn.Module) -> None:
    """Round the kernels of a network to float16, in place; vectors stay as they are.

    Variances of batch norms may be smaller than float16's smallest number, and all vectors together
    are a few kilobytes. The same goes for kernels with values beyond float16's range.
    """
    for parameter in model.parameters():
        half = parameter.data.half()
        if parameter.ndim > 1 and half.isfinite().all():
            parameter.data = half.to(parameter.dtype)


def _trace(graph: PageGraph):
    onnx = library('onnx')
    library('onnxscript')
    from onnxscript import optimizer

    height, width = free_sides()  # tried: smaller ones work as well
    sizes = dict(pixels={1: height, 2: width})
    with quiet_exporter(), torch.no_grad():
        program = torch.onnx.export(
            graph.eval(),
            (torch.zeros(1, 253, 341, 4, dtype=torch.uint8),),
            dynamo=True,
            input_names=['pixels'],
            output_names=['logits'],
            dynamic_shapes=sizes,
            verbose=False,
            optimize=False,  # it would fold batch norms
        )
        optimizer.fold_constants(program.model)
        optimizer.remove_unused_nodes(program.model)
    file = program.model_proto
    # Where in our code each node was made, a third of a megabyte.
    for item in (file, file.graph, *file.graph.node):
        del item.metadata_props[:]
    for node in file.graph.node:
        node.doc_string = ''
    del file.graph.value_info[:]
    onnx.checker.check_model(file)
    return file


def _store_halves(file) -> bytes:
    """Store each matrix or kernel whose values are float16 numbers as such, with a Cast."""
    onnx = library('onnx')
    casts = []
    for tensor in file.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', RuntimeWarning)  # overflow, which the comparison sees
            half = values.astype(np.float16)
        if np.array_equal(half.astype(np.float32), values):
            name = tensor.name
            tensor.CopyFrom(onnx.numpy_helper.from_array(half, f'{name}.half'))
            casts.append(
                onnx.helper.make_node('Cast', [tensor.name], [name], to=onnx.TensorProto.FLOAT)
            )
    nodes = [*casts, *file.graph.node]
    del file.graph.node[:]
    file.graph.node.extend(nodes)
    return file.SerializeToString()


def _as_pixels(image: Tensor) -> Tensor:
    """An image (1, 3, H, W) uint8 as RGBA bytes (1, H, W, 4)."""
    pixels = image.permute(0, 2, 3, 1)
    return torch.cat([pixels, torch.full_like(pixels[..., :1], 255)], dim=3).contiguous()


def _logits(graph: PageGraph, pixels: Tensor) -> Tensor:
    with torch.inference_mode():
        return graph(pixels)


def _undoable(step: dict, expected: str) -> UserError:
    text = ', '.join(f'{key}={value!r}' for key, value in step.items())[:110]
    return UserError(
        f'The test pipeline has {text}, and the page can do {expected}; change test_pipeline in '
        'the config, or export with --format onnx.'
    )
