"""Runtimes for exported networks, and a segmentor that uses them."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from mmseg_pan.errors import UserError

from .published import with_tuples

#: The key under which a file describes itself.
KEY = 'mmseg_pan'
SUFFIXES = dict(onnx='.onnx', openvino='.xml')
#: torch.export treats sides of 1 apart: at output stride 16 and three poolings of 2, images of
#: at least this side have none.
SMALLEST_SIDE = 65


class Description(NamedTuple):
    """What an exported file says about itself."""

    config: dict
    classes: list[str]
    palette: list | None
    preprocess: bool = False
    labels: bool = False
    shape: list[int] | None = None
    align_corners: bool = False
    threshold: float | None = None


def library(name: str):
    """Import a library that only this part needs.

    Raises:
        UserError: If it is not installed.
    """
    try:
        return __import__(name)
    except ImportError:
        raise UserError(
            f'{name} is not installed; type "pip install -r requirements/deploy.txt".'
        ) from None


class OnnxRuntime:
    """An ONNX file, run by ONNX Runtime on the CPU."""

    def __init__(self, file: Path):
        runtime = library('onnxruntime')
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self.session = runtime.InferenceSession(
                str(file), options, providers=['CPUExecutionProvider']
            )
        except Exception as error:  # its classes have no common base of their own
            raise UserError(_unreadable(file, error)) from None
        self.about = self.session.get_modelmeta().custom_metadata_map.get(KEY)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Run (N, 3, H, W)."""
        return self.session.run(None, {'image': image})[0]


class OpenVINO:
    """OpenVINO's two files, run on the CPU.

    Args:
        file: The .xml file, with its .bin beside it.
        precision: 'float32' or 'bfloat16', in which layers that are not INT8 compute.
    """

    PRECISIONS = dict(float32='f32', bfloat16='bf16')

    def __init__(self, file: Path, precision: str = 'float32'):
        openvino = library('openvino')
        if not file.with_suffix('.bin').is_file():
            raise UserError(f'{file} needs {file.with_suffix(".bin").name} next to it; copy both.')
        try:
            network = openvino.Core().read_model(file)
        except RuntimeError as error:
            raise UserError(_unreadable(file, error)) from None
        self.about = network.get_rt_info([KEY]).value if network.has_rt_info([KEY]) else None
        options = dict(
            INFERENCE_PRECISION_HINT=self.PRECISIONS[precision],
            INFERENCE_NUM_THREADS=torch.get_num_threads(),
            PERFORMANCE_HINT='LATENCY',
        )
        self.network = openvino.Core().compile_model(network, 'CPU', options)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Run (N, 3, H, W)."""
        return self.network(image, share_inputs=True)[0]


def _unreadable(file: Path, error: Exception) -> str:
    reason = str(error).strip().splitlines()[-1]
    return f'{file} cannot be read ({reason}); export it again with tools/deployment/export.py.'


def open_exported(file: str | Path, precision: str = 'float32'):
    """Open an exported file for its run time.

    Returns:
        What runs it, and its :class:`Description`.

    Raises:
        UserError: If it does not exist, is damaged, or was not exported by this package.
    """
    file = Path(file)
    if not file.is_file():
        raise UserError(f'{file} does not exist; write it with tools/deployment/export.py.')
    run = OnnxRuntime(file) if file.suffix == SUFFIXES['onnx'] else OpenVINO(file, precision)
    if not run.about:
        raise UserError(
            f'{file} does not say which classes it has and what it expects; export it with '
            'tools/deployment/export.py.'
        )
    return run, Description(**json.loads(run.about))


@MODELS.register_module()
class ExportedSegmentor(BaseSegmentor):
    """An exported network as a segmentor, for testing and prediction.

    Args:
        file: .onnx, or .xml of OpenVINO.
        precision: See :class:`OpenVINO`.
        data_preprocessor: Ignored: mmengine's Runner passes the config's, the file has its own.
    """

    def __init__(
        self, file: str, precision: str = 'float32', data_preprocessor: dict | None = None
    ):
        run, about = open_exported(file, precision)
        if about.labels:
            raise UserError(
                f'{file} returns class ids, which cannot be resized to the size of an image as '
                'logits are; export it without --labels.'
            )
        before = dict(about.config['model']['data_preprocessor'])
        if about.preprocess:
            before |= dict(mean=None, std=None, bgr_to_rgb=False, rgb_to_bgr=False)
        super().__init__(data_preprocessor=before)
        self.run = run
        self.about = about
        self.align_corners = about.align_corners
        self.num_classes = len(about.classes)
        head = about.config['model']['decode_head']
        head = head[-1] if isinstance(head, list) else head
        self.out_channels = head.get('out_channels') or self.num_classes
        self.decode_head = nn.Module()  # where MMSegmentation looks for the threshold
        self.decode_head.threshold = about.threshold
        self.cfg = Config(with_tuples(about.config))
        self.dataset_meta = dict(classes=tuple(about.classes), palette=about.palette)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Segment (N, 3, H, W), to logits (N, C, H, W).

        Images are resized to a network of fixed size, and to the smallest that one of any
        size takes; logits are resized back.
        """
        size = inputs.shape[2:]
        wanted = self.about.shape or [max(side, SMALLEST_SIDE) for side in size]
        resized = F.interpolate(inputs, wanted, mode='bilinear') if wanted != [*size] else inputs
        if self.about.preprocess:
            resized = resized.round().to(torch.uint8)
        # A network of fixed size takes one image at a time.
        parts = resized.split(1) if self.about.shape else [resized]
        found = [torch.from_numpy(self.run(part.contiguous().cpu().numpy())) for part in parts]
        logits = torch.cat(found).to(inputs.device)
        if wanted == [*size]:
            return logits
        return F.interpolate(logits, size, mode='bilinear', align_corners=self.align_corners)

    def inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Alias of the forward pass, as MMSegmentation's segmentors have it."""
        return self.encode_decode(inputs, batch_img_metas)

    def predict(self, inputs: Tensor, data_samples: list | None = None) -> list:
        """Segment preprocessed images (N, 3, H, W); returns the samples with predictions."""
        metas = [sample.metainfo for sample in data_samples or []]
        return self.postprocess_result(self.inference(inputs, metas), data_samples)

    def _forward(self, inputs: Tensor, data_samples: list | None = None) -> Tensor:
        return self.encode_decode(inputs, [])

    def extract_feat(self, inputs: Tensor):
        """Not available: an exported network has no separate backbone."""
        raise NotImplementedError('An exported network gives no feature maps.')

    def loss(self, inputs: Tensor, data_samples: list):
        """Not available: an exported network cannot be trained."""
        raise NotImplementedError('An exported network cannot be trained.')
