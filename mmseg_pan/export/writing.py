"""Write a segmentor as ONNX or OpenVINO, with what belongs to it inside the file."""

import contextlib
import io
import json
import logging
import tempfile
import warnings
from pathlib import Path

import torch
from mmseg.models.segmentors import EncoderDecoder

from mmseg_pan.evaluation.fusion import fuse_conv_bn
from mmseg_pan.files import write_whole
from mmseg_pan.weights.exported import KEY, SMALLEST_SIDE, SUFFIXES, Description, library

from .graph import SegmentorGraph, describe_network, example


def export(
    model: EncoderDecoder,
    out: Path,
    file_format: str = 'onnx',
    shape: tuple[int, int] | None = None,
    preprocess: bool = False,
    labels: bool = False,
) -> Path:
    """Export a segmentor.

    Args:
        model: From :func:`mmseg_pan.inference.load_segmentor`; its batch norms are folded in
            place, and it can train no more.
        out: File to write, without or with the format's suffix.
        file_format: 'onnx', or 'openvino' (a .xml and a .bin file).
        shape: Fixed height and width in pixels, of batch 1. None: any batch, and any sides
            from 65 to 4096 pixels.
        preprocess: Take pixels of 0 to 255, and normalise them inside.
        labels: Return class ids and not logits.

    Returns:
        The file that was written.

    Raises:
        UserError: If the model is of a kind that cannot be exported, or a library is missing.
    """
    graph = SegmentorGraph(model.eval(), preprocess, labels)
    about = describe_network(model, preprocess, labels, shape)
    fuse_conv_bn(model)
    data = _onnx(graph, shape, about)
    out = out.with_suffix(SUFFIXES[file_format])
    out.parent.mkdir(parents=True, exist_ok=True)
    if file_format == 'onnx':
        write_whole(out, data)
        return out
    openvino = library('openvino')
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, 'model.onnx')
        source.write_bytes(data)
        write_openvino(openvino.convert_model(source), out, about)
    return out


def write_openvino(network, out: Path, about: Description) -> None:
    """Write OpenVINO's two files, weights first: a .xml means that both are whole."""
    openvino = library('openvino')
    network.set_rt_info(json.dumps(about._asdict()), [KEY])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'model.xml')
        openvino.save_model(network, file, compress_to_fp16=False)
        write_whole(out.with_suffix('.bin'), file.with_suffix('.bin').read_bytes())
        write_whole(out, file.read_bytes())


def _onnx(graph: SegmentorGraph, shape, about: Description) -> bytes:
    onnx = library('onnx')
    library('onnxscript')
    sizes = None
    if shape is None:
        side = dict(min=SMALLEST_SIDE, max=4096)
        dims = torch.export.Dim
        sizes = dict(image={0: dims('batch', max=1024)})
        sizes['image'] |= {2: dims('height', **side), 3: dims('width', **side)}
    with _quiet():
        program = torch.onnx.export(
            graph,
            (example(graph, shape),),
            dynamo=True,
            input_names=['image'],
            output_names=['labels' if graph.labels else 'logits'],
            dynamic_shapes=sizes,
            verbose=False,
        )
    file = program.model_proto
    onnx.helper.set_model_props(file, {KEY: json.dumps(about._asdict())})
    return file.SerializeToString()


@contextlib.contextmanager
def _quiet():
    """Leave out what the exporter says about operators of torchvision and of old torch."""
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)
