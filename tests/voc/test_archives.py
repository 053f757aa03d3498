"""Hostile and broken archives: one sentence, nothing written, nothing left."""

import io
import stat
import subprocess
import tarfile
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from mmseg_pan.errors import UserError
from mmseg_pan.voc.archives import measure_tar, safe_zip_entries, unpack_tar
from mmseg_pan.voc.converter import prepare_voc_aug
from mmseg_pan.voc.manifest import VOC_2012_AUG
from tests.mini_voc import AUG, MiniVOC, needs_data_filter, snapshot, trusting


def refused(mini: MiniVOC, match: str, manifest=None, **kwargs) -> None:
    """Convert; the error must match, and no file of the whole world may have changed."""
    before = snapshot(mini.home.parent)
    arguments = dict(devkit=mini.devkit, aug=mini.sbd, processes=1, say=lambda _: None)
    with pytest.raises(UserError, match=match) as caught:
        prepare_voc_aug(**{**arguments, **kwargs}, manifest=manifest or mini.manifest)
    assert '\n' not in str(caught.value)
    assert snapshot(mini.home.parent) == before
    assert not list(mini.home.rglob('*.unpacking'))


def member(name: str, **fields) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def voc_tar_with(mini: MiniVOC, *members: tarfile.TarInfo) -> Path:
    """A tar with good files before and after the bad one; the devkit itself is away."""
    path = mini.home / 'evil' / 'voc.tar'
    path.parent.mkdir()
    with tarfile.open(path, 'w') as archive:
        archive.add(mini.devkit, 'VOCdevkit')
        for info in members:
            archive.addfile(info, io.BytesIO(b'x' * info.size))
        good = member('VOCdevkit/VOC2012/Annotations/last.xml', size=4)
        archive.addfile(good, io.BytesIO(b'good'))
    return path


IN_VOC = 'VOCdevkit/VOC2012/JPEGImages/'
LINK, HARD = dict(type=tarfile.SYMTYPE), dict(type=tarfile.LNKTYPE)


@needs_data_filter
@pytest.mark.parametrize(
    ('info', 'sentence'),
    [
        (member('../evil.txt', size=3), "holds '../evil.txt', a name that leaves its folder"),
        (member(IN_VOC + '../../../../x', size=3), 'a name that leaves its folder'),
        (member('/tmp/mmseg_pan_evil', size=3), "holds '/tmp/mmseg_pan_evil', a name that leaves"),
        (member('C:/evil', size=3), 'a name that leaves its folder'),
        (member('..\\evil', size=3), 'a name that leaves its folder'),
        (member(IN_VOC + 'a.jpg', linkname='/etc/passwd', **LINK), 'does not belong into a data'),
        (member(IN_VOC + 'a.jpg', linkname='../../../../x', **LINK), 'does not belong into a data'),
        (member(IN_VOC + 'a.jpg', linkname='../../x', **HARD), 'does not belong into a data'),
        (member(IN_VOC + 'a.jpg', linkname='b.jpg', **LINK), "holds a link '.*a.jpg', not a file"),
        (member(IN_VOC + 'a.jpg', type=tarfile.CHRTYPE), 'does not belong into a data set'),
        (member(IN_VOC + 'a.jpg', type=tarfile.FIFOTYPE), 'does not belong into a data set'),
        (member(IN_VOC + f'{AUG[0]}.jpg', size=3), f"holds '.*{AUG[0]}.jpg' twice"),
        (member(IN_VOC + 'bomb.jpg', size=9_000_000), 'unpacks to more than 5.0 MB'),
    ],
)
def test_hostile_tar(mini, info, sentence):
    path = voc_tar_with(mini, info)
    manifest = replace(trusting(mini.manifest, voc=path), max_unpacked_bytes=5_000_000)
    refused(mini, sentence, manifest, devkit=path)
    assert not Path('/tmp/mmseg_pan_evil').exists()
    assert [item.name for item in path.parent.iterdir()] == ['voc.tar']


def test_a_python_that_unpacks_nothing_safely(mini, monkeypatch):
    monkeypatch.delattr(tarfile, 'data_filter', raising=False)
    path = voc_tar_with(mini)
    words = r'voc\.tar cannot be unpacked safely by Python 3.*type "tar -xf /.*/voc\.tar" and give'
    refused(mini, words, trusting(mini.manifest, voc=path), devkit=path)


@needs_data_filter
def test_too_many_files(mini):
    path = voc_tar_with(mini)
    manifest = replace(trusting(mini.manifest, voc=path), max_members=20)
    refused(mini, 'holds more than 20 files', manifest, devkit=path)


@needs_data_filter
def test_dry_run_finds_a_hostile_tar_too(mini):
    path = voc_tar_with(mini, member('../evil.txt', size=3))
    manifest = trusting(mini.manifest, voc=path)
    refused(mini, 'leaves its folder', manifest, devkit=path, dry_run=True)


def test_checksum_comes_before_unpacking(mini):
    path = voc_tar_with(mini, member('../evil.txt', size=3))
    refused(mini, r'has the MD5 \w{32}, and the official VOCtrainval_11-May-2012.tar', devkit=path)


