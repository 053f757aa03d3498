"""The data tools as a user types them: exit codes, and sentences instead of tracebacks."""

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.model import ImgDataPreprocessor
from PIL import Image

from mmseg_pan.verification.browsing import denormalised
from tests.mini_voc import MiniVOC, make_mini_voc

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / 'configs' / 'pan' / 'pan_r18-d16_toy.py'


@pytest.fixture
def call_tool(monkeypatch, capsys, toy_root):
    """Run a tool in this process: as ``run_tool``, without the seconds of importing."""

    def call(tool: str, *args, check: bool = True) -> subprocess.CompletedProcess:
        monkeypatch.setenv('TOY_ROOT', str(toy_root))
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
        code = ended.value.code or 0
        output, errors = capsys.readouterr()
        assert not check or code == 0, errors
        return subprocess.CompletedProcess(args, code, output, errors)

    return call


@pytest.fixture(scope='module')
def mini(tmp_path_factory) -> MiniVOC:
    return make_mini_voc(tmp_path_factory.mktemp('mini'))


def assert_one_sentence(done, *words: str) -> None:
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
    assert len(errors) == 1
    for word in words:
        assert word in errors[0]
    assert 'Traceback' not in done.stderr


def test_converter_knows_the_official_numbers(call_tool, mini):
    """The built-in manifest is in force: the miniature is refused with what is expected."""
    done = call_tool('dataset_converters/voc_aug.py', mini.devkit, mini.sbd, check=False)
    assert_one_sentence(done, 'train.txt gives 4 ids', 'the official one has 1,464')
    assert not (mini.voc / 'SegmentationClassAug').exists()
    done = call_tool('dataset_converters/voc_aug.py', mini.devkit, 'nothing.zip', check=False)
    assert_one_sentence(done, 'nothing.zip does not exist', 'benchmark.tgz')


def test_converter_refuses_an_archive_with_another_checksum(run_tool, mini, tmp_path):
    archive = shutil.copy(mini.voc_tar, tmp_path)
    done = run_tool(
        'dataset_converters/voc_aug.py', archive, mini.sbd, '--nproc', 1, '--dry-run', check=False
    )
    assert_one_sentence(done, 'has the MD5', '6cd6e144f989b92b3379bac3b3de84fd')
    assert not (tmp_path / 'VOCdevkit').exists()


def test_verifier_exit_codes_json_and_plot(call_tool, mini, tmp_path):
    found, plot = tmp_path / 'found.json', tmp_path / 'classes.svg'
    done = call_tool('verify_dataset.py', mini.devkit, '--json', found, '--plot', plot)
    assert 'No faults found.' in done.stdout
    assert '| aeroplane ' in done.stdout
    assert json.loads(found.read_text())['harmful'] is False
    assert b'<svg' in plot.read_bytes()

    broken = tmp_path / 'VOCdevkit'
    shutil.copytree(mini.devkit, broken)
    image = broken / 'VOC2012' / 'JPEGImages' / '2007_000039.jpg'
    image.write_bytes(image.read_bytes()[:-2])
    done = call_tool('verify_dataset.py', broken, '--json', found, check=False)
    assert done.returncode == 1
    assert 'Found: 1 x truncated' in done.stdout
    assert json.loads(found.read_text())['faults'][0]['file'] == str(image)

    done = call_tool('verify_dataset.py', tmp_path / 'nowhere', check=False)
    assert_one_sentence(done, 'nowhere does not exist; give a config')


def test_browse_writes_what_the_network_sees(call_tool, tmp_path):
    out = tmp_path / 'pictures'
    call_tool('analysis_tools/browse_dataset.py', TOY, '--output-dir', out, '--number', 3)
    pictures = sorted(out.iterdir())
    assert len(pictures) == 3
    for path in pictures:
        with Image.open(path) as image:
            picture = np.asarray(image)
        # 128x128 image and mask, a gap, and the legend below.
        assert picture.shape[1] == 2 * 128 + 6
        assert picture[:64, :64].std() > 1  # not padding
    done = call_tool('analysis_tools/browse_dataset.py', 'no.py', check=False)
    assert_one_sentence(done, 'no.py does not exist')


GREY = """
_base_ = {base!r}
model = dict(
    backbone=dict(in_channels=1),
    data_preprocessor=dict(mean=[100.0], std=[50.0], bgr_to_rgb=False),
)
_base_.train_pipeline[0]['color_type'] = 'grayscale'
_base_.test_pipeline[0]['color_type'] = 'grayscale'
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
"""


@pytest.mark.parametrize('split', ['train', 'val'])
def test_browse_shows_what_a_grey_network_sees(call_tool, tmp_path, split):
    (tmp_path / 'grey.py').write_text(GREY.format(base=str(TOY)))
    out = tmp_path / 'pictures'
    command = ['analysis_tools/browse_dataset.py', tmp_path / 'grey.py', '--output-dir', out]
    call_tool(*command, '--number', 2, '--split', split)
    for path in sorted(out.iterdir(), reverse=True):
        picture = np.asarray(Image.open(path).convert('RGB')).astype(int)
        photo = picture[:64, :64]
        assert photo.std() > 1 and np.ptp(photo, axis=2).max() == 0
    assert len(list(out.iterdir())) == 2


@pytest.mark.parametrize('bands', [1, 2, 3, 4])
def test_any_number_of_bands_is_shown(bands):
    plain = ImgDataPreprocessor()
    image = denormalised(torch.full((bands, 5, 7), 9.0), plain)
    assert image.shape == (5, 7, 3) and (image == 9).all()


def test_training_on_a_foreign_id_ends_in_one_sentence(run_tool, toy_root, tmp_path):
    """Through the tool, a worker process and torch's own wrapping of its error."""
    root = tmp_path / 'toy'
    shutil.copytree(toy_root, root)
    for mask in (root / 'SegmentationClass').iterdir():
        Image.fromarray(np.full((64, 64), 99, np.uint8)).save(mask)
    done = run_tool('train.py', TOY, check=False, TOY_ROOT=str(root))
    assert_one_sentence(done, 'illegal ids, ids 99, legal are 0-6 and 255 (ignored)')
