"""Plan what to write, from archives, folders or a zip file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rich import filesize

from mmseg_pan.datasets.lists import read_ids
from mmseg_pan.errors import UserError

from .archives import is_tar, measure_tar, unpack_tar, verify_checksum
from .manifest import ArchiveFacts, Manifest
from .mask_sources import MaskFolder, MaskSource, MaskZip, SBDFolder


@dataclass(frozen=True)
class Plan:
    """What is to be written, known before the first byte is.

    Args:
        root: The folder ``VOC2012``.
        out: Where the masks go.
        source: Where SBD's masks come from.
        lists: Sorted ids of ``train``, ``val``, ``trainaug`` and ``aug``.
    """

    root: Path
    out: Path
    source: MaskSource
    lists: dict[str, list[str]]

    @property
    def own(self) -> list[str]:
        """The images with a mask of VOC's own, which wins."""
        return sorted(self.lists['train'] + self.lists['val'])

    @property
    def list_folder(self) -> Path:
        """Where the lists are read and written."""
        return self.root / 'ImageSets' / 'Segmentation'


def find_voc(
    devkit: Path, dry_run: bool, manifest: Manifest, say: Callable[[str], None]
) -> Path | None:
    """Find ``VOC2012``, unpacking VOC's archive beside itself if need be.

    Returns:
        The folder; None in a dry run that would have to unpack it.

    Raises:
        UserError: If it is neither there nor in the archive.
    """
    if is_tar(devkit) and devkit.is_file():
        root = devkit.parent / 'VOCdevkit' / 'VOC2012'
        part = 'VOCdevkit/VOC2012'
        return _unpacked(devkit, part, root, manifest.voc, dry_run, manifest, say)
    for root in (devkit, devkit / 'VOC2012', devkit / 'VOCdevkit' / 'VOC2012'):
        if (root / 'ImageSets' / 'Segmentation').is_dir():
            return root
    raise UserError(
        f'{devkit} is neither VOCdevkit nor VOC2012 (it has no ImageSets/Segmentation); give '
        f'the folder that {manifest.voc.name} unpacks to, or the archive itself.'
    )


def find_masks(
    aug: Path, dry_run: bool, manifest: Manifest, say: Callable[[str], None]
) -> MaskSource | None:
    """Find SBD's masks, unpacking its archive beside itself if need be.

    Returns:
        The masks; None in a dry run that would have to unpack them.

    Raises:
        UserError: If what is given is none of the forms that are known.
    """
    if aug.is_file() and is_tar(aug):
        root = aug.parent / 'benchmark_RELEASE'
        unpacked = _unpacked(aug, root.name, root, manifest.sbd, dry_run, manifest, say)
        return unpacked and SBDFolder(unpacked / 'dataset')
    if aug.is_file() and aug.suffix.lower() == '.zip':
        return MaskZip.open(aug, manifest)
    for root in (aug, aug / 'dataset', aug / 'benchmark_RELEASE' / 'dataset'):
        if (root / 'cls').is_dir():
            return SBDFolder(root)
    for root in (aug, aug / 'SegmentationClassAug'):
        if root.is_dir() and any(root.glob('*.png')):
            return MaskFolder(root)
    raise UserError(
        f'{aug} is none of {manifest.sbd.name}, its folder benchmark_RELEASE (it has no '
        'dataset/cls), and a SegmentationClassAug with PNGs or a zip of it; give one of them.'
    )


def _unpacked(
    archive: Path,
    part: str,
    target: Path,
    facts: ArchiveFacts,
    dry_run: bool,
    manifest: Manifest,
    say: Callable[[str], None],
) -> Path | None:
    """The folder that an archive unpacks to; None in a dry run that needs to unpack."""
    if target.is_dir():
        say(f'{target} already exists: {archive.name} is not unpacked again.')
        return target
    verify_checksum(archive, facts)
    if dry_run:
        files, size = measure_tar(archive, _wanted, manifest)
        say(
            f'{archive}: checksum right; {files:,} files ({filesize.decimal(size)}) would be '
            f'unpacked to {target}.'
        )
        return None
    unpack_tar(archive, part, target, _wanted, manifest)
    say(f'{archive.name}: checksum right, unpacked to {target}.')
    return target


def _wanted(name: str) -> bool:
    """All of VOC2012; of SBD only lists and masks, for its images are VOC's."""
    parts = PurePosixPath(name).parts
    if parts[:1] == ('VOCdevkit',):
        return parts[1:2] == ('VOC2012',)
    if parts[:2] != ('benchmark_RELEASE', 'dataset'):
        return False
    return parts[2:] in (('train.txt',), ('val.txt',)) or parts[2:3] == ('cls',)


def make_plan(root: Path, out: Path | None, source: MaskSource, manifest: Manifest) -> Plan:
    """Read the lists, and check them and that each file they name is there.

    Raises:
        UserError: If a list is not the official one, or a file is missing.
    """
    folder = root / 'ImageSets' / 'Segmentation'
    train, val = read_ids(folder / 'train.txt'), read_ids(folder / 'val.txt')
    manifest.check_list('train', train, str(folder / 'train.txt'))
    manifest.check_list('val', val, str(folder / 'val.txt'))
    known = set(source.ids())
    lists = {
        'train': sorted(train),
        'val': sorted(val),
        'trainaug': sorted((known | set(train)) - set(val)),
        'aug': sorted(known - set(train) - set(val)),
    }
    for name in ('aug', 'trainaug'):
        manifest.check_list(name, lists[name], f'{source} with the lists in {folder}')
    plan = Plan(root, out or root / 'SegmentationClassAug', source, lists)
    images = root / 'JPEGImages'
    _check_present(lists['trainaug'] + lists['val'], stems(images, '.jpg'), images, '.jpg')
    masks = root / 'SegmentationClass'
    _check_present(plan.own, stems(masks, '.png'), masks, '.png')
    _check_present(lists['aug'], source.has(), source, '')
    return plan


def stems(folder: Path, suffix: str) -> set[str]:
    """Names of the files with an extension, without it."""
    return {path.stem for path in folder.glob(f'*{suffix}')}


def _check_present(ids: list[str], present: set[str], place: object, suffix: str) -> None:
    missing = sorted(set(ids) - present)
    if missing:
        raise UserError(
            f'{place} lacks {len(missing):,} of {len(ids):,} files, {missing[0]}{suffix} first; '
            'unpack the official archive again.'
        )
