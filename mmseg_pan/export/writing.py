"""Write a segmentor as ONNX or OpenVINO, with its metadata."""

import contextlib
import copy
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from mmseg.models.segmentors import EncoderDecoder

from mmseg_pan.errors import UserError
from mmseg_pan.evaluation.fusion import fuse_conv_bn
from mmseg_pan.files import disk_errors_explained, write_whole
from mmseg_pan.outputs import name_output
from mmseg_pan.weights.exported import KEY, SMALLEST_SIDE, SUFFIXES, Description, library

from .graph import SegmentorGraph, describe_network, example, replace_upsampling
from .synthetic import TOLERANCE, check_synthetic, reference_logits


def export(
    model: EncoderDecoder,
    out: Path,
    file_format: str = 'onnx',
    shape: tuple[int, int] | None = None,
    preprocess: bool = False,
    labels: bool = False,
    tolerance: float = TOLERANCE,
    also: Callable[[Path], None] | None = None,
) -> Path:
    """Export a segmentor, and compare the file with it before the file gets its name.

    Args:
        model: From :func:`mmseg_pan.inference.load_segmentor`. It is traced on the CPU; one on a
            GPU is copied.
        out: File to write, without or with the format's suffix.
        file_format: 'onnx', or 'openvino' (a .xml and a .bin file).
        shape: Fixed height and width in pixels, of batch 1. None: any batch, and any sides
            from 65 to 4096 pixels.
        preprocess: Take pixels of 0 to 255, and normalise them inside.
        labels: Return class ids and not logits.
        tolerance: Share of the pixels of synthetic images that may get another class.
        also: Called with the file before it gets its name, to refuse it for other reasons.

    Returns:
        The file that was written.

    Raises:
        UserError: If the model is of a kind that cannot be exported, a library is missing, or
            the file gives other classes than the model; nothing is written then.
    """
    out = name_network(out, SUFFIXES[file_format])
    if next(model.parameters()).device.type != 'cpu':
        model = copy.deepcopy(model).cpu()
    graph = SegmentorGraph(model.eval(), preprocess, labels)
    reference_logits(graph, example(graph, shape))
    about = describe_network(model, preprocess, labels, shape)
    fused = copy.deepcopy(model)
    fuse_conv_bn(fused)
    replace_upsampling(fused)
    data = _onnx(SegmentorGraph(fused, preprocess, labels), shape, about)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder, out.name)
        if file_format == 'onnx':
            draft.write_bytes(data)
        else:
            source = Path(folder, 'source.onnx')
            source.write_bytes(data)
            save_openvino(library('openvino').convert_model(source), draft, about)
        check_synthetic(graph, draft, data, shape, tolerance)
        if also is not None:
            also(draft)
        move_network(draft, out)
    return out


def name_network(out: Path, suffix: str, inputs: Iterable[Path] = ()) -> Path:
    """Add the suffix where a name does not end in it, and see that nothing else is overwritten.

    Args:
        out: As the user typed it; what follows a dot, as in 'pan.v1', is part of the name.
        suffix: '.onnx' or '.xml'.
        inputs: Files that the tool reads.

    Raises:
        UserError: If there is a file or folder of that name that is no exported network, or its
            folder cannot be written.
    """
    out = out if out.suffix.lower() == suffix else out.with_name(out.name + suffix)
    name_output(out, inputs=inputs, mark=KEY)
    if out.exists() and not out.stat().st_size:  # elsewhere an empty file may be overwritten
        raise UserError(f'{out} exists and is not an exported network; choose another --out.')
    weights = out.with_suffix('.bin')
    if suffix == SUFFIXES['openvino'] and weights.exists() and not out.exists():
        raise UserError(
            f'{weights} would be overwritten, and has no {out.name} beside it; type another --out.'
        )
    return out


def save_openvino(network, file: Path, about: Description) -> None:
    """Write OpenVINO's two files, which say what they are."""
    network.set_rt_info(json.dumps(about._asdict()), [KEY])
    library('openvino').save_model(network, file, compress_to_fp16=False)


def move_network(draft: Path, out: Path) -> None:
    """Give a network its name; of OpenVINO's files the .xml last: it means that both are whole."""
    with disk_errors_explained(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        if draft.suffix == SUFFIXES['openvino']:
            write_whole(out.with_suffix('.bin'), draft.with_suffix('.bin').read_bytes())
        write_whole(out, draft.read_bytes())


def _onnx(graph: SegmentorGraph, shape, about: Description) -> bytes:
    onnx = library('onnx')
    library('onnxscript')
    sizes = None
    if shape is None:
        height, width = free_sides()
        sizes = dict(image={0: torch.export.Dim('batch', max=1024), 2: height, 3: width})
    with quiet_exporter():
        program = torch.onnx.export(
            graph.eval(),
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


def free_sides() -> tuple:
    """Height and width of images of any size, for ``dynamic_shapes`` of torch's exporter."""
    side = dict(min=SMALLEST_SIDE, max=4096)
    return torch.export.Dim('height', **side), torch.export.Dim('width', **side)


@contextlib.contextmanager
def quiet_exporter():
    """Leave out what the exporter prints of its steps and warns of in torch's own code."""
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            # torch.export copies its own trees, and this check of them is deprecated.
            warnings.filterwarnings('ignore', r'`isinstance\(treespec, LeafSpec\)`', FutureWarning)
            yield
    finally:
        logger.setLevel(level)
