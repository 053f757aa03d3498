"""What is loaded and whether it is trusted; published files; backbones from elsewhere."""

from .convert import convert_file, convert_state
from .deeplab import convert_deeplab, convert_deeplab_file
from .exported import ExportedSegmentor
from .loading import load_segmentor
from .tensors import read_weights, write_weights
