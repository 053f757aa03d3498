"""Loading a segmentor from a file."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.models.segmentors.base import BaseSegmentor

from mmseg_pan.configs.contents import (
    for_inference,
    import_custom_modules,
    read_config,
    settle_names,
)
from mmseg_pan.configs.type_names import build_model, check_types
from mmseg_pan.errors import UserError
from mmseg_pan.models.distillation import network_alone

from .exported import SUFFIXES, ExportedSegmentor
from .fit import load_fitting
from .published import open_checkpoint
from .tensors import in_float32


def load_segmentor(
    checkpoint: str | Path,
    config: str | Path | Config | None = None,
    device: str | None = None,
    unsafe: bool = False,
) -> BaseSegmentor:
    """Build a segmentor for inference.

    Args:
        checkpoint: A published file, a checkpoint of a training run, or an exported network.
        config: Config file, or what was read from one; None: the config that the checkpoint
            holds. Exported networks have their own.
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
        whole = config if isinstance(config, Config) else read_config(config)
    elif opened.cfg is not None:
        whole = opened.cfg
    else:
        raise UserError(f'{checkpoint} holds no config; name the one it was trained with.')
    model = _build(whole, checkpoint, config, unsafe)
    load_fitting(model, in_float32(opened.state_dict), str(checkpoint))
    model.dataset_meta = settle_names(model, opened.classes, opened.palette, whole)
    device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    return model.to(device).eval()


def _build(whole: Config, checkpoint, config, unsafe: bool) -> BaseSegmentor:
    """Build the network of a config file, or of a checkpoint's own config.

    The latter imports modules of installed packages alone, unless it may run code.

    Raises:
        UserError: If the config describes no network, or types that are not registered.
    """
    source = str(checkpoint if config is None else getattr(config, 'filename', config))
    if config is None:
        import_custom_modules(whole, source, unsafe)
    cfg = Config(for_inference(whole, source))
    cfg.model = network_alone(cfg.model)
    init_default_scope(cfg.default_scope)
    imports = config is not None or unsafe
    check_types(cfg.to_dict(), source, imports)
    model = build_model(cfg, source, imports)
    model.cfg = cfg
    return model
