"""Labelled images of one data set, of several in one, or of a repeated one."""

from collections.abc import Iterator

from mmengine.dataset import RepeatDataset
from mmseg.datasets import BaseSegDataset

from mmseg_pan.errors import UserError


class LabelledImages:
    """What reports and matrices need of a test set, whatever wraps it.

    ``ConcatDataset`` gives the images of its parts in turn; a repeated set gives each image
    once, which leaves every IoU as it is.

    Args:
        dataset: Of ``test_dataloader``, built.
        purpose: What the labels are for, to begin a message with.

    Raises:
        UserError: If it has no labels, is wrapped in something else, or its parts ignore
            different ids.
    """

    def __init__(self, dataset, purpose: str):
        while isinstance(dataset, RepeatDataset):
            dataset = dataset.dataset
        self.members = list(_members(dataset, purpose))
        if not self.members or 'seg_map_path' not in self.get_data_info(0):
            raise UserError(
                f'{purpose} needs labels to compare with, but the data set of test_dataloader has '
                'none; test on one with data_prefix.seg_map_path.'
            )
        self.datasets = list({id(part): part for part, _ in self.members}.values())
        self.metainfo = dataset.metainfo
        ignored = {part.ignore_index for part in self.datasets}
        if len(ignored) > 1:
            first, second = sorted(ignored)[:2]
            raise UserError(
                f'{purpose} needs one ignored id, and the parts of test_dataloader have '
                f'ignore_index={first} and ignore_index={second}; set one of them in both.'
            )
        self.ignore_index = ignored.pop()
        self.reduce_zero_label = self.datasets[0].reduce_zero_label
        self.kind = type(dataset).__name__

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self.members)

    def get_data_info(self, index: int) -> dict:
        """Return ``img_path``, ``seg_map_path`` and the rest of an image."""
        part, number = self.members[index]
        return part.get_data_info(number)


def _members(dataset, purpose: str) -> Iterator[tuple[BaseSegDataset, int]]:
    """Pairs of a single data set and an index, in the order of the whole."""
    if isinstance(dataset, BaseSegDataset):
        yield from ((dataset, number) for number in range(len(dataset)))
    elif isinstance(dataset, RepeatDataset):
        for _ in range(dataset.times):
            yield from _members(dataset.dataset, purpose)
    elif hasattr(dataset, 'datasets'):
        for part in dataset.datasets:
            yield from _members(part, purpose)
    else:
        raise UserError(
            f'{purpose} is for data sets of MMSegmentation, alone or in ConcatDataset or '
            f'RepeatDataset, and test_dataloader has {type(dataset).__name__}.'
        )
