"""PASCAL VOC 2012, with or without the SBD masks."""

from mmseg.datasets import PascalVOCDataset
from mmseg.registry import DATASETS

from .checked import CheckedSegDataset


@DATASETS.register_module()
class VOCAugDataset(CheckedSegDataset):
    """VOC 2012 + SBD: 21 classes, 255 for the border and unlabelled pixels.

    MMSeg already registers ``PascalVOCDataset``; classes and palette are its own. What
    it is, and where it comes from, stands in ``docs/data.md``.
    """

    METAINFO = PascalVOCDataset.METAINFO
    HINT = (
        'set the environment variable VOC_ROOT to the folder VOCdevkit/VOC2012, or make '
        'it with "python tools/dataset_converters/voc_aug.py DEVKIT AUG"'
    )
