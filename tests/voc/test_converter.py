"""The converter on a miniature devkit and SBD, however they come and whatever happens."""

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmseg_pan.datasets.masks import voc_palette
from mmseg_pan.errors import UserError
from mmseg_pan.files import exclusive
from mmseg_pan.voc.converter import prepare_voc_aug
from tests.mini_voc import (
    AUG,
    TRAIN,
    VAL,
    MiniVOC,
    mask_of,
    needs_data_filter,
    snapshot,
    write_lists,
    write_mat,
)

ROOT = Path(__file__).resolve().parents[2]


def convert(mini: MiniVOC, devkit=None, aug=None, **kwargs) -> list[str]:
    said = []
    kwargs.setdefault('processes', 1)
    kwargs.setdefault('manifest', mini.manifest)
    prepare_voc_aug(devkit or mini.devkit, aug or mini.sbd, say=said.append, **kwargs)
    return said


def only_archives(mini: MiniVOC) -> None:
    for folder in (mini.devkit, mini.sbd):
        shutil.rmtree(folder)


def result_of(mini: MiniVOC) -> dict[str, bytes]:
    return {
        **snapshot(mini.voc / 'SegmentationClassAug'),
        **snapshot(mini.voc / 'ImageSets' / 'Segmentation'),
    }


def test_masks_have_vocs_colours_and_vocs_own_masks_win(mini):
    convert(mini)
    out = mini.voc / 'SegmentationClassAug'
    assert {path.stem for path in out.iterdir()} == {*TRAIN, *VAL, *AUG}
    for name in (*TRAIN, *VAL):
        own = mini.voc / 'SegmentationClass' / f'{name}.png'
        assert (out / f'{name}.png').read_bytes() == own.read_bytes()
    for name in AUG:
        with Image.open(out / f'{name}.png') as image:
            assert image.mode == 'P'
            assert bytes(image.getpalette()) == voc_palette()
            np.testing.assert_array_equal(np.asarray(image), mask_of(name, 'sbd'))


def test_voc_palette_is_the_known_one():
    colours = np.frombuffer(voc_palette(), np.uint8).reshape(256, 3).tolist()
    assert colours[:3] == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    assert colours[15] == [192, 128, 128]  # person
    assert colours[20] == [0, 64, 128]  # tv monitor
    assert colours[255] == [224, 224, 192]  # the border


def test_lists_are_sorted_whatever_order_they_came_in(mini):
    lists = mini.voc / 'ImageSets' / 'Segmentation'
    write_lists(lists, train=TRAIN[::-1], val=VAL[::-1])
    convert(mini)
    read = {name: (lists / f'{name}.txt').read_text() for name in mini.manifest.lists}
    assert read == {
        name: ''.join(f'{item}\n' for item in ids)
        for name, ids in dict(train=TRAIN, val=VAL, aug=AUG, trainaug=TRAIN + AUG).items()
    }


@needs_data_filter
@pytest.mark.parametrize('devkit', ['voc_tar', 'devkit', 'voc'])
def test_every_form_of_voc_gives_the_same(mini, devkit):
    convert(mini)
    expected = result_of(mini)
    shutil.rmtree(mini.voc / 'SegmentationClassAug')
    for name in ('aug', 'trainaug'):
        (mini.voc / 'ImageSets' / 'Segmentation' / f'{name}.txt').unlink()
    if devkit == 'voc_tar':
        shutil.rmtree(mini.devkit)
    convert(mini, devkit=getattr(mini, devkit))
    assert result_of(mini) == expected
    assert (mini.voc / 'Annotations').is_dir()


@needs_data_filter
@pytest.mark.parametrize('form', ['tgz', 'release', 'dataset', 'ready', 'ready parent', 'zip'])
def test_every_form_of_the_additional_masks_gives_the_same(mini, form):
    convert(mini)
    expected = result_of(mini)
    shutil.rmtree(mini.voc / 'SegmentationClassAug')
    if form == 'tgz':
        shutil.rmtree(mini.sbd)
    aug = {
        'tgz': mini.sbd_tgz,
        'release': mini.sbd,
        'dataset': mini.sbd / 'dataset',
        'ready': mini.ready,
        'ready parent': mini.ready.parent,
        'zip': mini.ready_zip,
    }[form]
    convert(mini, aug=aug, processes=2)
    assert result_of(mini) == expected
    if form == 'tgz':  # the images of SBD are VOC's: they are not unpacked
        assert not (mini.sbd / 'dataset' / 'img').exists()


