"""The data sets say what is wrong, before the loss, whatever loads them."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from PIL import Image
from torch.utils.data import DataLoader

from mmseg_pan.cli import sentence
from mmseg_pan.datasets import CheckedSegDataset, VOCAugDataset
from mmseg_pan.datasets.masks import encode_mask
from mmseg_pan.errors import UserError
from tests.engine.runs import end_loader
from tests.mini_voc import TRAIN, MiniVOC, mask_of

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]


def build(mini: MiniVOC, **changes) -> VOCAugDataset:
    arguments = dict(
        type='VOCAugDataset',
        data_root=str(mini.voc),
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file='ImageSets/Segmentation/train.txt',
        pipeline=PIPELINE,
    )
    return DATASETS.build({**arguments, **changes})


def image_of(mini: MiniVOC, index: int = 1) -> Path:
    return mini.voc / 'JPEGImages' / f'{TRAIN[index]}.jpg'


def mask_path(mini: MiniVOC, index: int = 1) -> Path:
    return mini.voc / 'SegmentationClass' / f'{TRAIN[index]}.png'


def test_good_data(mini):
    dataset = build(mini)
    assert len(dataset) == len(TRAIN)
    for index, name in enumerate(TRAIN):
        sample = dataset[index]['data_samples']
        np.testing.assert_array_equal(sample.gt_sem_seg.data[0], mask_of(name, 'voc'))


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        (dict(data_root='nowhere'), 'data folder nowhere does not exist; set the environment'),
        (
            dict(ann_file='ImageSets/Segmentation/aug.txt'),
            r'list .*aug\.txt does not exist; .*make',
        ),
        (
            dict(data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassAug')),
            r'2007_000032\.png and 3 other files not found, .* make it with "python tools/data',
        ),
        (dict(data_prefix=dict(img_path='JPEG', seg_map_path='x')), 'folder .*JPEG does not exist'),
    ],
)
def test_missing_data_is_one_sentence(mini, changes, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        build(mini, **changes)
    assert 'VOC_ROOT' in str(caught.value)


def test_empty_list_and_no_classes(mini):
    (mini.voc / 'ImageSets' / 'Segmentation' / 'train.txt').write_text('')
    with pytest.raises(UserError, match='contains no images'):
        build(mini)
    with pytest.raises(UserError, match=r'names no classes; add metainfo=dict\(classes'):
        build(mini, type='CheckedSegDataset')


@pytest.mark.parametrize(
    ('folds', 'taken'),
    [
        (dict(count=3, used=(0,)), [0, 3]),
        (dict(count=3, used=(1, 2)), [1, 2]),
        (dict(count=1, used=[0]), [0, 1, 2, 3]),
        (dict(count=4, used=(3,)), [3]),
    ],
)
@pytest.mark.parametrize('listed', [True, False], ids=['list', 'folder'])
def test_folds_take_a_part_of_the_images(mini, folds, taken, listed):
    for path in (mini.voc / 'JPEGImages').iterdir():
        if path.stem not in TRAIN:
            path.unlink()
    ann_file = 'ImageSets/Segmentation/train.txt' if listed else ''
    dataset = build(mini, ann_file=ann_file, folds=folds)
    found = [Path(dataset.get_data_info(i)['img_path']).stem for i in range(len(dataset))]
    assert found == [TRAIN[i] for i in taken]
    assert len(dataset.find_pairs().pairs) == len(taken)


@pytest.mark.parametrize(
    ('folds', 'sentence'),
    [
        (dict(count=3, used=()), r'count=3, used=\(\)\) takes no part of the images'),
        (dict(count=3, used=(3,)), '"used" must name folds from 0 to "count" - 1'),
        (dict(count=0, used=(0,)), 'takes no part of the images'),
        (dict(count=9, used=(8,)), r'names 4 images, and none of them is in the folds \[8\] of 9'),
    ],
)
def test_folds_that_hold_nothing(mini, folds, sentence):
    with pytest.raises(UserError, match=sentence):
        build(mini, folds=folds)


def spoil_ids(mini: MiniVOC) -> None:
    mask = mask_of(TRAIN[1], 'voc')
    mask[0, :2] = (21, 77)
    mask_path(mini).write_bytes(encode_mask(mask))


def spoil_colour(mini: MiniVOC) -> None:
    with Image.open(mask_path(mini)) as image:
        image.convert('RGB').save(mask_path(mini))


def spoil_size(mini: MiniVOC) -> None:
    mask_path(mini).write_bytes(encode_mask(np.zeros((3, 3), np.uint8)))


def cut_image(mini: MiniVOC) -> None:
    """What OpenCV decodes silently, with grey in place of what is missing."""
    image_of(mini).write_bytes(image_of(mini).read_bytes()[:-3])


def noise(mini: MiniVOC) -> None:
    image_of(mini).write_bytes(b'noise' * 99)


def empty(mini: MiniVOC) -> None:
    image_of(mini).write_bytes(b'')


def cut_mask(mini: MiniVOC) -> None:
    mask_path(mini).write_bytes(mask_path(mini).read_bytes()[:-3])


SPOILED = [
    (spoil_ids, r'\.png: illegal ids, ids 21, 77, legal are 0-20 and 255 \(ignored\); fix'),
    (spoil_colour, r'\.png: colour mask, mode RGB instead'),
    (spoil_size, r'\.png: different sizes, 3x3, and the image loads as'),
    (cut_image, r'\.jpg: truncated, the JPEG has no end mark'),
    (noise, r'\.jpg: unreadable, cannot identify image file'),
    (empty, r'\.jpg: zero bytes, the file is empty'),
    (cut_mask, r'\.png: truncated, the PNG has no end mark'),
]


@pytest.mark.parametrize(('spoil', 'match'), SPOILED)
@pytest.mark.parametrize('test_mode', [False, True])
def test_damaged_pair_is_refused_by_name(mini, spoil, match, test_mode):
    dataset = build(mini, test_mode=test_mode)
    spoil(mini)
    with pytest.raises(UserError, match=TRAIN[1] + match):
        dataset[1]
    dataset[0]  # the others are good


@pytest.mark.parametrize('workers', [0, 1, 2])
def test_foreign_id_is_refused_on_any_number_of_workers(mini, workers):
    spoil_ids(mini)
    loader = DataLoader(build(mini), batch_size=2, num_workers=workers, collate_fn=pseudo_collate)
    iterator = iter(loader)
    with pytest.raises(UserError) as caught:
        list(iterator)
    end_loader(iterator)
    text = sentence(caught.value)
    assert text.startswith(f'{mask_path(mini)}: illegal ids, ids 21, 77')
    assert '\n' not in text


def test_foreign_id_is_refused_inside_test_time_augmentation(mini):
    """Evaluation would silently ignore such pixels."""
    config = Config.fromfile(CONFIGS / '_base_' / 'datasets' / 'voc_aug.py')
    spoil_ids(mini)
    dataset = build(mini, pipeline=config.tta_pipeline, test_mode=True)
    with pytest.raises(UserError, match='illegal ids'):
        dataset[1]


def test_foreign_id_stays_refused_with_fewer_classes(mini):
    spoil_ids(mini)
    dataset = build(mini, metainfo=dict(classes=['background', 'person']))
    with pytest.raises(UserError, match='ids 21, 77, legal are'):
        dataset[1]


def test_unreadable_sample_is_never_replaced(mini):
    """A lenient loader gives None, and MMSeg would take another image in its place."""
    lenient = [dict(type='LoadImageFromFile', ignore_empty=True), *PIPELINE[1:]]
    dataset = build(mini, pipeline=lenient)
    dataset[1]
    noise(mini)  # after it was inspected once
    with pytest.raises(UserError, match='unreadable'):
        dataset[1]
    image_of(mini).unlink()
    with pytest.raises(UserError, match=f'gave nothing for .*{TRAIN[1]}'):
        dataset[1]


def test_damage_in_the_middle_is_told_by_name(mini):
    """Header and end are in order: what OpenCV then fails on is explained by the file."""
    dataset = build(mini)
    good = image_of(mini).read_bytes()
    image_of(mini).write_bytes(good[:200] + b'\xff\xda\xff\xd9')
    with pytest.raises(UserError, match=f'{TRAIN[1]}.jpg'):
        dataset[1]


def test_defect_of_a_transform_keeps_its_own_error(mini):
    def broken(results: dict) -> dict:
        raise ZeroDivisionError('a defect')

    dataset = build(mini, pipeline=[*PIPELINE[:2], broken])
    with pytest.raises(ZeroDivisionError, match='a defect'):
        dataset[1]


def test_subset_inspects_its_own_files(mini):
    dataset = build(mini)
    dataset[0]
    spoil_ids(mini)
    with pytest.raises(UserError, match='illegal ids'):
        dataset.get_subset([1])[0]


def test_every_voc_config_uses_the_checked_data_set():
    found = 0
    for path in sorted((CONFIGS / 'pan').glob('*voc*.py')):
        config = Config.fromfile(path)
        inner = [config.train_dataloader.dataset, config.val_dataloader.dataset]
        while inner:
            dataset = inner.pop()
            if 'datasets' in dataset:
                inner += dataset.datasets
            else:
                assert dataset.type == 'VOCAugDataset', path.name
                found += 1
    assert found > 30


def test_voc_classes_are_mmsegs():
    assert issubclass(VOCAugDataset, CheckedSegDataset)
    assert len(VOCAugDataset.METAINFO['classes']) == 21
