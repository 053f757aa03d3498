"""Label maps lie in the sub-folders of their images; labels that are no class are an error."""

import re

import numpy as np
import pytest
import torch
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_pan import UserError
from mmseg_pan.evaluation import FastIoUMetric
from mmseg_pan.evaluation.confusion import confusions, mean_iou
from mmseg_pan.evaluation.label_map_files import (
    check_label_map_files,
    image_root,
    label_map_file,
)

CLASSES = ('sky', 'cat', 'dog')


@pytest.fixture
def write(tmp_path):
    def pair(name, mask, suffix='.jpg'):
        for kind, array, end in (
            ('images', np.zeros((*mask.shape, 3)), suffix),
            ('masks', mask, '.png'),
        ):
            path = tmp_path / kind / f'{name}{end}'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(path)

    return pair


def dataset(root, folder='', **more):
    more.setdefault('metainfo', dict(classes=CLASSES))
    return BaseSegDataset(
        data_root=str(root),
        data_prefix=dict(img_path=f'images/{folder}', seg_map_path=f'masks/{folder}'),
        pipeline=[],
        **more,
    )


def measure(data, folder, predict):
    """Metrics of a test that writes label maps, as tools/test.py has it."""
    metric = FastIoUMetric(data.ignore_index, output_dir=str(folder), image_root=image_root(data))
    metric.dataset_meta = data.metainfo
    for index in range(len(data)):
        info = data.get_data_info(index)
        truth = torch.from_numpy(LoadAnnotations()(dict(info))['gt_seg_map'])
        sample = dict(
            pred_sem_seg=dict(data=predict(truth)[None]),
            gt_sem_seg=dict(data=truth[None]),
            img_path=info['img_path'],
            reduce_zero_label=info['reduce_zero_label'],
        )
        metric.process({}, [sample])
    return metric.evaluate(len(data))


@pytest.mark.parametrize(
    ('ids', 'options'),
    [
        ((0, 1, 2, 255), {}),
        ((0, 1, 2, 250), dict(ignore_index=250)),
        ((0, 1, 2, 0), dict(ignore_index=0)),
        ((1, 2, 3, 0), dict(reduce_zero_label=True)),
    ],
    ids=['usual', 'other ignored id', 'the first class is ignored', 'reduce_zero_label'],
)
def test_table_and_label_maps_give_one_number(write, tmp_path, ids, options):
    random = np.random.default_rng(0)
    for name in ('one/001', 'two/001', 'two/deep/001', '001'):
        write(name, random.choice(ids, (12, 17)).astype(np.uint8))
    data = dataset(tmp_path, **options)
    assert len(data) == 4

    def predict(truth):
        """Some pixels wrong, and another class in each image."""
        wrong = torch.rand(truth.shape) < 0.3
        return torch.where(wrong, torch.randint(3, ()), truth.long().clamp(max=2))

    table = measure(data, tmp_path / 'maps', predict)
    assert len(list((tmp_path / 'maps').rglob('*.png'))) == 4
    found = confusions(data, tmp_path / 'maps').sum(0)
    assert mean_iou(found, CLASSES) == pytest.approx(table['mIoU'], abs=0.006)


@DATASETS.register_module()
class ThreeAnimals(BaseSegDataset):
    METAINFO = dict(classes=CLASSES, palette=[[0, 0, 0], [9, 9, 9], [99, 99, 99]])


def test_a_choice_of_classes_gives_one_number(write, tmp_path):
    random = np.random.default_rng(0)
    for name in ('one/001', 'two/001'):
        write(name, random.integers(0, 3, (12, 17)).astype(np.uint8))
    data = ThreeAnimals(
        data_root=str(tmp_path),
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        metainfo=dict(classes=('dog', 'sky')),
        pipeline=[],
    )
    table = measure(data, tmp_path / 'maps', lambda truth: torch.randint(2, truth.shape))
    found = confusions(data, tmp_path / 'maps').sum(0)
    assert 0 < mean_iou(found, 'ab') < 100
    assert mean_iou(found, 'ab') == pytest.approx(table['mIoU'], abs=0.006)


