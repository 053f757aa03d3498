"""A segmentor from a file."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.registry import DATASETS, MODELS

from mmseg_pan.errors import UserError

from .exported import SUFFIXES, ExportedSegmentor
from .fit import load_fitting
from .published import for_inference, open_checkpoint
from .tensors import in_float32


def load_segmentor(
    checkpoint: str | Path,
    config: str | Path | None = None,
    device: str | None = None,
    unsafe: bool = False,
) -> BaseSegmentor:
    """Build a segmentor for inference.

    Args:
        checkpoint: A published file, a checkpoint of a training run, or an exported network.
        config: Config file; None: the config that the checkpoint holds. Exported networks
            have their own.
        device: As torch names it; None: the GPU where there is one.
        unsafe: Whether the checkpoint may run code.

    Returns:
        The segmentor in evaluation mode, with ``cfg`` (``model``, ``test_pipeline``) and
        ``dataset_meta`` (``classes``, ``palette``), as MMSegmentation's ``init_model`` gives it.

    Raises:
        UserError: If a file is missing or damaged, or weights and config do not fit.
    """
    init_default_scope('mmseg')  # exported networks look for their parts there as well
    if Path(checkpoint).suffix in SUFFIXES.values():
        return ExportedSegmentor(str(checkpoint)).eval()
    opened = open_checkpoint(checkpoint, unsafe)
    if config is not None:
        if not Path(config).is_file():
            raise UserError(f'The config {config} is not there; see configs/pan for the names.')
        cfg = Config(for_inference(Config.fromfile(config)))
    elif opened.cfg is not None:
        cfg = Config(for_inference(opened.cfg))
    else:
        raise UserError(f'{checkpoint} holds no config; name the one it was trained with.')
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    load_fitting(model, in_float32(opened.state_dict), str(checkpoint))
    model.cfg = cfg
    meta = DATASETS.get(cfg.test_dataloader.dataset.type).METAINFO
    classes = opened.classes or meta.get('classes') or _numbers(model.num_classes)
    model.dataset_meta = dict(classes=tuple(classes), palette=opened.palette or meta.get('palette'))
    device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    return model.to(device).eval()


def _numbers(count: int) -> list[str]:
    return [f'class {number}' for number in range(count)]
