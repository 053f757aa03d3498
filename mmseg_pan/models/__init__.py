"""The network, one file for each figure of the paper."""

from .distillation import DistilledEncoderDecoder
from .fpa import FeaturePyramidAttention
from .gau import GlobalAttentionUpsample
from .heads import FPAHead, PANHead
from .mobilenet_v2 import DilatedMobileNetV2
from .necks import FPANeck, GAUNeck, ImagePoolingNeck
from .rivals import RefinementUpsample, SEHead
