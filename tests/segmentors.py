"""Segmentors whose batch norms do something, for tests of inference."""

from mmengine.config import Config
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.registry import MODELS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tests.paths import ROOT


def build(model_cfg: dict) -> BaseSegmentor:
    """Build a segmentor without pretrained weights, with random norms."""
    model_cfg.backbone.pop('init_cfg', None)
    model = MODELS.build(model_cfg).eval()
    for norm in norms(model):
        nn.init.normal_(norm.running_mean, 0, 0.2)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, 0, 0.1)
    return model


def build_family(name: str) -> BaseSegmentor:
    """Build the segmentor of a config in configs/pan."""
    return build(Config.fromfile(ROOT / f'configs/pan/{name}.py').model)


def norms(model: nn.Module) -> list[_BatchNorm]:
    """List a model's batch norms."""
    return [m for m in model.modules() if isinstance(m, _BatchNorm)]
