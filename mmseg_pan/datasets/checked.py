"""A segmentation data set that reports faults before they reach the loss."""

import logging
import os.path as osp
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset, CityscapesDataset, PascalVOCDataset
from mmseg.registry import DATASETS

from mmseg_pan.errors import UserError

from .inspection import Fault, breaking, inspect_pair, left_out_fault, mask_rules, repeated
from .lists import Found, Layout, of_folder, of_list
from .reading import Loading


@DATASETS.register_module()
class CheckedSegDataset(BaseSegDataset):
    """``BaseSegDataset`` with actionable error messages.

    Use it for images and masks of your own: give ``metainfo=dict(classes=...,
    palette=...)`` and, where the folder is not to be taken whole, a list. Folder, list
    and every file named are looked for when the data set is built; MMSeg itself stops
    with a bare assertion, reads the whole folder instead of a missing list, or dies in
    the middle of a run.

    Each pair is inspected when it is first loaded (about 1 ms, once a worker): an id
    outside the classes would be an IndexError in the loss on a CPU and a device assert
    on CUDA, and a JPEG that was cut would be trained on with grey in its place. What would
    bias the training is logged as a warning, once for each kind.

    A list may have a byte-order mark, empty lines, suffixes, or images and masks in two columns.

    Args:
        folds: The part of the images to take, as ``dict(count=3, used=(1, 2))``: images are dealt
            in turn to ``count`` folds, numbered from 0, and those of the folds ``used`` are taken.
            None: all images.

    Raises:
        UserError: If the folder, the list, an image or a mask is missing, the list is
            empty, no classes are given, or ``folds`` takes nothing; on loading, if a file is
            damaged, image and mask differ in size, or the mask holds colours or an id outside
            the classes.
    """

    #: What to type when data is missing; ends the sentence of the error.
    HINT = 'set data_root in the config to the folder that holds it'

    def __init__(self, *args, folds: dict | None = None, **kwargs) -> None:
        self._folds = None if folds is None else _folds(**folds)
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the list and check that each of its files is there."""
        if not self.metainfo.get('classes'):
            raise UserError(
                'The data set names no classes; add metainfo=dict(classes=[...]) to it in the '
                'config, in the order of the ids in the masks.'
            )
        if self.backend_args:  # files behind a remote back end are not ours to check
            return self._taken(super().load_data_list())
        if self.data_root and not osp.isdir(self.data_root):
            raise UserError(f'The data folder {self.data_root} does not exist; {self.HINT}.')
        if self.ann_file and not osp.exists(self.ann_file):
            raise UserError(f'The list {self.ann_file} does not exist; {self.HINT}.')
        if not osp.isdir(self.data_prefix['img_path']):
            raise UserError(
                f'The folder {self.data_prefix["img_path"]} does not exist; {self.HINT}.'
            )
        found = self.find_pairs()
        source = self.ann_file or self.data_prefix['img_path']
        if found.unclear:
            number, text = next(iter(found.unclear.items()))
            raise UserError(
                f'Line {number} of {source} is unclear: {text[:60]!r} is neither the name of an '
                f'image (its file ends in img_suffix={self.img_suffix!r}) nor an image and its '
                'mask; fix the line.'
            )
        if not found.pairs and found.left_out:
            raise UserError(
                f'{source} contains no image that ends in img_suffix={self.img_suffix!r}, but '
                f'{len(found.left_out)} others such as {Path(found.left_out[0]).name}; set '
                f'img_suffix={Path(found.left_out[0]).suffix!r} in the config.'
            )
        if not found.pairs:
            raise UserError(f'{source} contains no images; {self.HINT}.')
        if twice := repeated(found.pairs, source):
            self._warn(twice[0])
        if found.left_out:
            self._warn(left_out_fault(source, self.img_suffix, found.left_out))
        common = dict(label_map=self.label_map, reduce_zero_label=self.reduce_zero_label)
        data_list = [
            dict(
                img_path=image, **({'seg_map_path': mask} if mask else {}), **common, seg_fields=[]
            )
            for image, mask in found.pairs
        ]
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

    def find_pairs(self) -> Found:
        """What the list names, or the folder holds; nothing of it need be there."""
        layout = Layout(
            self.data_prefix['img_path'],
            self.data_prefix.get('seg_map_path'),
            self.img_suffix,
            self.seg_map_suffix,
            self.data_root or '',
        )
        if self.ann_file and not osp.isdir(self.ann_file):
            found = of_list(self.ann_file, layout)
        else:
            found = of_folder(layout)
        found.pairs = self._taken(found.pairs)
        return found

    def _taken(self, entries: list) -> list:
        if self._folds is None:
            return entries
        count, used = self._folds
        taken = [entry for i, entry in enumerate(entries) if i % count in used]
        if entries and not taken:
            source = self.ann_file or self.data_prefix['img_path']
            raise UserError(
                f'{source} names {len(entries)} images, and none of them is in the folds '
                f'{sorted(used)} of {count}; name more images, or leave "folds" out of the config.'
            )
        return taken

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
        loading = Loading.of(getattr(self.pipeline, 'transforms', ()))
        faults = inspect_pair(image, mask, rules, loading, decode_image).faults
        for fault in breaking(faults):
            expected = f', legal are {rules}' if fault.kind == 'illegal ids' else ''
            raise UserError(
                f'{fault.path}: {fault.kind}, {fault.detail}{expected}; fix or remove it, and '
                'find all others with "python tools/verify_dataset.py CONFIG".'
            )
        for fault in faults:
            self._warn(fault)

    def _warn(self, fault: Fault) -> None:
        """Log faults that bias training, the first of each kind."""
        warned = self.__dict__.setdefault('_warned', set())
        if fault.kind in warned:
            return
        warned.add(fault.kind)
        print_log(
            f'{fault.path}: {fault.kind}, {fault.detail}; "python tools/verify_dataset.py CONFIG" '
            'names every such file.',
            logger='current',
            level=logging.WARNING,
        )


def _folds(count: int, used: Sequence[int]) -> tuple[int, frozenset[int]]:
    if not used or not set(used) <= set(range(count)):
        raise UserError(
            f'folds=dict(count={count}, used={used}) takes no part of the images: "used" must '
            'name folds from 0 to "count" - 1.'
        )
    return count, frozenset(used)


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


@DATASETS.register_module()
class CheckedCityscapesDataset(CheckedSegDataset):
    """Cityscapes in the layout of its archives, a folder for each city: 19 classes.

    Classes, palette and suffixes are those of MMSeg's ``CityscapesDataset``. The archives hold
    masks of 34 ids; those of the 19 trained classes are made once, see ``docs/data.md``.
    """

    METAINFO = CityscapesDataset.METAINFO
    HINT = (
        'set the environment variable CITYSCAPES_ROOT to the folder that holds leftImg8bit and '
        'gtFine; "CITYSCAPES_DATASET=FOLDER csCreateTrainIdLabelImgs" of cityscapesscripts makes '
        'the masks *_labelTrainIds.png in it'
    )

    def __init__(
        self,
        img_suffix: str = '_leftImg8bit.png',
        seg_map_suffix: str = '_gtFine_labelTrainIds.png',
        **kwargs,
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
