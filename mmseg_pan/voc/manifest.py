"""The expected contents of VOC 2012 + SBD: all checksums, counts and hashes."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mmseg_pan.errors import UserError


def hash_ids(ids: Iterable[str]) -> str:
    r"""SHA-256 of a list of ids, whatever its order.

    Args:
        ids: Image ids such as ``2007_000032``, without extension.

    Returns:
        Hexadecimal digest of the ids sorted by code point and joined by ``\n``, without
        a final newline, encoded as UTF-8.
    """
    return hashlib.sha256('\n'.join(sorted(ids)).encode()).hexdigest()


@dataclass(frozen=True)
class ArchiveFacts:
    """An archive as its authors published it.

    Args:
        name: Its file name, for messages.
        md5: Its MD5. Weak against a forger, but the checksum that was published.
    """

    name: str
    md5: str


@dataclass(frozen=True)
class ListFacts:
    """A list of image ids: how many, and their :func:`hash_ids`."""

    count: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Everything that is expected of the data set; tests bring their own.

    Args:
        voc: VOC's archive.
        sbd: SBD's archive.
        lists: What ``train``, ``val``, ``trainaug`` and ``aug`` must hold.
        num_classes: Legal mask ids are ``0 .. num_classes - 1`` and ``ignore_index``.
        ignore_index: The id of the border and of unlabelled pixels.
        max_unpacked_bytes: More than this in an archive is taken for a bomb.
        max_members: Likewise for the number of files.
    """

    voc: ArchiveFacts
    sbd: ArchiveFacts
    lists: Mapping[str, ListFacts]
    num_classes: int = 21
    ignore_index: int = 255
    max_unpacked_bytes: int = 8 * 2**30
    max_members: int = 100_000

    @property
    def legal_ids(self) -> frozenset[int]:
        """The ids that a mask may hold."""
        return frozenset((*range(self.num_classes), self.ignore_index))

    def check_list(self, name: str, ids: list[str], source: str) -> None:
        """Compare a list with what it must hold.

        Args:
            name: ``train``, ``val``, ``trainaug`` or ``aug``.
            ids: The ids found.
            source: Where they come from, for the message.

        Raises:
            UserError: If an id comes twice, or count or hash differ.
        """
        twice = sorted(item for item, count in Counter(ids).items() if count > 1)
        if twice:
            raise UserError(
                f'{source} names {twice[0]} and {len(twice) - 1} other ids more than once; '
                f'restore it from {self.voc.name} or {self.sbd.name}.'
            )
        expected = self.lists[name]
        if len(ids) != expected.count:
            raise UserError(
                f'{source} gives {len(ids):,} ids for the list {name}, and the official one '
                f'has {expected.count:,}; restore the lists from {self.voc.name} and '
                f'{self.sbd.name}.'
            )
        if hash_ids(ids) != expected.sha256:
            raise UserError(
                f'{source} gives {len(ids):,} ids for the list {name}, as many as the official '
                f'one, but other ones; restore the lists from {self.voc.name} and '
                f'{self.sbd.name}.'
            )


VOC_2012_AUG = Manifest(
    voc=ArchiveFacts('VOCtrainval_11-May-2012.tar', '6cd6e144f989b92b3379bac3b3de84fd'),
    sbd=ArchiveFacts('benchmark.tgz', '82b4d87ceb2ed10f6038a1cba92111cb'),
    lists={
        'train': ListFacts(
            1464, '129f1fe991729b1862115b77738c938c149c1f167baa02b4b3186aea9f0d6a84'
        ),
        'val': ListFacts(1449, '6f8edc37993764f6e212237d39546fb595246244147e8a050813c520aac0ade1'),
        'trainaug': ListFacts(
            10582, '855dff350b7f447bf43cb98ea626a32e0d0b3b7c5786e03b2712a21355b635bf'
        ),
        'aug': ListFacts(9118, '6d42f86cb89ef37e793748bac95003e09cf3a88ac6453cc678a0c67b45ed0aa5'),
    },
)
