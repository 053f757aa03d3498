"""Tools hand their options on: ``--cfg-options`` changes the network that is exported."""

import runpy
import sys
from types import SimpleNamespace

import pytest

from mmseg_pan.datasets.toy import ToyShapesDataset
from mmseg_pan.export import parity, writing
from mmseg_pan.weights import exported
from tests.paths import ROOT, TOY

OPTIONS = [
    'model.decode_head.align_corners=True',
    'model.test_cfg.mode=slide',
    'model.test_cfg.crop_size=(64,64)',
    'model.test_cfg.stride=(32,32)',
]


@pytest.fixture
def run(monkeypatch, tmp_path, toy_root, toy_checkpoint):
    """Run a tool of deployment in this process, with the options."""
    monkeypatch.setenv('TOY_ROOT', str(toy_root))
    monkeypatch.chdir(tmp_path)

    def start(tool, *arguments):
        line = [str(TOY), str(toy_checkpoint), *arguments, '--cfg-options', *OPTIONS]
        monkeypatch.setattr(sys, 'argv', [tool, *line])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / 'tools/deployment' / tool), run_name='__main__')
        assert not ended.value.code

    return start


def test_options_of_export_reach_the_model(run, monkeypatch):
    found = []
    monkeypatch.setattr(writing, 'export', lambda model, *_: found.append(model))
    run('export.py', '--out', 'a')
    (model,) = found
    assert model.decode_head.align_corners and model.test_cfg.mode == 'slide'


def test_options_of_parity_reach_the_reference(run, monkeypatch):
    found = []
    network = SimpleNamespace(dataset_meta=ToyShapesDataset.METAINFO)
    monkeypatch.setattr(exported, 'ExportedSegmentor', lambda *_: network)
    monkeypatch.setattr(parity, 'compare_networks', lambda model, *_: found.append(model))
    monkeypatch.setattr(parity, 'parity_table', str)
    run('parity.py', 'x.onnx')
    (model,) = found
    assert model.decode_head.align_corners and model.test_cfg.mode == 'slide'
