"""A miniature devkit for each test, to convert or to damage."""

import os
import shutil

import pytest

from mini_voc import MiniVOC, make_mini_voc


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
