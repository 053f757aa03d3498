"""Fixtures of several folders: a miniature devkit, a small checkpoint, exported networks."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from PIL import ImageDraw

from mmseg_pan.datasets.toy import ToyShapesDataset
from mmseg_pan.export.writing import export
from mmseg_pan.inference import load_segmentor
from tests.mini_voc import MiniVOC, make_mini_voc
from tests.models.reference import randomize
from tests.paths import TOY


@pytest.fixture(scope='session')
def original_mini(tmp_path_factory) -> MiniVOC:
    return make_mini_voc(tmp_path_factory.mktemp('mini'))


@pytest.fixture
def mini(original_mini, tmp_path, monkeypatch) -> MiniVOC:
    """A fresh copy, two folders deep, so that a name may leave the first."""
    # Flushing all disks of the machine is for power failures, which no test can cause.
    monkeypatch.setattr(os, 'sync', lambda: None)
    home = tmp_path / 'world' / 'home'
    shutil.copytree(original_mini.home, home)
    parts = {
        name: home / getattr(original_mini, name).relative_to(original_mini.home)
        for name in ('devkit', 'sbd', 'voc_tar', 'sbd_tgz', 'ready', 'ready_zip')
    }
    return MiniVOC(home, original_mini.manifest, **parts)


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


@pytest.fixture
def texts(monkeypatch):
    """What is written in pictures."""
    written, draw = [], ImageDraw.ImageDraw.text

    def text(self, xy, text, *args, **kwargs):
        written.append(text)
        return draw(self, xy, text, *args, **kwargs)

    monkeypatch.setattr(ImageDraw.ImageDraw, 'text', text)
    return written
