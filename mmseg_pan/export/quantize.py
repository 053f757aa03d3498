"""INT8 quantization of OpenVINO networks for CPUs, with NNCF."""

import logging
import tempfile
from pathlib import Path

import numpy as np
from mmengine.dataset import pseudo_collate
from mmseg.datasets import BaseSegDataset

from mmseg_pan.errors import UserError
from mmseg_pan.weights.exported import SUFFIXES, ExportedSegmentor, library, open_exported

from .writing import move_network, name_network, save_openvino

#: MobileNetV2's first block, whose depthwise channels differ in range by orders of magnitude, and
#: the deep stem of ResNetV1c. On held-out photographs MobileNetV2 lost 4.0 points of mIoU with
#: all layers in INT8, and 0.15 without these three.
FLOAT_LAYERS = 3


def quantize(
    file: Path,
    dataset: BaseSegDataset,
    out: Path,
    images: int = 300,
    float_layers: int = FLOAT_LAYERS,
) -> Path:
    """Quantize an exported network after training.

    Args:
        file: OpenVINO's .xml, exported with logits.
        dataset: Training photographs, with the pipeline for testing: the ranges of all maps
            are measured on them.
        out: File to write.
        images: How many of them, spread over the data set.
        float_layers: How many convolutions, from the image on, stay in float32.

    Returns:
        The .xml that was written.

    Raises:
        UserError: If the file is of another format or would be overwritten, or a library is
            missing.
    """
    if file.suffix != '.xml':
        raise UserError(
            f'INT8 needs an OpenVINO network, but {file} is not a .xml file; export it with '
            '"tools/deployment/export.py ... --format openvino".'
        )
    out = name_network(out, SUFFIXES['openvino'], inputs=[file])
    nncf, openvino = _import_nncf(), library('openvino')
    segmentor = ExportedSegmentor(str(file))
    indices = np.linspace(0, len(dataset) - 1, min(images, len(dataset))).astype(int).tolist()
    inputs = _Inputs(segmentor, dataset)
    network = openvino.Core().read_model(file)
    layers = [
        layer.get_friendly_name()
        for layer in network.get_ordered_ops()
        if layer.get_type_name() in ('Convolution', 'GroupConvolution')
    ]
    network = nncf.quantize(
        network,
        nncf.Dataset(indices, inputs),
        preset=nncf.QuantizationPreset.MIXED,  # maps may have means other than zero
        subset_size=len(indices),
        ignored_scope=nncf.IgnoredScope(names=layers[:float_layers]),
        target_device=nncf.TargetDevice.CPU,
    )
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder, out.name)
        save_openvino(network, draft, segmentor.about)
        open_exported(draft)
        move_network(draft, out)
    return out


def _import_nncf():
    """Import NNCF without its list of layers, and without torch's search for CUDA's compiler."""
    logging.getLogger('torch.utils.cpp_extension').addFilter(
        lambda record: not record.getMessage().startswith('No CUDA runtime is found')
    )
    nncf = library('nncf')
    nncf.set_log_level(logging.WARNING)
    return nncf


class _Inputs:
    """What the network is given for an image: nothing is kept, for any number of images."""

    def __init__(self, segmentor: ExportedSegmentor, dataset: BaseSegDataset):
        self.segmentor = segmentor
        self.dataset = dataset
        segmentor.run = self

    def __call__(self, index):
        if isinstance(index, np.ndarray):  # the network's place: note what it would get
            self.image = index
            return np.zeros((len(index), 1, *index.shape[2:]), np.float32)
        batch = self.segmentor.data_preprocessor(pseudo_collate([self.dataset[index]]), False)
        self.segmentor.inference(batch['inputs'], [])
        return self.image
