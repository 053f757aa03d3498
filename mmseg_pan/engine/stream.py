"""The training data as one endless stream, in which every sample follows from its position.

A resumed run then needs no saved state of workers or generators: it jumps to its position.
torchtitan and MosaicML Streaming make the same promise in their own ways.
"""

import random
from collections.abc import Iterator, Sized

import numpy as np
import torch
from mmengine.dist import get_dist_info

# Not MMSegmentation's: a config of any scope may have the loop that names these two.
from mmengine.registry import DATA_SAMPLERS, DATASETS
from torch.utils.data import Dataset, Sampler


def seed_everything(*key: int) -> None:
    """Seed Python's, numpy's and torch's generators from non-negative integers.

    Args:
        *key: What the random numbers shall follow from, such as (seed, position).
    """
    words = np.random.SeedSequence(key).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    torch.manual_seed(int(words[2]))


@DATA_SAMPLERS.register_module()
class StreamSampler(Sampler):
    """Yield (index, seed, position) for ever; every pass is a permutation of its own.

    The samples of a run lie at the positions 0, 1, 2, ... of one stream. Process r of w
    takes the positions r, r + w, r + 2 w, ..., so that iteration i with batches of b begins
    at position i * b * w, whatever the number of workers.

    Args:
        dataset: What the indices point into.
        shuffle: Whether passes are permuted.
        seed: Unused: :meth:`start` gives the run's seed, which a checkpoint may change.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None):
        self.size = len(dataset)
        self.shuffle = shuffle
        self._start: tuple[int, int] | None = None

    def start(self, seed: int, position: int) -> None:
        """Say where the stream begins; until then it is empty.

        mmengine's loop opens the data loader when it is built, before it knows what is
        resumed. An empty stream keeps the workers from loading samples for nothing.
        """
        self._start = seed, position

    def order(self, seed: int, number: int) -> np.ndarray:
        """Return the indices of one pass, ``(size,)``."""
        if not self.shuffle:
            return np.arange(self.size)
        return np.random.default_rng((seed, number)).permutation(self.size)

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """Yield the samples of this process."""
        if self._start is None:
            return
        seed, position = self._start
        rank, processes = get_dist_info()
        position += rank
        number = None
        while True:
            if number != position // self.size:
                number = position // self.size
                order = self.order(seed, number)
            yield int(order[position % self.size]), seed, position
            position += processes

    def __len__(self) -> int:
        """Return the number of samples in a pass."""
        return self.size


@DATASETS.register_module()
class StreamDataset(Dataset):
    """A data set whose random augmentation follows from the seed and the position.

    Args:
        dataset: The data set, or its config. All other attributes are delegated to it.
    """

    def __init__(self, dataset: dict | Dataset):
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset

    def __getitem__(self, key: tuple[int, int, int]) -> dict:
        """Load one sample, as :class:`StreamSampler` names it."""
        index, seed, position = key
        seed_everything(seed, 0, position)
        return self.dataset[index]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.dataset)

    def __getattr__(self, name: str):
        """Hand on everything else: metainfo, full_init, get_data_info ..."""
        if name == 'dataset':  # not there yet, while being unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)
