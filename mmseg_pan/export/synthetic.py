"""Compare an exported file with its network on synthetic images."""

from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.dataset import pseudo_collate
from mmseg.datasets import BaseSegDataset
from torch import Tensor

from mmseg_pan.errors import UserError
from mmseg_pan.weights.agreement import input_channels, share_changed, synthetic_images
from mmseg_pan.weights.exported import OnnxRuntime, library, open_exported

from .graph import SegmentorGraph

#: Share of pixels that may get another class.
TOLERANCE = 1e-3
#: Heights and widths in pixels, neither of them traced: multiples of 32, and odd ones.
SIZES = ((224, 288), (97, 181))


def check_synthetic(
    graph: SegmentorGraph,
    file: Path,
    onnx_data: bytes,
    shape: tuple[int, int] | None,
    tolerance: float = TOLERANCE,
) -> None:
    """Run file and network on synthetic images: of two sizes, in batches of one and three.

    Of a file of class ids the logits before them are compared too: on an image without much
    in it, any network may give one class.

    Args:
        graph: The network, before batch norms were folded.
        file: ONNX or OpenVINO's .xml.
        onnx_data: The ONNX file that it is, or that it was converted from.
        shape: The fixed height and width, which both images then have.
        tolerance: Share of pixels that may get another class.

    Raises:
        UserError: If more of them do.
    """
    runs = [(open_exported(file)[0], graph.labels)]
    if graph.labels:
        logits = file.with_name('logits.onnx')
        logits.write_bytes(_with_logits(onnx_data))
        runs.append((OnnxRuntime(logits), False))
    sizes = (shape, shape) if shape else SIZES
    for number, image in enumerate(synthetic_images(*sizes, channels=input_channels(graph.model))):
        if number and not shape:
            image = torch.cat([image, image.flip(2), image.flip(3)])
        if not graph.preprocess:
            image = graph.normalize(image.to(device_of(graph))).cpu()
        expected = reference_logits(graph, image)
        for run, labels in runs:
            changed = share_changed(expected, torch.from_numpy(run(image.numpy())), labels)
            if changed > tolerance:
                raise UserError(_differs(graph, changed, image, shape))


def reference_logits(graph: SegmentorGraph, image: Tensor) -> Tensor:
    """Logits (N, C, H, W) on the CPU of the network that is exported, wherever that is.

    Raises:
        UserError: If it takes no image of this size.
    """
    whole = SegmentorGraph(graph.model, graph.preprocess)
    try:
        with torch.inference_mode():
            return whole(image.to(device_of(graph))).cpu()
    except AssertionError as error:  # how MMSegmentation's UNet refuses a size
        height, width = image.shape[2:]
        raise UserError(
            f'The network takes no image of {height}x{width} ({str(error)[:120]}); export it for '
            'one size with "--shape H W".'
        ) from None


def device_of(graph: SegmentorGraph) -> torch.device:
    """Where the network that is exported computes."""
    return next(graph.parameters()).device


def _differs(graph: SegmentorGraph, changed: float, image: Tensor, shape) -> str:
    height, width = image.shape[2:]
    kind = type(graph.model.backbone).__name__
    found = f'{changed:.1%} of the pixels of a synthetic image of {height}x{width}'
    if shape:
        return (
            f'The exported network segments {found} differently from the checkpoint, and is not '
            'written; use the checkpoint, or allow more with --tolerance.'
        )
    return (
        f'The exported network segments {found} unlike the checkpoint and is not written: '
        f'{kind} or the head keeps the size that it was traced with; type "--shape H W".'
    )


def compare_label_maps(
    graph: SegmentorGraph, file: Path, dataset: BaseSegDataset, images: Sequence[int]
) -> float:
    """Share of pixels of test images to which a file of class ids gives another class.

    Args:
        graph: The network.
        file: ONNX or OpenVINO's .xml, exported with ``labels``.
        dataset: With its pipeline for testing.
        images: Indices of images.
    """
    run, about = open_exported(file)
    changed = []
    for index in images:
        image = pseudo_collate([dataset[index]])['inputs'][0][None]
        if about.shape and [*image.shape[2:]] != about.shape:
            image = torch.nn.functional.interpolate(image.float(), about.shape, mode='bilinear')
            image = image.round().to(torch.uint8)
        if not graph.preprocess:
            image = graph.normalize(image.to(device_of(graph))).cpu()
        found = torch.from_numpy(run(image.numpy()))
        changed.append(share_changed(reference_logits(graph, image), found, labels=True))
    return sum(changed) / len(changed)


def _with_logits(data: bytes) -> bytes:
    """Let an ONNX network of class ids return the logits of which it takes the largest."""
    onnx = library('onnx')
    model = onnx.load_from_string(data)
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers[model.graph.output[0].name]
    while node.op_type != 'ArgMax':
        node = makers[node.input[0]]
    shape = ['batch', 'classes', 'height', 'width']
    logits = onnx.helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, shape)
    del model.graph.output[:]
    model.graph.output.append(logits)
    return model.SerializeToString()
