"""A segmentation data set that says what is missing before the first iteration."""

import os.path as osp

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmseg_pan.errors import UserError


@DATASETS.register_module()
class CheckedSegDataset(BaseSegDataset):
    """``BaseSegDataset`` with errors that a person can act on.

    Use it for images and masks of your own: give ``metainfo=dict(classes=...,
    palette=...)`` and, where the folder is not to be taken whole, a list. Folder, list
    and every file named are looked for when the data set is built; MMSeg itself stops
    with a bare assertion, reads the whole folder instead of a missing list, or dies in
    the middle of a run.

    Raises:
        UserError: If the folder, the list, an image or a mask is missing, or the list
            is empty.
    """

    #: What to type when data is missing; ends the sentence of the error.
    HINT = 'set data_root in the config to the folder that holds it'

    def load_data_list(self) -> list[dict]:
        """Read the list and check that each of its files is there."""
        if self.backend_args:  # files behind a remote back end are not ours to check
            return super().load_data_list()
        if self.data_root and not osp.isdir(self.data_root):
            raise UserError(f'The data folder {self.data_root} is not there; {self.HINT}.')
        if self.ann_file and not osp.exists(self.ann_file):
            raise UserError(f'The list {self.ann_file} is not there; {self.HINT}.')
        data_list = super().load_data_list()
        source = self.ann_file or self.data_prefix['img_path']
        if not data_list:
            raise UserError(f'{source} names no image at all; {self.HINT}.')
        missing = [
            sample[key]
            for sample in data_list
            for key in ('img_path', 'seg_map_path')
            if key in sample and not osp.isfile(sample[key])
        ]
        if missing:
            others = f' and {len(missing) - 1} other files' if len(missing) > 1 else ''
            raise UserError(
                f'{missing[0]}{others} not found, though {source} names them; {self.HINT}.'
            )
        return data_list
