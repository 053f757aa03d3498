"""The exported graph: a segmentor as one function of an image tensor."""

import torch
from mmseg.models.segmentors import EncoderDecoder
from mmseg.models.utils import Upsample
from torch import Tensor, nn
from torch.nn import functional as F

from mmseg_pan.errors import UserError
from mmseg_pan.weights.agreement import input_channels
from mmseg_pan.weights.exported import Description


class SegmentorGraph(nn.Module):
    """Map images to logits or class ids at the size of the image.

    Args:
        model: A segmentor of MMSegmentation's EncoderDecoder kind.
        preprocess: Whether it takes pixels of 0 to 255 in the order of the data
            preprocessor (BGR where that turns BGR into RGB) and normalises them itself.
        labels: Whether it returns class ids (N, H, W) and not logits (N, C, H, W).
    """

    def __init__(self, model: EncoderDecoder, preprocess: bool = False, labels: bool = False):
        super().__init__()
        if not isinstance(model, EncoderDecoder) or model.test_cfg.get('mode') != 'whole':
            raise UserError(
                f'Export is for EncoderDecoder with test_cfg mode "whole", not '
                f'{type(model).__name__} with {model.test_cfg}; change the config.'
            )
        if labels and model.out_channels == 1:
            raise UserError('A network of one output channel is exported with its logits only.')
        self.model = model
        self.preprocess = preprocess
        self.labels = labels
        self.align_corners = model.decode_head.align_corners

    def forward(self, image: Tensor) -> Tensor:
        """Segment (N, 3, H, W)."""
        size = image.shape[2:]
        if self.preprocess:
            image = self.normalize(image)
        logits = self.model(image, mode='tensor')
        logits = F.interpolate(logits, size, mode='bilinear', align_corners=self.align_corners)
        return logits.argmax(dim=1) if self.labels else logits

    def normalize(self, image: Tensor) -> Tensor:
        """Do what the data preprocessor does to pixels (N, C, H, W) of 0 to 255."""
        before = self.model.data_preprocessor
        image = image.float()
        if before._channel_conversion and image.shape[1] == 3:
            image = image[:, [2, 1, 0]]
        if before._enable_normalize:
            image = (image - before.mean) / before.std
        return image


class WholeUpsample(nn.Module):
    """MMSegmentation's ``Upsample`` by a whole factor, which can be traced for any size.

    ``Upsample`` computes ``int(side * 2.0)``, and tracing keeps the number that its example
    gives: exported HRNets and FPNHeads would enlarge every image's maps to that size.

    Args:
        original: With a whole ``scale_factor``.
    """

    def __init__(self, original: Upsample):
        super().__init__()
        self.factor = int(original.scale_factor)
        self.mode = original.mode
        self.align_corners = original.align_corners

    def forward(self, maps: Tensor) -> Tensor:
        """Enlarge (N, C, H, W)."""
        size = [side * self.factor for side in maps.shape[2:]]
        return F.interpolate(maps, size, mode=self.mode, align_corners=self.align_corners)


def replace_upsampling(model: nn.Module) -> None:
    """Replace every layer that enlarges by a whole factor, see :class:`WholeUpsample`."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is Upsample and not child.size and child.scale_factor % 1 == 0:
                setattr(parent, name, WholeUpsample(child))


def describe_network(model: EncoderDecoder, preprocess: bool, labels: bool, shape) -> Description:
    """Collect what the file is to say; ``model`` comes from :func:`load_segmentor`."""
    meta = model.dataset_meta
    return Description(
        config=model.cfg.to_dict(),
        classes=list(meta['classes']),
        palette=meta.get('palette'),
        preprocess=preprocess,
        labels=labels,
        shape=list(shape) if shape else None,
        align_corners=model.align_corners,
        threshold=model.decode_head.threshold,
    )


def example(graph: SegmentorGraph, shape: tuple[int, int] | None) -> Tensor:
    """Make an image to trace with."""
    dtype = torch.uint8 if graph.preprocess else torch.float32
    # Batch 2 and odd, unequal sides: values that coincide would be taken for rules.
    channels = input_channels(graph.model)
    return torch.zeros((1 if shape else 2, channels, *(shape or (253, 341))), dtype=dtype)
