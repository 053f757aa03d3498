"""Where the additional masks come from: SBD's ``.mat`` files, a folder or a zip of PNGs."""

import functools
import io
import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
from scipy.io import loadmat

from mmseg_pan.datasets.lists import read_ids
from mmseg_pan.datasets.masks import decode_mask
from mmseg_pan.errors import UserError

from .archives import safe_zip_entries
from .manifest import Manifest


class MaskSource(Protocol):
    """Masks by image id; it travels to the worker processes."""

    def ids(self) -> list[str]:
        """The ids that it knows, sorted."""

    def has(self) -> set[str]:
        """The ids that it holds a mask for."""

    def load(self, name: str) -> np.ndarray:
        """The ids of the pixels of one mask, ``(H, W)`` integers."""


@dataclass(frozen=True)
class SBDFolder:
    """SBD as its authors published it.

    Args:
        root: The folder with ``cls``, ``train.txt`` and ``val.txt``.
    """

    root: Path

    def __str__(self) -> str:
        """Where it lies, for messages."""
        return str(self.root)

    def ids(self) -> list[str]:
        """The ids of both lists: SBD's own split is not VOC's."""
        return sorted({*read_ids(self.root / 'train.txt'), *read_ids(self.root / 'val.txt')})

    def has(self) -> set[str]:
        """The stems of the ``.mat`` files."""
        return {path.stem for path in (self.root / 'cls').glob('*.mat')}

    def load(self, name: str) -> np.ndarray:
        """``GTcls.Segmentation`` of a ``.mat`` file."""
        path = self.root / 'cls' / f'{name}.mat'
        try:
            # Out of memory: scipy's many small reads of a file take a sixth longer.
            content = loadmat(io.BytesIO(path.read_bytes()), variable_names=['GTcls'])
        except Exception as error:  # scipy fails in many ways on a damaged file
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise UserError(
                f'{path} cannot be read as a .mat file ({error}); unpack benchmark.tgz again.'
            ) from error
        try:
            mask = content['GTcls']['Segmentation'][0, 0]
        except (KeyError, IndexError, ValueError) as error:
            raise UserError(
                f'{path} holds no GTcls.Segmentation, as each file of the folder cls of SBD does; '
                'give the folder benchmark_RELEASE/dataset, or unpack benchmark.tgz again.'
            ) from error
        if mask.ndim != 2 or mask.dtype.kind not in 'ui':
            raise UserError(
                f'{path} holds a GTcls.Segmentation of shape {mask.shape} and type {mask.dtype}, '
                'and a mask is two-dimensional with integer ids; unpack benchmark.tgz again.'
            )
        return mask


@dataclass(frozen=True)
class MaskFolder:
    """A ready ``SegmentationClassAug``, whatever its palette."""

    root: Path

    def __str__(self) -> str:
        """Where it lies, for messages."""
        return str(self.root)

    def ids(self) -> list[str]:
        """The stems of its PNGs."""
        return sorted(self.has())

    def has(self) -> set[str]:
        """The stems of its PNGs."""
        return {path.stem for path in self.root.glob('*.png') if not path.name.startswith('.')}

    def load(self, name: str) -> np.ndarray:
        """Decode one PNG."""
        path = self.root / f'{name}.png'
        return decode_mask(path.read_bytes(), str(path))


@dataclass(frozen=True)
class MaskZip:
    """The same, still zipped: masks are read out of it, nothing is unpacked."""

    path: Path
    entries: dict[str, str]

    def __str__(self) -> str:
        """Where it lies, for messages."""
        return str(self.path)

    @classmethod
    def open(cls, path: Path, manifest: Manifest) -> 'MaskZip':
        """Check the zip and find its masks in whatever folder they lie."""
        entries = {}
        for entry in safe_zip_entries(path, manifest):
            name = PurePosixPath(entry.filename)
            # macOS adds a second, unreadable file for each under __MACOSX.
            if name.suffix != '.png' or name.parts[0] == '__MACOSX' or name.name.startswith('.'):
                continue
            if name.stem in entries:
                raise UserError(f'{path} holds two masks named {name.name}; remove one of them.')
            entries[name.stem] = entry.filename
        if not entries:
            raise UserError(
                f'{path} holds no PNG; give a zip of SegmentationClassAug, or benchmark.tgz.'
            )
        return cls(path, entries)

    def ids(self) -> list[str]:
        """The stems of its PNGs."""
        return sorted(self.entries)

    def has(self) -> set[str]:
        """The stems of its PNGs."""
        return set(self.entries)

    def load(self, name: str) -> np.ndarray:
        """Decode one PNG; zip's own checksum is verified on the way."""
        shown = f'{self.path}:{self.entries[name]}'
        try:
            archive = _opened_zip(self.path, os.getpid(), self.path.stat().st_mtime_ns)
            data = archive.read(self.entries[name])
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise UserError(
                f'{shown} cannot be unpacked ({error}); download the zip again.'
            ) from error
        return decode_mask(data, shown)


@functools.lru_cache(maxsize=1)
def _opened_zip(path: Path, process: int, changed: int) -> zipfile.ZipFile:
    """One open zip a process: reading its directory for each mask would take longest."""
    return zipfile.ZipFile(path)
