"""Folders of images and masks: Roboflow, CVAT, palette and grey PNGs, colours with a table."""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from mmseg_pan.datasets.lists import read_ids
from mmseg_pan.errors import UserError

from .mask_values import TABLES, Entry, MaskFile, open_values, read_table
from .recognition import AnnotationSource, folder_kind, split_of
from .records import (
    BACKGROUND,
    IGNORED,
    UNLABELLED,
    Collected,
    LeftOutError,
    NamedClass,
    Record,
    meaning,
)

#: Ends of the names of masks.
_END = re.compile(r'[_-](?:mask|masks|label|labels|gt|seg|segmentation|annotation)$', re.I)
_INSTANCES = 'segmentationobject'

#: More values than masks of classes have: those of photographs.
_MOST = 254


def read_masks(source: AnnotationSource, table: Path | None = None) -> Collected:
    """Pair the masks of a folder with its images.

    Args:
        source: The folder.
        table: A table of the classes; None: one in the folder, if it has any.

    Raises:
        UserError: If there are no masks, or colours without a table.
    """
    masks = [path for path in source.images if _is_mask(path, source)]
    if not masks:
        raise UserError(
            f'{source.path} holds images and no masks; put the masks into a folder "masks" beside '
            '"images", or name them like their images with "_mask" at the end.'
        )
    entries = _entries(source, table)
    collected = Collected(background=None)
    images = _images_by_key(source, set(masks))
    splits = _listed_splits(source)
    bare = all(entry.value is None and entry.colour is None for entry in entries)
    survey = _survey(masks) if bare else ()
    values, colours = _labels(entries, survey, masks, source, collected)
    for mask in masks:
        shown = source.shown(mask)

        def pair(mask=mask, shown=shown) -> Record:
            image = _image_of(mask, images, source)
            split = splits.get(_key(mask, source)[1]) or _split_of_mask(mask, source)
            stored = MaskFile(mask, values, colours)
            return Record(source.name_of(image), image, shown, mask=stored, split=split)

        collected.add(shown, pair)
    used = {record.image for record in collected.records}.union(masks)
    without = [path for path in source.images if path not in used]
    without = [path for path in without if _INSTANCES not in str(path).lower()]
    if without:
        place = source.shown(without[0])
        collected.notes.append((place, f'{len(without)} images without a mask are not used'))
    return collected


def _parts(path: Path, source: AnnotationSource) -> list[str]:
    return [part.lower() for part in path.relative_to(source.root).parts[:-1]]


def _is_mask(path: Path, source: AnnotationSource) -> bool:
    parts = _parts(path, source)
    if _INSTANCES in parts:
        return False
    return bool(_END.search(path.stem)) or any(folder_kind(part) == 'mask' for part in parts)


def _split_of_mask(path: Path, source: AnnotationSource) -> str | None:
    parts = [part for part in _parts(path, source) if folder_kind(part) != 'other']
    return next(filter(None, map(split_of, reversed(parts))), None)


def _key(path: Path, source: AnnotationSource) -> tuple[tuple, str]:
    """What image and mask have in common: split and folders of a meaning, and the stem."""
    others = tuple(part for part in _parts(path, source) if folder_kind(part) == 'other')
    return (_split_of_mask(path, source), *others), _END.sub('', path.stem)


def _images_by_key(source: AnnotationSource, masks: set[Path]) -> dict:
    """Images by key, by stem alone, and by whole name: masks may end in '.jpg.png'."""
    found = defaultdict(list)
    for path in source.images:
        if path not in masks and _INSTANCES not in _parts(path, source):
            folders, stem = _key(path, source)
            for name in dict.fromkeys((stem, path.stem, path.name)):
                found[folders, name].append(path)
                found[name].append(path)
    return found


def _image_of(mask: Path, images: dict, source: AnnotationSource) -> Path:
    folders, stem = _key(mask, source)
    found = images.get((folders, stem)) or images.get(stem) or images.get(mask.stem) or []
    if not found:
        raise LeftOutError(f'no image in {source.root} is named {stem!r}')
    if len(found) > 1:
        beside = [path for path in found if path.parent == mask.parent]
        if len(beside) != 1:
            raise LeftOutError(
                f'{len(found)} images are named {stem!r}: {source.shown(found[0])}, '
                f'{source.shown(found[1])}'
            )
        found = beside
    return found[0]


