"""The toy data set: shapes that neither colour nor one scale can tell apart."""

from mmseg.registry import DATASETS

from .checked import CheckedSegDataset


@DATASETS.register_module()
class ToyShapesDataset(CheckedSegDataset):
    """Textured shapes in VOC's layout."""

    METAINFO = dict(classes=('background',), palette=[[0, 0, 0]])
    HINT = 'make it with "python tools/dataset_converters/toy_shapes.py"'
