"""Loading weights, and which files to trust: checkpoints, published files, exported networks."""

from .exported import ExportedSegmentor
from .loading import load_segmentor
from .start import NewClassifierHook
from .tensors import read_weights, write_weights