def _listed_splits(source: AnnotationSource) -> dict[str, str]:
    """Split by stem, from the lists of VOC and CVAT."""
    found = {}
    for path in source.files:
        if path.suffix == '.txt' and 'imagesets' in _parts(path, source):
            split = split_of(path.stem)
            if split:
                found.update((Path(name).name, split) for name in read_ids(path))
    return found


def _entries(source: AnnotationSource, table: Path | None) -> list[Entry]:
    """The classes of the table that was named, or of those of the folder, which must agree."""
    if table:
        return read_table(table)
    for name in TABLES:
        found = [path for path in source.files if path.name.lower() == name]
        if not found:
            continue
        entries = read_table(found[0])
        for other in found[1:]:
            if read_table(other) != entries:
                raise UserError(
                    f'{found[0]} and {other} name different classes; give the one that is right '
                    'with "--labels FILE".'
                )
        return entries
    return []


def _survey(masks: list[Path]) -> tuple[dict[int, tuple], bool]:
    """The values of all masks, with the palette's colours of those that have one."""
    values, palette, coloured = {}, {}, None
    for path in masks:
        try:
            found, _ = open_values(path)
        except LeftOutError as error:
            coloured = coloured or ('colours' in str(error) and path)
            continue
        for value in np.unique(found).tolist():
            values.setdefault(value, path)
        if len(values) > _MOST:
            raise UserError(
                f'{path} and those before it have {len(values)} different values, as photographs '
                'have, and masks one a class; give a folder of masks.'
            )
        with Image.open(path) as image:
            if image.mode == 'P' and not palette:
                palette.update(enumerate(_triples(image)))
    if not values and coloured:
        raise UserError(
            f'{coloured} holds colours, and no table says what they mean; write a file with one '
            'line "name,r,g,b" for each and give it with "--labels FILE".'
        )
    return values, palette


def _triples(image: Image.Image) -> list[tuple[int, int, int]]:
    flat = image.getpalette('RGB') or []
    return [tuple(flat[start : start + 3]) for start in range(0, len(flat), 3)]


def _labels(entries, survey, masks, source, collected) -> tuple[tuple, tuple]:
    """Labels by value and by colour; the classes go into ``collected``."""
    if not entries:
        values, palette = survey
        two = set(values) <= {0, 255} and not palette
        usual = sorted(value for value in values if two or value != 255)
        names = {0: 'background'} | ({255: 'foreground'} if two else {})
        grey = len(set(palette.values())) < 3 or all(len(set(c)) == 1 for c in palette.values())
        entries = [
            Entry(names.get(value, f'class {value}'), None if grey else palette.get(value), value)
            for value in usual
        ]
    elif all(entry.value is None for entry in entries):
        _number(entries, survey[0] if survey else {})
    values, colours = [], []
    for entry in entries:
        label = meaning(entry.name)
        if label in (BACKGROUND, UNLABELLED):
            label = UNLABELLED
            collected.background = NamedClass(entry.name.strip('_'), entry.colour)
        elif label != IGNORED:
            collected.classes.append(NamedClass(entry.name, entry.colour))
        if entry.value is not None:
            values.append((entry.value, label))
        if entry.colour is not None:
            red, green, blue = entry.colour
            colours.append((red << 16 | green << 8 | blue, label))
    stated = len(colours) == len(entries) and not survey
    return tuple(values), tuple(colours) if stated else ()


def _number(entries: list[Entry], present: dict) -> None:
    """Give values to names alone: the numbers of their lines, or as the masks' values demand.

    Lists may leave the background out, and masks of two classes may have 255 for the second one.
    """
    named = [entry for entry in entries if meaning(entry.name) != IGNORED]
    background = any(meaning(entry.name) in (BACKGROUND, UNLABELLED) for entry in named)
    two = bool(present) and set(present) <= {0, 255} and 255 in present
    most = 1 if two else max((value for value in present if value != 255), default=0)
    if present and not background and most == len(named):
        entries.insert(0, Entry('background'))
        named.insert(0, entries[0])
    for index, entry in enumerate(named):
        entry.value = 255 if two and index == 1 else index
