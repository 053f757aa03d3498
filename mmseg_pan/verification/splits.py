"""The images and masks of a config or of a folder in VOC's layout."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmseg_pan.configs.contents import read_config, single_entries
from mmseg_pan.datasets import CheckedSegDataset
from mmseg_pan.datasets.inspection import (
    Fault,
    MaskRules,
    left_out_fault,
    mask_rules,
    repeated,
    shortened,
)
from mmseg_pan.datasets.lists import Found, is_image_name, read_lines, walk_files
from mmseg_pan.datasets.reading import Loading
from mmseg_pan.errors import UserError


@dataclass(frozen=True)
class Split:
    """One list of a data set.

    Args:
        role: ``train`` or ``val``.
        source: The list, or the folder where there is none.
        pairs: Image and mask (or None) for each entry.
        classes: Their names.
        rules: Which ids the mask files may hold.
        new_ids: What the loader makes of an id in a file: 256 values.
        faults: What is wrong with the list itself.
        loading: How images are loaded; None: by a loader that is not known here.
    """

    role: str
    source: str
    pairs: list[tuple[str, str | None]]
    classes: tuple[str, ...]
    rules: MaskRules
    new_ids: list[int]
    faults: list[Fault]
    loading: Loading | None


def read_splits(target: str | Path) -> list[Split]:
    """The splits of a config file or of a folder in VOC's layout.

    Raises:
        UserError: If it is neither, or a list cannot be found.
    """
    target = Path(target)
    if target.is_dir():
        named = _of_folder(target)
    elif target.is_file():
        named = _of_config(read_config(target), target)
    else:
        raise UserError(
            f'{target} does not exist; give a config such as configs/pan/pan_r101-d16_voc.py, or '
            'the folder VOCdevkit/VOC2012.'
        )
    return _read_all(named)


def _read_all(named: Iterable[tuple[str, dict]]) -> list[Split]:
    init_default_scope('mmseg')
    splits = {}
    for role, config in named:
        split = _read_split(role, config)
        # test_dataloader is mostly val_dataloader again.
        splits.setdefault((split.source, tuple(split.pairs[:1])), split)
    return list(splits.values())


def _of_folder(folder: Path) -> Iterator[tuple[str, dict]]:
    for root in (folder, folder / 'VOC2012', folder / 'VOCdevkit' / 'VOC2012'):
        lists = root / 'ImageSets' / 'Segmentation'
        if (lists / 'train.txt').is_file():
            break
    else:
        raise UserError(
            f'{folder} holds no ImageSets/Segmentation/train.txt, as VOC2012 does; for data in '
            'another layout give the config that trains on it.'
        )
    joined = not (lists / 'aug.txt').is_file() and (lists / 'trainaug.txt').is_file()
    for name in ('trainaug', 'val') if joined else ('train', 'aug', 'val'):
        if (lists / f'{name}.txt').is_file():
            masks = 'SegmentationClassAug' if 'aug' in name else 'SegmentationClass'
            yield (
                'val' if name == 'val' else 'train',
                dict(
                    type='VOCAugDataset',
                    data_root=str(root),
                    ann_file=f'ImageSets/Segmentation/{name}.txt',
                    data_prefix=dict(img_path='JPEGImages', seg_map_path=masks),
                ),
            )


def _of_config(config: Config, path: Path) -> Iterator[tuple[str, dict]]:
    found = False
    for role in ('train', 'val', 'test'):
        loader = config.get(f'{role}_dataloader')
        for _, dataset in single_entries('', (loader or {}).get('dataset') or {}):
            found = True
            yield 'train' if role == 'train' else 'val', dataset
    if not found:
        raise UserError(f'{path} names no data set: it has no train_dataloader.')


def _read_split(role: str, config: dict) -> Split:
    # Built without reading anything, the data set itself tells what its arguments mean.
    dataset = DATASETS.build({**config, 'lazy_init': True, 'pipeline': []})
    if not isinstance(dataset, BaseSegDataset):
        raise UserError(f'{config["type"]} is not a data set of images and masks.')
    classes = dataset.metainfo.get('classes')
    if not classes:
        raise UserError(
            f'The data set {config["type"]} names no classes; add "metainfo=dict(classes=[...])".'
        )
    listed = dataset.ann_file and not Path(dataset.ann_file).is_dir()
    images = dataset.data_prefix['img_path']
    source = dataset.ann_file if listed else images
    if not listed and not Path(images).is_dir():
        raise UserError(f'The folder {images} does not exist; set data_root in the config.')
    faults: list[Fault] = []
    left_out: list[str] = []
    if isinstance(dataset, CheckedSegDataset):
        found = dataset.find_pairs()
        pairs, left_out = found.pairs, found.left_out
        faults += _faults_of(found, source, dataset.img_suffix)
    else:
        samples = dataset.load_data_list()
        pairs = [(sample['img_path'], sample.get('seg_map_path')) for sample in samples]
        if listed:
            faults += _stock_faults(source)
    if not (pairs or faults):
        raise UserError(f'{source} contains no images; set data_root in the config.')
    if not listed:
        faults += _lone_masks(dataset, pairs, left_out)
    faults += repeated(pairs, source)
    return Split(
        role,
        source,
        list(dict.fromkeys(pairs)),
        tuple(classes),
        *mask_rules(dataset),
        faults,
        Loading.of(config.get('pipeline') or ()),
    )


def _faults_of(found: Found, source: str, suffix: str) -> Iterator[Fault]:
    """What is wrong with a list, or a folder, that a data set of this project reads."""
    for kind, lines in found.unusual.items():
        yield Fault(kind, source, f'lines {shortened(lines)}')
    for number, text in found.unclear.items():
        yield Fault('unclear line in list', source, f'line {number}: {text[:60]!r}')
    if found.left_out:
        yield left_out_fault(source, suffix, found.left_out)


def _lone_masks(
    dataset: BaseSegDataset, pairs: list[tuple[str, str | None]], left_out: list[str]
) -> Iterator[Fault]:
    """The masks of a folder that belong to no image, not even to one left out, as one fault."""
    folder = dataset.data_prefix.get('seg_map_path')
    if not folder or not Path(folder).is_dir():
        return
    used = {str(Path(path)) for pair in pairs for path in pair if path}
    images = dataset.data_prefix['img_path']
    stems = (os.path.splitext(os.path.relpath(path, images))[0] for path in left_out)
    used |= {str(Path(folder, stem + dataset.seg_map_suffix)) for stem in stems}
    masks = (str(path) for path in walk_files(Path(folder)))
    lone = [path for path in masks if path.endswith(dataset.seg_map_suffix) and path not in used]
    if lone:
        names = ', '.join(os.path.relpath(path, folder) for path in sorted(lone)[:5])
        more = f' and {len(lone) - 5:,} more' if len(lone) > 5 else ''
        yield Fault('mask without image', folder, f'{names}{more}')


def _stock_faults(source: str) -> Iterator[Fault]:
    """What MMSegmentation's own data sets read differently from what is meant."""
    lines = read_lines(Path(source))
    wrong = [
        number
        for number, line in enumerate(lines, 1)
        if not line.strip() or is_image_name(line.strip())
    ]
    if wrong:
        detail = f'lines {shortened(wrong)}: empty or with a suffix; use CheckedSegDataset'
        yield Fault('unclear line in list', source, detail)
    if lines != Path(source).read_bytes().decode('utf-8', 'replace').splitlines():
        detail = 'a byte-order mark, or no UTF-8; save it as UTF-8, or use CheckedSegDataset'
        yield Fault('unclear line in list', source, detail)


def faults_between(splits: list[Split]) -> Iterator[Fault]:
    """Images that lists share: between train and val, or twice in training."""
    seen: dict[str, Split] = {}
    for split in splits:
        for image, _ in split.pairs:
            other = seen.setdefault(image, split)
            if other is split:
                continue
            if other.role != split.role:
                yield Fault('in train and val', image, f'in {other.source} and {split.source}')
            elif other.source != split.source:
                yield Fault('duplicate id', image, f'in {other.source} and {split.source}')