def test_truncated_download_is_told_by_its_checksum(mini, tmp_path):
    for source in (mini.voc_tar, mini.sbd_tgz):
        path = mini.home / 'cut' / source.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    refused(mini, 'download is incomplete', devkit=mini.home / 'cut' / mini.voc_tar.name)
    refused(mini, 'download is incomplete', aug=mini.home / 'cut' / mini.sbd_tgz.name)


@needs_data_filter
@pytest.mark.parametrize('share', [0.0, 0.3, 0.6, 0.9, 'one block', 'end mark'])
@pytest.mark.parametrize('kind', ['tar', 'tgz'])
def test_truncated_archive_with_a_checksum_that_fits(mini, kind, share):
    """The second line of defence: also where the file was cut between two members."""
    source = mini.voc_tar if kind == 'tar' else mini.sbd_tgz
    data = source.read_bytes()
    if share == 'one block':
        cut = 512 if kind == 'tar' else len(data) - 1
    elif share == 'end mark':  # the last member is whole, zeros are missing
        cut = end_of_members(source) if kind == 'tar' else len(data) - 8
    else:
        cut = int((end_of_members(source) if kind == 'tar' else len(data)) * share)
    path = mini.home / 'cut' / source.name
    path.parent.mkdir()
    path.write_bytes(data[:cut])
    if kind == 'tar':
        refused(mini, 'truncated', trusting(mini.manifest, voc=path), devkit=path)
    else:
        refused(mini, 'truncated', trusting(mini.manifest, sbd=path), aug=path)
    assert [item.name for item in path.parent.iterdir()] == [source.name]


def end_of_members(path: Path) -> int:
    with tarfile.open(path) as archive:
        last = archive.getmembers()[-1]
        return last.offset_data + -(-last.size // 512) * 512


@needs_data_filter
def test_archive_without_the_expected_folder(mini):
    path = mini.home / 'other' / 'voc.tar'
    path.parent.mkdir()
    with tarfile.open(path, 'w') as archive:
        archive.add(mini.devkit, 'SomethingElse')
    manifest = trusting(mini.manifest, voc=path)
    refused(mini, 'holds no folder VOCdevkit/VOC2012', manifest, devkit=path)


def rewritten_zip(mini: MiniVOC, change) -> Path:
    path = mini.home / 'evil.zip'
    with zipfile.ZipFile(mini.ready_zip) as source, zipfile.ZipFile(path, 'w') as target:
        for entry in source.infolist():
            target.writestr(entry, source.read(entry))
        change(target)
    return path


def add_link(archive: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo('SegmentationClassAug/link.png')
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(info, '/etc/passwd')


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (lambda z: z.writestr('../../evil.png', b'x'), 'a name that leaves its folder'),
        (lambda z: z.writestr('/evil.png', b'x'), 'a name that leaves its folder'),
        (lambda z: z.writestr('a\\..\\..\\evil.png', b'x'), 'a name that leaves its folder'),
        (add_link, "holds a link 'SegmentationClassAug/link.png'"),
        (lambda z: z.writestr('bomb.png', bytes(9_000_000)), 'unpacks to more than 5.0 MB'),
        (lambda z: z.writestr(f'b/{AUG[0]}.png', b'x'), f'holds two masks named {AUG[0]}.png'),
    ],
)
def test_hostile_zip(mini, change, sentence):
    path = rewritten_zip(mini, change)
    manifest = replace(mini.manifest, max_unpacked_bytes=5_000_000)
    refused(mini, sentence, manifest, aug=path)


