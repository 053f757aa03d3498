"""Models to compare: MMSegmentation configs, and models of smp."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_pan.devices import default_device
from mmseg_pan.errors import UserError


class Contender(NamedTuple):
    """A segmentation network, taken apart."""

    name: str
    model: nn.Module
    backbone: nn.Module  # normalised images (N, 3, H, W) -> maps
    head: nn.Module  # maps -> logits
    loss: Callable  # normalised images (N, 3, H, W), labels (N, H, W) -> scalar
    classes: int

    def prepare(
        self, channels_last: bool = False, train: bool = False, device: str | None = None
    ) -> None:
        """Put the network on the device, None: the default one, in its mode and memory format."""
        self.model.train(train)
        self.model.to(device or default_device())
        if channels_last:
            self.model.to(memory_format=torch.channels_last)

    def compile(self) -> None:
        """Compile backbone and head, each as one graph."""
        for part in (self.backbone, self.head):
            for module in part.children():
                # Losses and smp call forward, which Module.compile() would not change.
                module.forward = torch.compile(module.forward, fullgraph=True)


class Chain(nn.Module):
    """Modules one after the other, whatever they hand on."""

    def __init__(self, *modules: nn.Module):
        super().__init__()
        for number, module in enumerate(modules):
            self.add_module(str(number), module)

    def forward(self, x):
        """Run them."""
        for module in self.children():
            x = module(x)
        return x


def from_config(name: str, cfg: Config) -> Contender:
    """Build an MMSeg segmentor, without pretrained weights.

    Args:
        name: How tables call it.
        cfg: Config of the model.
    """
    cfg = cfg.copy()
    for part in ('backbone', 'neck'):
        if cfg.get(part):
            cfg[part].pop('init_cfg', None)
    model = MODELS.build(cfg)

    backbone = Chain(model.backbone, *([model.neck] if model.with_neck else []))
    loss = partial(segmentor_loss, model)
    return Contender(name, model, backbone, Chain(model.decode_head), loss, model.num_classes)


def segmentor_loss(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Compute the loss of an MMSeg segmentor, which may be wrapped for several processes."""
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]
    losses = model(images, samples, mode='loss')
    return getattr(model, 'module', model).parse_losses(losses)[0]


def from_smp(name: str) -> Contender:
    """Build a model of segmentation_models_pytorch, without pretrained weights.

    Args:
        name: 'smp:ARCHITECTURE:ENCODER:OUTPUT_STRIDE', for example 'smp:PAN:resnet101:16'.

    Raises:
        UserError: If the library is not installed, or does not know the model.
    """
    try:
        import segmentation_models_pytorch as smp
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f'{name} needs segmentation_models_pytorch ({error}); '
            'type "pip install -r requirements/benchmark.txt".'
        ) from None
    try:
        _, architecture, encoder, stride = name.split(':')
        model = getattr(smp, architecture)(
            encoder_name=encoder,
            encoder_weights=None,
            encoder_output_stride=int(stride),
            classes=21,
        )
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f'{name} is not a model of segmentation_models_pytorch ({error}); '
            'write smp:ARCHITECTURE:ENCODER:OUTPUT_STRIDE, such as smp:PAN:resnet101:16.'
        ) from None

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(model(images), labels, ignore_index=255)

    head = Chain(model.decoder, model.segmentation_head)
    return Contender(name, model, Chain(model.encoder), head, loss, 21)
