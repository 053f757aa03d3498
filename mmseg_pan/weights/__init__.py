"""What is loaded and whether it is trusted: checkpoints, published files, exported networks."""

from .exported import ExportedSegmentor
from .loading import load_segmentor
from .tensors import read_weights, write_weights
