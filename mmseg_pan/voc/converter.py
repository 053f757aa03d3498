"""Convert VOC 2012 and SBD, as published, to the folder that the configs train on."""

import os
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from rich import filesize

from mmseg_pan.datasets.masks import decode_mask, encode_mask, illegal_ids, is_encoded
from mmseg_pan.errors import UserError
from mmseg_pan.files import (
    disk_errors_explained,
    exclusive,
    remove_leftovers,
    write_whole,
)
from mmseg_pan.outputs import check_folder
from mmseg_pan.parallel import available_cores, map_files

from .inputs import Plan, find_masks, find_voc, make_plan, stems
from .manifest import VOC_2012_AUG, Manifest
from .mask_sources import MaskSource

#: Room that one converted mask takes at most on average: 3.7 KB in blocks of 4 KiB.
_MASK_ROOM = 8192


def prepare_voc_aug(
    devkit: str | Path,
    aug: str | Path,
    out: str | Path | None = None,
    processes: int | None = None,
    dry_run: bool = False,
    manifest: Manifest = VOC_2012_AUG,
    say: Callable[[str], None] = print,
) -> None:
    """Make ``SegmentationClassAug`` and the four lists.

    It can be killed at any moment and started again: whatever has its final name is
    whole, and is written again only where it differs from its source.

    Args:
        devkit: VOC's archive, or the folder ``VOCdevkit`` or ``VOC2012``. An archive is
            unpacked beside itself.
        aug: SBD's archive, its folder, or a ready ``SegmentationClassAug``, as folder or
            zip.
        out: Where the masks go; ``VOC2012/SegmentationClassAug`` by default. The lists
            always go into ``VOC2012/ImageSets/Segmentation``.
        processes: Number of worker processes; all cores by default.
        dry_run: Only check, and say what would be done; nothing is written.
        manifest: What is expected.
        say: Receives one line of text at a time.

    Raises:
        UserError: If anything is missing, damaged, or not what the manifest expects.
    """
    devkit, aug = Path(devkit), Path(aug)
    for path in (devkit, aug):
        if not path.exists():
            raise UserError(
                f'{path} does not exist; give {manifest.voc.name} or VOCdevkit first, and '
                f'{manifest.sbd.name}, its folder or SegmentationClassAug second.'
            )
    with exclusive(devkit), disk_errors_explained(Path(out) if out else devkit):
        root = find_voc(devkit, dry_run, manifest, say)
        source = find_masks(aug, dry_run, manifest, say)
        if root is None or source is None:  # a dry run does not unpack what it describes
            say(
                'It would then check the lists, write the masks (about '
                f'{filesize.decimal(_MASK_ROOM * _final_count(manifest))}) and the four lists.'
            )
            return
        plan = make_plan(root, Path(out) if out else None, source, manifest)
        own = ('JPEGImages', 'SegmentationClass', 'SegmentationObject', 'Annotations')
        check_folder(plan.out, [root / name for name in own], '--out-dir')
        _check_room(plan, dry_run, say)
        if not dry_run:
            _execute(plan, processes or available_cores(), manifest, say)


def _final_count(manifest: Manifest) -> int:
    return manifest.lists['trainaug'].count + manifest.lists['val'].count


def _check_room(plan: Plan, dry_run: bool, say: Callable[[str], None]) -> None:
    present = stems(plan.out, '.png') if plan.out.is_dir() else set()
    every = {*plan.own, *plan.lists['aug']}
    need = len(every - present) * _MASK_ROOM
    place = next(path for path in (plan.out, *plan.out.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(place).free
    if dry_run:
        say(
            f'{len(every):,} masks in {plan.out}: {len(every & present):,} are there and would be '
            f'compared with their source, {len(every - present):,} would be written.'
        )
        for name, ids in plan.lists.items():
            say(f'{plan.list_folder / name}.txt: {len(ids):,} ids, sorted.')
        say(f'Room needed: about {filesize.decimal(need)}; free: {filesize.decimal(free)}.')
    elif need > free:
        raise UserError(
            f'The masks in {plan.out} need about {filesize.decimal(need)}, but '
            f'{filesize.decimal(free)} are available; free space, or give another folder with "-o".'
        )


def _execute(plan: Plan, processes: int, manifest: Manifest, say: Callable[[str], None]) -> None:
    remove_leftovers(plan.list_folder)
    remove_leftovers(plan.out)
    plan.out.mkdir(parents=True, exist_ok=True)
    tasks = [(name, True) for name in plan.own] + [(name, False) for name in plan.lists['aug']]
    # Both kinds evenly among the workers, and the same order on every machine.
    convert = partial(_convert_one, plan.root, plan.out, plan.source, manifest)
    written = sum(map_files(convert, sorted(tasks), processes, 'Masks'))
    # One barrier instead of a flush (4 ms) for each of twelve thousand small files: when
    # a list names a mask, its bytes are on the disk.
    os.sync()
    for name, ids in plan.lists.items():
        _write_list(plan.list_folder / f'{name}.txt', ids)
    say(f'{len(tasks):,} masks in {plan.out}: {written:,} written, {len(tasks) - written:,} right.')
    counts = ', '.join(f'{name} {len(ids):,}' for name, ids in plan.lists.items())
    say(f'Lists in {plan.list_folder}, sorted, counts and hashes as published: {counts}.')


def _convert_one(
    root: Path, out: Path, source: MaskSource, manifest: Manifest, task: tuple[str, bool]
) -> int:
    """Write one mask unless it already exists; return how many were written."""
    name, own = task
    target, image = out / f'{name}.png', root / 'JPEGImages' / f'{name}.jpg'
    if own:  # byte by byte: VOC's own PNGs have VOC's palette
        origin = root / 'SegmentationClass' / f'{name}.png'
        data = origin.read_bytes()
        _check_mask(decode_mask(data, str(origin)), image, str(origin), manifest)
        if target.is_file() and target.read_bytes() == data:
            return 0
    else:
        mask = source.load(name)
        _check_mask(mask, image, f'{source}, mask {name}', manifest)
        mask = np.ascontiguousarray(mask, np.uint8)
        if is_encoded(target, mask):
            return 0
        data = encode_mask(mask)
    write_whole(target, data, durable=False)
    return 1


def _check_mask(mask: np.ndarray, image_path: Path, origin: str, manifest: Manifest) -> None:
    wrong = illegal_ids(mask, manifest.legal_ids)
    if wrong:
        raise UserError(
            f'{origin} holds the ids {wrong}, and legal are 0-{manifest.num_classes - 1} and '
            f'{manifest.ignore_index}; restore it from the official archive.'
        )
    try:
        with Image.open(image_path) as image:
            size = image.size
    except OSError as error:
        raise UserError(f'{image_path} is not a readable image ({error}); restore it.') from error
    if size != mask.shape[::-1]:
        raise UserError(
            f'{origin} is {mask.shape[1]}x{mask.shape[0]}, and {image_path} {size[0]}x{size[1]}; '
            'they do not belong together: restore both from the official archives.'
        )


def _write_list(path: Path, ids: Iterable[str]) -> None:
    data = ''.join(f'{name}\n' for name in ids).encode()
    if not path.is_file() or path.read_bytes() != data:
        write_whole(path, data)
