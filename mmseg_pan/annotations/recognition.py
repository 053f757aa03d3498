"""Which format a source has, its JSON files, and the image that an annotation names."""

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from mmseg_pan.datasets.lists import is_image_name, walk_files
from mmseg_pan.errors import UserError

from .records import LeftOutError

FORMATS = ('labelme', 'coco', 'masks', 'label-studio')

#: Names of folders that say which part of a data set lies in them.
SPLITS = {
    'train': 'train',
    'training': 'train',
    'valid': 'val',
    'val': 'val',
    'validation': 'val',
    'test': 'test',
    'testing': 'test',
}
#: Folders that say nothing about the images in them.
PLAIN = frozenset('images image imgs img jpegimages photos rgb data default obj_train_data'.split())

#: Folders of masks.
_MASKS = frozenset(
    'annotation annotations annot gt groundtruth ground_truth label labels labelids mask masks '
    'mask_png seg segmentation segmentations segmentationclass segmentationclassaug'.split()
)
#: 'train_masks', 'trainannot', 'train2017': a split, and the rest of the name.
_JOINED = re.compile(r'^(train(?:ing)?|valid(?:ation)?|val|test(?:ing)?)[\d_-]*(\w*)$')

#: What Label Studio puts before the names of uploads.
_UPLOAD = re.compile(r'^[0-9a-f]{8}-')

_DRIVE = re.compile(r'^[A-Za-z]:')


def split_of(part: str) -> str | None:
    """The split that a folder's or file's name stands for, such as ``train2017``."""
    joined = _JOINED.match(part.lower())
    known = joined and (not joined[2] or joined[2] in PLAIN or joined[2] in _MASKS)
    return SPLITS[joined[1]] if known else None


def folder_kind(part: str) -> str:
    """'mask' or 'plain' for folders whose names say no more than that; else 'other'."""
    joined = _JOINED.match(part.lower())
    rest = joined[2] if joined else part.lower()
    if rest in _MASKS:
        return 'mask'
    return 'plain' if rest in PLAIN or split_of(part) else 'other'