def test_ready_masks_in_their_final_place_are_repainted_there(mini):
    out = mini.voc / 'SegmentationClassAug'
    shutil.copytree(mini.ready, out)
    convert(mini, aug=out)
    converted = result_of(mini)
    shutil.rmtree(out)
    convert(mini)
    assert result_of(mini) == converted


def test_out_dir_takes_the_masks_and_the_devkit_the_lists(mini, tmp_path):
    convert(mini, out=tmp_path / 'elsewhere')
    assert len(list((tmp_path / 'elsewhere').iterdir())) == len(TRAIN + VAL + AUG)
    assert not (mini.voc / 'SegmentationClassAug').exists()
    assert (mini.voc / 'ImageSets' / 'Segmentation' / 'aug.txt').is_file()


@needs_data_filter
@pytest.mark.parametrize('forms', ['archives', 'folders'])
def test_dry_run_writes_nothing_and_says_what_it_would(mini, forms):
    if forms == 'archives':
        only_archives(mini)
        before = snapshot(mini.home)
        said = '\n'.join(convert(mini, mini.voc_tar, mini.sbd_tgz, dry_run=True))
        # 47 images, 7 masks and 3 lists; of SBD 45 masks and 2 lists.
        assert 'checksum right; 57 files (233.5 kB) would be unpacked' in said
        assert 'checksum right; 47 files (192.5 kB) would be unpacked' in said
    else:
        before = snapshot(mini.home)
        said = '\n'.join(convert(mini, dry_run=True))
        assert '0 are there and would be compared with their source, 47 would be written' in said
        assert 'Room needed: about 385.0 kB; free: ' in said
    assert snapshot(mini.home) == before


def test_second_run_writes_nothing(mini):
    convert(mini)
    folders = (mini.voc / 'SegmentationClassAug', mini.voc / 'ImageSets' / 'Segmentation')
    before = {path: path.stat().st_ino for folder in folders for path in folder.iterdir()}
    said = convert(mini)
    assert '47 masks' in said[-2]
    assert '0 written, 47 right' in said[-2]
    after = {path: path.stat().st_ino for folder in folders for path in folder.iterdir()}
    assert after == before


def test_wrong_mask_and_leftover_are_mended(mini):
    convert(mini)
    expected = result_of(mini)
    out = mini.voc / 'SegmentationClassAug'
    (out / f'{AUG[0]}.png').write_bytes(b'half')
    (out / f'{TRAIN[0]}.png').write_bytes((out / f'{AUG[1]}.png').read_bytes())
    (out / f'.{AUG[2]}.png.4711.part').write_bytes(b'half')
    (mini.voc / 'ImageSets' / 'Segmentation' / '.aug.txt.4711.part').write_bytes(b'half')
    convert(mini)
    assert result_of(mini) == expected


def run_in_own_process(mini: MiniVOC) -> multiprocessing.Process:
    """Forked, so that it starts without importing anything."""
    process = multiprocessing.get_context('fork').Process(
        target=convert, args=(mini, mini.voc_tar, mini.sbd_tgz), kwargs=dict(processes=2)
    )
    process.start()
    return process


@needs_data_filter
def test_killed_at_twenty_random_moments_and_restarted(mini):
    only_archives(mini)
    start = time.monotonic()
    run_in_own_process(mini).join()
    duration = time.monotonic() - start
    expected = snapshot(mini.home)
    assert f'VOCdevkit/VOC2012/SegmentationClassAug/{AUG[-1]}.png' in expected
    random_moment = random.Random(0)
    killed = 0
    for _ in range(20):
        only_archives(mini)
        process = run_in_own_process(mini)
        process.join(random_moment.uniform(0, duration))
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        for name, data in snapshot(mini.home).items():
            hidden = any(part.startswith('.') for part in Path(name).parts)
            assert hidden or data == expected[name]  # what has its final name is whole
        restarted = run_in_own_process(mini)
        restarted.join()
        assert restarted.exitcode == 0
        assert snapshot(mini.home) == expected
    assert killed > 5


