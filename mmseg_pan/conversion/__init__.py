"""Converting weights of other libraries to MMSegmentation's parameter names."""

from .backbones import convert_file, convert_state
from .deeplab import convert_deeplab, convert_deeplab_file
from .deeplab_start import start_as_deeplab, write_start