def test_truncated_and_damaged_zip(mini):
    data = mini.ready_zip.read_bytes()
    path = mini.home / 'cut.zip'
    path.write_bytes(data[: len(data) // 2])
    refused(mini, r'cut\.zip is truncated or damaged', aug=path)
    with zipfile.ZipFile(mini.ready_zip) as archive:
        entry = archive.getinfo(f'SegmentationClassAug/{AUG[0]}.png')
    damaged = bytearray(data)
    middle = entry.header_offset + 30 + len(entry.filename) + entry.compress_size // 2
    damaged[middle] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=f'{AUG[0]}.png cannot be unpacked'):
        prepare_voc_aug(mini.devkit, path, processes=1, manifest=mini.manifest, say=lambda _: None)


@pytest.mark.parametrize(
    ('spoil', 'sentence'),
    [
        (lambda path: savemat(path, {'GTinst': 1}), 'holds no GTcls.Segmentation'),
        (lambda path: savemat(path, {'GTcls': {'other': 1}}), 'holds no GTcls.Segmentation'),
        (lambda path: savemat(path, {'GTcls': [[1]]}), 'holds no GTcls.Segmentation'),
        (
            lambda path: savemat(path, {'GTcls': {'Segmentation': 'text'}}),
            r'GTcls.Segmentation of shape',
        ),
        (lambda path: path.write_bytes(path.read_bytes()[:300]), 'cannot be read as a .mat'),
        (lambda path: path.write_bytes(b''), 'cannot be read as a .mat'),
        (lambda path: path.write_bytes(b'junk' * 99), 'cannot be read as a .mat'),
    ],
)
@pytest.mark.parametrize('processes', [1, 2])
def test_mat_that_is_no_mask(mini, spoil, sentence, processes):
    path = mini.sbd / 'dataset' / 'cls' / f'{AUG[7]}.mat'
    spoil(path)
    with pytest.raises(UserError, match=f'{AUG[7]}.mat .*{sentence}') as caught:
        prepare_voc_aug(
            mini.devkit,
            mini.sbd,
            processes=processes,
            manifest=mini.manifest,
            say=lambda _: None,
        )
    assert '\n' not in str(caught.value)
    lists = {item.name for item in (mini.voc / 'ImageSets' / 'Segmentation').iterdir()}
    assert lists == {'train.txt', 'val.txt', 'trainval.txt'}
    for mask in (mini.voc / 'SegmentationClassAug').iterdir():  # whole, and kept for next time
        assert mask.suffix == '.png'
        Image.open(mask).load()


@contextmanager
def small_disk(folder: Path, options: str):
    folder.mkdir()
    command = ['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip('there is no mount command here')
    if done.returncode:
        pytest.skip(f'this user may not mount a small disk: {done.stderr.strip()}')
    try:
        yield folder
    finally:
        subprocess.run(['umount', str(folder)], check=True)


def test_full_disk_is_foreseen(mini, tmp_path):
    with small_disk(tmp_path / 'disk', 'size=64k') as disk:
        refused(
            mini, 'need about 385.0 kB, but 65.5 kB are available; free space', out=disk / 'masks'
        )
        assert not list(disk.iterdir())


@pytest.mark.parametrize('processes', [1, 2])
def test_disk_that_fills_while_masks_are_written(mini, tmp_path, processes):
    """Files enough for some masks only, as where another program takes the last room."""
    arguments = dict(processes=processes, manifest=mini.manifest, say=lambda _: None)
    with small_disk(tmp_path / 'disk', 'size=1m,nr_inodes=20') as disk:
        with pytest.raises(UserError, match=r'disk is full; free space and type the same command'):
            prepare_voc_aug(mini.devkit, mini.sbd, disk, **arguments)
        assert len(list(disk.iterdir())) > 5
        for mask in disk.iterdir():
            assert mask.suffix == '.png'
            Image.open(mask).load()
        assert not (mini.voc / 'ImageSets' / 'Segmentation' / 'aug.txt').exists()
        subprocess.run(['mount', '-o', 'remount,nr_inodes=200', str(disk)], check=True)
        prepare_voc_aug(mini.devkit, mini.sbd, disk, **arguments)
        assert len(list(disk.iterdir())) == 47


@needs_data_filter
def test_disk_that_fills_while_an_archive_is_unpacked(mini, tmp_path):
    with small_disk(tmp_path / 'disk', f'size={mini.voc_tar.stat().st_size + 40_000}') as disk:
        path = disk / mini.voc_tar.name
        path.write_bytes(mini.voc_tar.read_bytes())
        refused(mini, r'is full; free space', devkit=path)
        assert [item.name for item in disk.iterdir()] == [path.name]


def test_folder_that_may_not_be_written(mini, monkeypatch):
    def forbid(*_, **__):
        raise PermissionError(13, 'Permission denied', 'out/x.png')

    monkeypatch.setattr('mmseg_pan.voc.converter.write_whole', forbid)
    with pytest.raises(UserError, match=r'out/x\.png cannot be written \(Permission denied\)'):
        prepare_voc_aug(
            mini.devkit, mini.sbd, processes=1, manifest=mini.manifest, say=lambda _: None
        )


parts = st.sampled_from(['..', '.', '', 'a', 'VOCdevkit', 'VOC2012', '/', '\\', 'C:', '~', 'é'])


@settings(deadline=None)
@given(names=st.lists(st.lists(parts, min_size=1, max_size=5).map('/'.join), max_size=4))
def test_no_name_gets_out(tmp_path_factory, names):
    """Whatever the names are: all files stay below the folder, or the archive is refused."""
    world = tmp_path_factory.mktemp('world')
    home = world / 'home'
    home.mkdir()
    path = home / 'voc.tar'
    with tarfile.open(path, 'w') as archive:
        for name in ['VOCdevkit/VOC2012/good', *names]:
            archive.addfile(member(name, size=1), io.BytesIO(b'x'))
    target = home / 'VOCdevkit' / 'VOC2012'
    try:
        unpack_tar(path, 'VOCdevkit/VOC2012', target, lambda name: True, VOC_2012_AUG)
    except (UserError, OSError):
        assert set(snapshot(world)) == {'home/voc.tar'}
    else:
        assert all(
            name == 'home/voc.tar' or name.startswith('home/VOCdevkit/VOC2012/')
            for name in snapshot(world)
        )


@needs_data_filter
def test_measure_counts_blocks(mini):
    files, size = measure_tar(mini.voc_tar, lambda name: name.endswith('.txt'), mini.manifest)
    assert (files, size) == (3, 3 * 4096)


def test_zip_entries_of_a_good_zip(mini):
    assert len(safe_zip_entries(mini.ready_zip, mini.manifest)) == 2 * 47
