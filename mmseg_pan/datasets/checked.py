"""A segmentation data set that says what is wrong before it reaches the loss."""

import os.path as osp
from typing import Any

from mmseg.datasets import BaseSegDataset, PascalVOCDataset
from mmseg.registry import DATASETS

from mmseg_pan.errors import UserError

from .inspection import breaking, inspect_pair, mask_rules


@DATASETS.register_module()
class CheckedSegDataset(BaseSegDataset):
    """``BaseSegDataset`` with errors that a person can act on.

    Use it for images and masks of your own: give ``metainfo=dict(classes=...,
    palette=...)`` and, where the folder is not to be taken whole, a list. Folder, list
    and every file named are looked for when the data set is built; MMSeg itself stops
    with a bare assertion, reads the whole folder instead of a missing list, or dies in
    the middle of a run.

    Each pair is inspected when it is first loaded (about 1 ms, once a worker): an id
    outside the classes would be an IndexError in the loss on a CPU and a device assert
    on CUDA, and a JPEG that was cut would be trained on with grey in its place.

    Raises:
        UserError: If the folder, the list, an image or a mask is missing, the list is
            empty, or no classes are given; on loading, if a file is damaged, image and
            mask differ in size, or the mask holds colours or an id outside the classes.
    """

    #: What to type when data is missing; ends the sentence of the error.
    HINT = 'set data_root in the config to the folder that holds it'

    def load_data_list(self) -> list[dict]:
        """Read the list and check that each of its files is there."""
        if not self.metainfo.get('classes'):
            raise UserError(
                'The data set names no classes; add metainfo=dict(classes=[...]) to it in the '
                'config, in the order of the ids in the masks.'
            )
        if self.backend_args:  # files behind a remote back end are not ours to check
            return super().load_data_list()
        if self.data_root and not osp.isdir(self.data_root):
            raise UserError(f'The data folder {self.data_root} is not there; {self.HINT}.')
        if self.ann_file and not osp.exists(self.ann_file):
            raise UserError(f'The list {self.ann_file} is not there; {self.HINT}.')
        if not osp.isdir(self.data_prefix['img_path']):
            raise UserError(f'The folder {self.data_prefix["img_path"]} is not there; {self.HINT}.')
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

    def prepare_data(self, idx: int) -> Any:
        """Inspect a pair when it first comes, and run the pipeline on it.

        MMSeg replaces a sample that the pipeline gives up by another one at random; here
        it is an error that names the file.
        """
        sample = self.get_data_info(idx)
        image, mask = sample['img_path'], sample.get('seg_map_path')
        inspected = self.__dict__.setdefault('_inspected', set())
        if not self.backend_args and image not in inspected:
            self._refuse_faults(image, mask, decode_image=False)
            inspected.add(image)
        try:
            data = self.pipeline(sample)
        except Exception:
            if not self.backend_args:  # a damaged file explains more than what it led to
                self._refuse_faults(image, mask, decode_image=True)
            raise
        if data is None:
            raise UserError(
                f'The pipeline gave nothing for {image}: a transform drops samples that it '
                'cannot read, such as LoadImageFromFile with ignore_empty=True; remove that.'
            )
        return data

    def _refuse_faults(self, image: str, mask: str | None, decode_image: bool) -> None:
        rules, _ = mask_rules(self)
        for fault in breaking(inspect_pair(image, mask, rules, decode_image).faults):
            legal = f'0-{len(self.metainfo["classes"]) - 1} and {self.ignore_index} (ignored)'
            expected = f', legal are {legal}' if fault.kind == 'illegal ids' else ''
            raise UserError(
                f'{fault.path}: {fault.kind}, {fault.detail}{expected}; mend or remove it, and '
                'find all others with "python tools/verify_dataset.py CONFIG".'
            )


@DATASETS.register_module()
class VOCAugDataset(CheckedSegDataset):
    """VOC 2012 + SBD: 21 classes, 255 for the border and unlabelled pixels.

    MMSeg already registers ``PascalVOCDataset``; classes and palette are its own. What
    it is, and where it comes from, stands in ``docs/data.md``.
    """

    METAINFO = PascalVOCDataset.METAINFO
    HINT = (
        'set the environment variable VOC_ROOT to the folder VOCdevkit/VOC2012, or make '
        'it with "python tools/dataset_converters/voc_aug.py DEVKIT AUG"'
    )
