"""A devkit and an SBD in miniature, with the structure of the real ones."""

import hashlib
import tarfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_matrix

from mmseg_pan.datasets.masks import encode_mask
from mmseg_pan.voc.manifest import (
    ArchiveFacts,
    ListFacts,
    Manifest,
    hash_ids,
)

#: Python before 3.10.12 and 3.11.4, as in Debian 12, cannot unpack archives safely; we refuse to.
needs_data_filter = pytest.mark.skipif(
    not hasattr(tarfile, 'data_filter'), reason='this Python has no tarfile.data_filter'
)

TRAIN = [f'2007_{i:06d}' for i in (32, 39, 63, 68)]
VAL = [f'2007_{i:06d}' for i in (33, 42, 61)]
AUG = [f'2008_{i:06d}' for i in range(2, 42)]


@dataclass
class MiniVOC:
    """Folders and archives below one folder, and the manifest that fits them."""

    home: Path
    manifest: Manifest
    devkit: Path
    sbd: Path
    voc_tar: Path
    sbd_tgz: Path
    ready: Path
    ready_zip: Path

    @property
    def voc(self) -> Path:
        return self.devkit / 'VOC2012'


def shape_of(name: str) -> tuple[int, int]:
    number = int(name[-6:])
    return 16 + number % 5, 20 + number % 7


def mask_of(name: str, annotator: str) -> np.ndarray:
    """A mask with a rectangle; VOC's has the 255 border, SBD's another size of it."""
    height, width = shape_of(name)
    mask = np.zeros((height, width), np.uint8)
    number = int(name[-6:])
    if annotator == 'voc':
        mask[2:11, 3:14] = 255
        mask[3:10, 4:13] = 1 + number % 20
    else:
        mask[4:12, 5:15] = 1 + number % 20
    return mask


def write_mat(path: Path, mask: np.ndarray) -> None:
    """The struct that SBD's authors wrote: cells of sparse boundaries beside the mask."""
    boundaries = np.empty((20, 1), object)
    for category in range(20):
        inside = mask == category + 1
        boundaries[category, 0] = csc_matrix((inside & ~np.roll(inside, 1, 0)).astype(float))
    fields = ('Boundaries', 'Segmentation', 'CategoriesPresent')
    struct = np.zeros((1, 1), [(name, object) for name in fields])
    present = np.unique(mask[mask > 0])
    struct[0, 0] = (boundaries, mask, present[:, None])
    savemat(path, {'GTcls': struct}, do_compression=True)


def write_jpeg(path: Path, shape: tuple[int, int]) -> None:
    Image.fromarray(np.full((*shape, 3), 90, np.uint8)).save(path, quality=60)


def write_lists(folder: Path, **lists: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, ids in lists.items():
        (folder / f'{name}.txt').write_text(''.join(f'{item}\n' for item in ids))


def make_mini_voc(home: Path, aug: list[str] = AUG) -> MiniVOC:
    """Write everything; SBD has masks of VOC's own images, too, val among its train."""
    devkit, sbd = home / 'VOCdevkit', home / 'benchmark_RELEASE'
    voc = devkit / 'VOC2012'
    for folder in ('JPEGImages', 'SegmentationClass', 'Annotations'):
        (voc / folder).mkdir(parents=True)
    (sbd / 'dataset' / 'cls').mkdir(parents=True)
    (sbd / 'dataset' / 'img').mkdir()
    for name in (*TRAIN, *VAL, *aug):
        write_jpeg(voc / 'JPEGImages' / f'{name}.jpg', shape_of(name))
    for name in (*TRAIN, *VAL):
        (voc / 'SegmentationClass' / f'{name}.png').write_bytes(encode_mask(mask_of(name, 'voc')))
    write_lists(voc / 'ImageSets' / 'Segmentation', train=TRAIN, val=VAL, trainval=TRAIN + VAL)
    for name in (*TRAIN[:3], *VAL[:2], *aug):
        write_mat(sbd / 'dataset' / 'cls' / f'{name}.mat', mask_of(name, 'sbd'))
        write_jpeg(sbd / 'dataset' / 'img' / f'{name}.jpg', shape_of(name))
    mixed = aug[::-1]  # not sorted, as nothing promises it
    half = len(aug) // 2
    write_lists(sbd / 'dataset', train=mixed[:half] + VAL[:2], val=TRAIN[:3] + mixed[half:])

    ready = home / 'passed_around' / 'SegmentationClassAug'
    ready.mkdir(parents=True)
    for name in (*TRAIN, *VAL, *aug):  # grey ids, as in the copy that most people have
        Image.fromarray(mask_of(name, 'sbd')).save(ready / f'{name}.png')
    ready_zip = home / 'SegmentationClassAug.zip'
    with zipfile.ZipFile(ready_zip, 'w', zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(ready.iterdir()):
            archive.write(path, f'SegmentationClassAug/{path.name}')
            archive.writestr(f'__MACOSX/SegmentationClassAug/._{path.name}', b'Mac')

    voc_tar, sbd_tgz = home / 'VOCtrainval_11-May-2012.tar', home / 'benchmark.tgz'
    with tarfile.open(voc_tar, 'w') as archive:
        archive.add(devkit, 'VOCdevkit')
    with tarfile.open(sbd_tgz, 'w:gz') as archive:
        archive.add(sbd, 'benchmark_RELEASE')
    manifest = Manifest(
        voc=facts_of(voc_tar),
        sbd=facts_of(sbd_tgz),
        lists={
            'train': ListFacts(len(TRAIN), hash_ids(TRAIN)),
            'val': ListFacts(len(VAL), hash_ids(VAL)),
            'trainaug': ListFacts(len(TRAIN + aug), hash_ids(TRAIN + aug)),
            'aug': ListFacts(len(aug), hash_ids(aug)),
        },
    )
    return MiniVOC(home, manifest, devkit, sbd, voc_tar, sbd_tgz, ready, ready_zip)


def facts_of(path: Path) -> ArchiveFacts:
    return ArchiveFacts(path.name, hashlib.md5(path.read_bytes()).hexdigest())


def trusting(manifest: Manifest, voc: Path | None = None, sbd: Path | None = None) -> Manifest:
    """A manifest whose checksums are those of these archives, whatever they hold."""
    changes = {}
    if voc:
        changes['voc'] = facts_of(voc)
    if sbd:
        changes['sbd'] = facts_of(sbd)
    return replace(manifest, **changes)


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }
