"""A small checkpoint, and what was exported of it."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from conftest import ROOT
from mmseg_pan.datasets.toy import ToyShapesDataset
from mmseg_pan.deploy import load_segmentor
from mmseg_pan.deploy.export import export
from models.reference import randomize

TOY = ROOT / 'configs/pan/pan_r18-d16_toy.py'


@pytest.fixture(scope='session')
def toy_checkpoint(tmp_path_factory) -> Path:
    """What a training run leaves, with random weights that make use of all classes."""
    init_default_scope('mmseg')
    torch.manual_seed(0)
    cfg = Config.fromfile(TOY)
    model = randomize(MODELS.build(cfg.model))
    file = tmp_path_factory.mktemp('checkpoint') / 'iter_7.pth'
    meta = dict(cfg=cfg.pretty_text, dataset_meta=dict(ToyShapesDataset.METAINFO))
    torch.save(dict(meta=meta, state_dict=model.state_dict()), file)
    return file


@pytest.fixture(scope='session')
def exported(tmp_path_factory, toy_checkpoint):
    """Export the checkpoint with some options, each of them once."""
    folder = tmp_path_factory.mktemp('exported')
    files = {}

    def get(**options) -> Path:
        key = str(sorted(options.items()))
        if key not in files:
            init_default_scope('mmseg')
            out = folder / f'{len(files)}'
            files[key] = export(load_segmentor(toy_checkpoint, TOY), out, **options)
        return files[key]

    return get
