"""INT8 for CPUs: OpenVINO's network with weights and maps of eight bits, by NNCF."""

from pathlib import Path

import numpy as np
from mmengine.dataset import pseudo_collate
from mmseg.datasets import BaseSegDataset

from mmseg_pan.errors import UserError

from .backends import ExportedSegmentor, open_exported
from .export import library, write_openvino


def quantize(file: Path, dataset: BaseSegDataset, out: Path, images: int = 300) -> Path:
    """Quantize an exported network after training.

    Args:
        file: OpenVINO's .xml, exported with logits.
        dataset: Training photographs, with the pipeline for testing: the ranges of all maps
            are measured on them.
        out: File to write.
        images: How many of them, spread over the data set.

    Returns:
        The .xml that was written.

    Raises:
        UserError: If the file is of another format, or a library is missing.
    """
    if file.suffix != '.xml':
        raise UserError(
            f'INT8 is for OpenVINO, and {file} is not a .xml file; export it with '
            '"tools/deployment/export.py ... --format openvino".'
        )
    nncf, openvino = library('nncf'), library('openvino')
    segmentor = ExportedSegmentor(str(file))
    _, about = open_exported(file)
    indices = np.linspace(0, len(dataset) - 1, min(images, len(dataset))).astype(int).tolist()
    inputs = _Inputs(segmentor, dataset)
    network = nncf.quantize(
        openvino.Core().read_model(file),
        nncf.Dataset(indices, inputs),
        preset=nncf.QuantizationPreset.MIXED,  # maps may have means other than zero
        subset_size=len(indices),
        target_device=nncf.TargetDevice.CPU,
    )
    out = out.with_suffix('.xml')
    out.parent.mkdir(parents=True, exist_ok=True)
    write_openvino(network, out, about)
    return out


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