class AnnotationSource:
    """A folder of annotations and images, or one annotation file and the folder around it.

    Args:
        path: As the user typed it.
        without: A folder that is not looked into.
    """

    def __init__(self, path: Path, without: Path):
        self.path = path
        self._without = Path(os.path.realpath(without))
        self._parsed: dict[Path, Any] = {}
        folder = path if path.is_dir() else path.parent
        # COCO and CVAT have the images next to the folder of the annotations.
        beside = path.is_file() and folder.absolute().name.lower() in ('annotations', 'labels')
        self.root = folder.absolute().parent if beside else folder

    @cached_property
    def files(self) -> list[Path]:
        """Every file, sorted by path."""

        def enter(folder: Path) -> bool:
            return Path(os.path.realpath(folder)) != self._without

        return list(walk_files(self.root, enter))

    @cached_property
    def jsons(self) -> list[Path]:
        """The JSON files: all of the folder, or the one that was named."""
        if self.path.is_file():
            return [self.path]
        return [path for path in self.files if path.suffix.lower() == '.json']

    def read(self, path: Path, again: bool = False) -> Any:
        """The content of a JSON file; with ``again`` it is kept for the next time.

        Raises:
            LeftOutError: If it is none.
        """
        content = self._parsed.pop(path) if path in self._parsed else read_json(path)
        if again:
            self._parsed[path] = content
        return content

    def contents(self, kind: str) -> Iterator[tuple[Path, Any]]:
        """The JSON files of a format and what they hold; others are passed over.

        Raises:
            UserError: If one is damaged.
        """
        for path in self.jsons:
            try:
                content = self.read(path)
            except LeftOutError as error:
                raise UserError(f'{path}: {error}; export it again.') from None
            if json_format(content) == kind:
                yield path, content

    @cached_property
    def images(self) -> list[Path]:
        """Every file with the suffix of an image."""
        return [path for path in self.files if is_image_name(path.name)]

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        found = defaultdict(list)
        for path in self.images:
            found[path.name.lower()].append(path)
            found[path.stem.lower()].append(path)
        return found

    def shown(self, path: Path) -> str:
        """A path below the source, for messages."""
        return (
            path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)
        )

    def name_of(self, image: Path) -> str:
        """An image's path without the folders that say nothing about it."""
        parts = self.shown(image).split('/')
        kept = [part for part in parts[:-1] if folder_kind(part) == 'other']
        return '/'.join([*kept, parts[-1]])

    def split_of(self, path: Path) -> str | None:
        """The split that a file's folders name, the innermost first."""
        parts = path.relative_to(self.root).parts[:-1] if path.is_relative_to(self.root) else ()
        return next(filter(None, map(split_of, reversed(parts))), None)

    def find_image(self, name: Any, beside: Path, split: str | None = None) -> Path:
        """The file of an image that an annotation names.

        Args:
            name: As it stands in the annotation: a path with '/' or a Windows path.
            beside: The annotation.
            split: The part of the data set that it belongs to, if there are several such images.

        Raises:
            LeftOutError: If there is none, or several, or it lies out of the source.
        """
        if not isinstance(name, str) or not name.strip() or '\0' in name:
            raise LeftOutError(f'it names no image ({str(name)[:40]!r})')
        text = name.strip().replace('\\', '/')
        absolute = text.startswith('/') or bool(_DRIVE.match(text))
        if not absolute:
            for folder in (beside.parent, self.root):
                for path in (folder / text, folder / 'images' / text):
                    inside = Path(os.path.abspath(path)).is_relative_to(os.path.abspath(self.root))
                    if inside and path.is_file() and is_image_name(path.name):
                        return path
            if '..' in PurePosixPath(text).parts and not self._candidates(text):
                raise LeftOutError(
                    f'it names {text[:80]!r}, which is not below {self.root}; give a folder that '
                    'holds annotations and images'
                )
        found = self._candidates(text)
        if len(found) > 1 and split:
            found = [path for path in found if self.split_of(path) == split] or found
        if len(found) > 1:
            near = [path for path in found if path.parent == beside.parent]
            tails = [path for path in found if self.shown(path).endswith(text.lstrip('/'))]
            found = near or (tails if len(tails) == 1 else found)
        if not found:
            raise LeftOutError(f'its image {PurePosixPath(text).name[:80]!r} is not in {self.root}')
        if len(found) > 1:
            raise LeftOutError(
                f'{len(found)} images are named {PurePosixPath(text).name[:80]!r}: '
                f'{self.shown(found[0])}, {self.shown(found[1])}'
            )
        return found[0]

    def _candidates(self, text: str) -> list[Path]:
        """Images of that name in any folder; else those that differ in the suffix alone."""
        last = PurePosixPath(text).name.lower()
        for name in dict.fromkeys((last, _UPLOAD.sub('', last))):
            exact = [path for path in self._by_name.get(name, ()) if path.name.lower() == name]
            if exact:
                return exact
        if not is_image_name(last):
            return list(self._by_name.get(last, ()))
        stem = PurePosixPath(last).stem
        return [path for path in self._by_name.get(stem, ()) if path.stem.lower() == stem]


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        LeftOutError: If it is none; the reason names the line.
    """
    try:
        return json.loads(path.read_bytes().decode('utf-8-sig'))
    except json.JSONDecodeError as error:
        raise LeftOutError(
            f'line {error.lineno}, column {error.colno} is no valid JSON ({error.msg})'
        ) from None
    except UnicodeDecodeError as error:
        raise LeftOutError(f'byte {error.start:,} is not UTF-8, which JSON is stored in') from None
    except (RecursionError, ValueError) as error:  # too deep; an integer of thousands of digits
        raise LeftOutError(f'it is no usable JSON ({str(error)[:80]})') from None


def json_format(content: Any) -> str | None:
    """The format of a JSON file's content; None where it is another kind of file."""
    if isinstance(content, list):
        tasks = content and all(isinstance(task, dict) for task in content[:3])
        known = tasks and {'data', 'annotations', 'completions', 'annotation_id', 'image'}
        return 'label-studio' if known and known & set(content[0]) else None
    if not isinstance(content, dict):
        return None
    if {'images', 'annotations', 'categories'} <= content.keys():
        return 'coco'
    if 'shapes' in content and ('imagePath' in content or 'imageData' in content):
        return 'labelme'
    return None


def recognise(source: AnnotationSource) -> str:
    """The format of a source.

    Raises:
        UserError: If it has none of the known ones, or several.
    """
    found, broken = {}, None
    for path in source.jsons:
        try:
            kind = json_format(source.read(path, again=True))
        except LeftOutError as error:
            broken = broken or f'{path}: {error}'
            continue
        if kind:
            found.setdefault(kind, path)
        if kind == 'labelme' and len(found) == 1:
            break  # one file an image: the others are read once, later
    if len(found) > 1:
        (first, one), (second, two) = list(found.items())[:2]
        raise UserError(
            f'{source.path} holds {first} ({source.shown(one)}) and {second} '
            f'({source.shown(two)}); choose one with "--format {first}".'
        )
    if found:
        return next(iter(found))
    if broken:
        raise UserError(f'{broken[:240]}; export it again.')
    if source.path.is_dir() and source.images:
        return 'masks'
    others = sorted({path.suffix.lower() for path in source.files[:10_000]} - {''})
    hint = {'.xml': 'CVAT as "COCO 1.0" or "Segmentation mask 1.1"', '.txt': 'YOLO data as COCO'}
    advice = next((hint[suffix] for suffix in others if suffix in hint), 'one of them')
    unpack = 'unpack the archive and give the folder, or ' if '.zip' in others else ''
    raise UserError(
        f'{source.path} holds no annotations of LabelMe, COCO, Label Studio or mask images '
        f'(it has {", ".join(others[:5]) or "no files"}); {unpack}export {advice}.'
    )
