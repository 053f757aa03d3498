"""The classes of a data set: ids, names and colours, and how the images are divided."""

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mmseg_pan.datasets.masks import class_colours
from mmseg_pan.errors import UserError

from .mask_values import read_table
from .records import BACKGROUND, IGNORED, UNLABELLED, Collected, NamedClass, Record, meaning

#: The id that the loss leaves out.
IGNORE_ID = 255

#: What Roboflow adds to the name of an image: its copies have one name before it.
_ROBOFLOW = re.compile(r'\.rf\.[0-9A-Za-z]{16,}$')


@dataclass(frozen=True)
class ClassTable:
    """Ids in masks.

    Args:
        names: By id.
        palette: RGB, by id.
        ids: Id by label, ignored areas included.
    """

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ids: dict[str, int]

    @property
    def unlabelled(self) -> int:
        """Id of the areas that nobody labelled."""
        return self.ids[UNLABELLED]


def make_class_table(
    collected: Collected, order: Path | None, unlabelled: str, shown: str
) -> ClassTable:
    """Give each class an id: background 0, the others in the order of the source or of a file.

    Args:
        collected: What the source holds.
        order: File with a name a line; None: the source's own order.
        unlabelled: 'background' or 'ignore'.
        shown: What to call the source in messages.

    Raises:
        UserError: If the file lacks a class, or there are fewer than two or more than 255.
    """
    classes = list(collected.classes)
    if order:
        classes = _in_order(classes, order)
    used = collected.labels
    first = collected.background
    if unlabelled == 'ignore':
        first = NamedClass('background') if BACKGROUND in used else None
    elif first is None and BACKGROUND in used:
        first = NamedClass('background')
    chosen = [*([first] if first else []), *classes]
    if len(chosen) < 2:
        found = f'the class {chosen[0].name!r} alone' if chosen else 'no class'
        advice = 'omit "--unlabelled ignore"' if unlabelled == 'ignore' else 'label something'
        raise UserError(f'{shown} has {found}, and a network needs two to tell apart; {advice}.')
    if len(chosen) > IGNORE_ID:
        raise UserError(
            f'{shown} has {len(chosen)} classes, and masks have room for 255; merge some of them.'
        )
    ids = {item.name: index for index, item in enumerate(chosen)}
    ids[IGNORED] = IGNORE_ID
    ids[BACKGROUND] = 0 if first else IGNORE_ID
    ids[UNLABELLED] = 0 if first and unlabelled == 'background' else IGNORE_ID
    return ClassTable(tuple(item.name for item in chosen), _palette(chosen), ids)


def _in_order(classes: list[NamedClass], order: Path) -> list[NamedClass]:
    known = {item.name: item for item in classes}
    listed = []
    for entry in read_table(order, known):
        if meaning(entry.name) not in (IGNORED, BACKGROUND, UNLABELLED):
            colour = entry.colour or (known[entry.name].colour if entry.name in known else None)
            listed.append(NamedClass(entry.name, colour))
    missing = sorted(set(known) - {item.name for item in listed})
    if missing:
        raise UserError(
            f'{order} does not list the class {missing[0]!r} of the annotations'
            f'{f" and {len(missing) - 1} more" if len(missing) > 1 else ""}; add a line for each.'
        )
    return listed


def _palette(classes: list[NamedClass]) -> tuple[tuple[int, int, int], ...]:
    """The source's colours; VOC's where it has none, or one twice."""
    usual = [tuple(colour) for colour in class_colours(256, None).tolist()]
    counts = Counter(item.colour for item in classes)
    own = {item.colour for item in classes if counts[item.colour] == 1}
    spare = iter([usual[0], *(colour for colour in usual[1:] if colour not in own)])
    if classes[0].colour is not None or usual[0] in own:
        next(spare)  # black is for the background
    return tuple(
        item.colour if item.colour and counts[item.colour] == 1 else next(spare) for item in classes
    )


def divide(records: list[Record], val_share: float, group: re.Pattern | None) -> list[str]:
    """The split of each record: the source's own, else by a hash of its name or group.

    The hash makes the split of an image independent of all others, so it stays when images are
    added. Only where one side would be empty, the image (or group) nearest to it goes there.

    Args:
        records: The images.
        val_share: Share of the images for validation.
        group: What it finds in a name (its first group, if it has any) is kept on one side.

    Raises:
        UserError: If there is a group for all images, or for none.
    """
    own = any(record.split == 'val' for record in records)
    free = [r for r in records if r.split is None or (r.split == 'train' and not own)]
    keys = {id(record): _group_key(record.name, group) for record in free}
    if group and free and not any(group.search(record.name) for record in free):
        raise UserError(
            f'--group {group.pattern!r} fits none of the names, such as {free[0].name!r}; give an '
            'expression that finds the part that images of one group share.'
        )
    places = {key: _place(key) for key in keys.values()}
    val = {key for key, place in places.items() if place < val_share}
    others = [record.split for record in records if id(record) not in keys]
    if len(places) < 2 and group and free and not {'train', 'val'} <= set(others):
        raise UserError(
            f'--group {group.pattern!r} puts all images into one group; give an expression that '
            'finds at least two.'
        )
    if len(places) > 1 or others:
        if not val and 'val' not in others:
            val = {min(places, key=places.get)}
        elif len(val) == len(places) and places and 'train' not in others:
            val.remove(max(places, key=places.get))
    found = []
    for record in records:
        free_side = 'val' if keys.get(id(record)) in val else 'train'
        found.append(free_side if id(record) in keys else record.split)
    return found


def _group_key(name: str, group: re.Pattern | None) -> str:
    path = PurePosixPath(name)
    match = group.search(name) if group else None
    if match:
        return 'group ' + str(match[1] if group.groups else match[0])
    return str(path.with_name(_ROBOFLOW.sub('', path.stem)))


def _place(key: str) -> float:
    """A place between 0 and 1, the same on every machine."""
    return (
        int.from_bytes(hashlib.sha256(key.encode('utf-8', 'replace')).digest()[:8], 'big') / 2**64
    )