def test_a_list_that_leaves_the_folder_of_the_images(write, tmp_path):
    """The label maps must not leave theirs."""
    mask = np.zeros((4, 4), np.uint8)
    for name in ('val/a', 'train/a'):
        write(name, mask)
    (tmp_path / 'list.txt').write_text('a\n../train/a\n')
    data = dataset(tmp_path, 'val', ann_file='list.txt')
    maps = [
        label_map_file('out', data.get_data_info(i)['img_path'], image_root(data)) for i in (0, 1)
    ]
    assert [path.as_posix() for path in maps] == ['out/val/a.png', 'out/train/a.png']


def test_several_data_sets_keep_their_folders_and_may_not_share_a_map(write, tmp_path):
    mask = np.zeros((4, 4), np.uint8)
    write('one/a', mask)
    write('two/a', mask)
    write('two/a', mask, '.tif')
    parts = [dict(type='BaseSegDataset', img_suffix='.jpg'), dict(type='BaseSegDataset')]
    for part, folder in zip(parts, ('one', 'two'), strict=True):
        part.update(
            data_root=str(tmp_path),
            data_prefix=dict(img_path=f'images/{folder}', seg_map_path=f'masks/{folder}'),
            metainfo=dict(classes=CLASSES),
        )
    data = DATASETS.build(dict(type='ConcatDataset', datasets=parts))
    check_label_map_files(data, 'out')
    assert image_root(data) == str(tmp_path / 'images')
    parts.append(dict(parts[1], img_suffix='.tif'))
    data = DATASETS.build(dict(type='ConcatDataset', datasets=parts))
    with pytest.raises(UserError, match=r'a\.jpg and .*a\.tif would share the label map out/two/a'):
        check_label_map_files(data, 'out')


@pytest.mark.parametrize('stray', [3, 77, 254])
def test_a_label_that_is_no_class_is_named_by_test_and_by_matrix(write, tmp_path, stray):
    mask = np.zeros((6, 5), np.uint8)
    write('good', mask)
    mask[2, 2] = stray
    write('odd', mask)
    data = dataset(tmp_path)
    words = rf'odd\.\w+: illegal ids, ids {stray}, legal are 0-2 and 255 \(ignored\)'
    with pytest.raises(UserError, match=words):
        measure(data, tmp_path / 'maps', lambda truth: torch.zeros_like(truth))
    for name in ('good', 'odd'):
        (tmp_path / 'maps').mkdir(exist_ok=True)
        Image.fromarray(np.zeros((6, 5), np.uint8)).save(tmp_path / f'maps/{name}.png')
    with pytest.raises(UserError, match=words):
        confusions(data, tmp_path / 'maps')


def test_labels_of_another_size_than_the_prediction():
    metric = FastIoUMetric()
    metric.dataset_meta = dict(classes=CLASSES)
    small, large = torch.zeros(1, 4, 4), torch.zeros(1, 8, 8)
    sample = dict(pred_sem_seg=dict(data=large), gt_sem_seg=dict(data=small), img_path='a.jpg')
    with pytest.raises(UserError, match=re.escape('a.jpg are (4, 4) pixels when loaded')):
        metric.process({}, [sample])


def test_images_of_one_row_and_more_than_256_classes_are_written_whole(tmp_path):
    metric = FastIoUMetric(output_dir=str(tmp_path), format_only=True)
    metric.dataset_meta = dict(classes=[str(i) for i in range(300)])
    labels = torch.arange(300)[None]
    metric.process({}, [dict(pred_sem_seg=dict(data=labels[None]), img_path='x/a.jpg')])
    assert np.array(Image.open(tmp_path / 'a.png')).tolist() == labels.tolist()