@needs_data_filter
def test_output_does_not_depend_on_the_hash_seed(mini, tmp_path):
    script = tmp_path / 'run.py'
    script.write_text(
        f'import runpy, sys\n'
        f'sys.path[:0] = [{str(ROOT)!r}]\n'
        f'from tests.mini_voc import hash_ids, Manifest, ArchiveFacts, ListFacts\n'
        f'tool = runpy.run_path({str(ROOT / "tools/dataset_converters/voc_aug.py")!r})\n'
        f'tool["run_tool"](lambda: tool["main"](sys.argv[1:], {mini.manifest!r}))\n'
    )
    runs = []
    for seed in ('1', '2'):
        home = tmp_path / seed
        home.mkdir()
        archives = [shutil.copy(path, home) for path in (mini.voc_tar, mini.sbd_tgz)]
        environment = {**os.environ, 'PYTHONHASHSEED': seed, 'PYTHONPATH': str(ROOT)}
        command = [sys.executable, script, *archives, '--nproc', '2']
        runs.append(
            subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
    for run in runs:
        output, errors = run.communicate()
        assert run.returncode == 0, errors
        assert 'train 4, val 3, trainaug 44, aug 40' in output
    assert snapshot(tmp_path / '1') == snapshot(tmp_path / '2')


def test_lists_that_are_not_the_official_ones_are_refused(mini):
    lists = mini.voc / 'ImageSets' / 'Segmentation'
    write_lists(lists, train=TRAIN[:-1])
    with pytest.raises(UserError, match=r'train\.txt gives 3 ids .* official one has 4; restore'):
        convert(mini)
    write_lists(lists, train=TRAIN[:-1] + ['2007_999999'])
    with pytest.raises(UserError, match='as many as the official one, but other ones'):
        convert(mini)
    write_lists(lists, train=TRAIN + TRAIN[:1])
    with pytest.raises(UserError, match=f'names {TRAIN[0]} .* more than once'):
        convert(mini)
    (lists / 'train.txt').unlink()
    with pytest.raises(UserError, match=r'The list .*train\.txt does not exist'):
        convert(mini)
    assert not (mini.voc / 'SegmentationClassAug').exists()


@pytest.mark.parametrize(
    ('path', 'sentence'),
    [
        (f'VOCdevkit/VOC2012/JPEGImages/{AUG[3]}.jpg', f'lacks 1 of 47 files, {AUG[3]}.jpg first'),
        (f'VOCdevkit/VOC2012/SegmentationClass/{VAL[0]}.png', f'lacks 1 of 7 files, {VAL[0]}.png'),
        (f'benchmark_RELEASE/dataset/cls/{AUG[3]}.mat', f'lacks 1 of 40 files, {AUG[3]} first'),
    ],
)
def test_missing_file_is_named(mini, path, sentence):
    (mini.home / path).unlink()
    with pytest.raises(UserError, match=sentence):
        convert(mini)
    assert not (mini.voc / 'SegmentationClassAug').exists()


def test_inputs_that_are_something_else_are_refused(mini, tmp_path):
    with pytest.raises(
        UserError, match=r'nothing does not exist; give VOCtrainval_11-May-2012\.tar'
    ):
        convert(mini, devkit=tmp_path / 'nothing')
    with pytest.raises(UserError, match='neither VOCdevkit nor VOC2012'):
        convert(mini, devkit=tmp_path)
    with pytest.raises(UserError, match=r'is none of benchmark\.tgz'):
        convert(mini, aug=tmp_path)


def test_mask_of_another_size_or_with_a_foreign_id_is_refused(mini):
    mat = mini.sbd / 'dataset' / 'cls' / f'{AUG[0]}.mat'
    write_mat(mat, np.zeros((5, 6), np.uint8))
    with pytest.raises(UserError, match=f'mask {AUG[0]} is 6x5, and .*{AUG[0]}.jpg 22x18'):
        convert(mini)
    write_mat(mat, np.full_like(mask_of(AUG[0], 'sbd'), 21))
    with pytest.raises(UserError, match=r'holds the ids \[21\], and legal are 0-20 and 255'):
        convert(mini, processes=2)
    assert not (mini.voc / 'ImageSets' / 'Segmentation' / 'aug.txt').exists()


def test_colour_coded_ready_masks_are_refused(mini):
    path = mini.ready / f'{AUG[0]}.png'
    with Image.open(path) as image:
        image.convert('RGB').save(path)
    with pytest.raises(UserError, match=f'{AUG[0]}.png is stored in mode RGB'):
        convert(mini, aug=mini.ready)


def test_second_run_at_the_same_time_is_kept_out(mini, monkeypatch):
    monkeypatch.setattr('mmseg_pan.voc.converter.exclusive', partial(exclusive, patience=0))
    with (
        exclusive(mini.devkit),
        pytest.raises(UserError, match=r'Another run is using .*VOCdevkit; wait until'),
    ):
        convert(mini)
    assert not (mini.voc / 'SegmentationClassAug').exists()
    convert(mini)
