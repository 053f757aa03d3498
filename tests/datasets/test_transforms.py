"""The fast transforms against MMSegmentation's: the same bits, and the same random state."""

import copy
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.transforms.utils import cache_random_params
from mmengine.config import Config
from mmengine.dataset import Compose
from mmseg.registry import TRANSFORMS
from mmseg.structures import SegDataSample
from PIL import Image

from mmseg_pan.datasets import transforms

BASE = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'datasets'
NAMES = ('FastRandomCrop', 'FastRandomFlip', 'FastPhotoMetricDistortion', 'FastPackSegInputs')


def of_stock(step: dict) -> dict:
    return {**step, 'type': step['type'].removeprefix('Fast')}


def assert_same(one, two):
    """Equal in type, shape, dtype and value, all the way down."""
    assert type(one) is type(two)
    if isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            assert_same(one[key], two[key])
    elif isinstance(one, np.ndarray):
        assert (one.shape, one.dtype) == (two.shape, two.dtype)
        np.testing.assert_array_equal(one, two)
    elif isinstance(one, torch.Tensor):
        assert one.is_contiguous() and two.is_contiguous()
        assert one.dtype == two.dtype
        assert torch.equal(one, two)
    elif isinstance(one, SegDataSample):
        assert_same(one.metainfo, two.metainfo)
        assert one.all_keys() == two.all_keys()
        assert_same(one.gt_sem_seg.data, two.gt_sem_seg.data)
    else:
        assert one == two


def random_state():
    name, keys, *rest = np.random.get_state()
    return name, keys.tobytes(), *rest, random.getstate(), torch.get_rng_state().numpy().tobytes()


def outcome(transform, results: dict, seed: int):
    """What it gives for a seed, and the state of the random generators after it."""
    np.random.seed(seed)
    random.seed(seed)
    return transform({**results, 'seg_fields': list(results['seg_fields'])}), random_state()


def assert_like_stock(step: dict, results: dict, seeds=range(20)) -> list:
    fast, stock = TRANSFORMS.build(step), TRANSFORMS.build(of_stock(step))
    samples = []
    for seed in seeds:
        (ours, state), (theirs, expected) = (
            outcome(transform, copy.deepcopy(results), seed) for transform in (fast, stock)
        )
        assert_same(ours, theirs)
        assert state == expected, 'other random numbers were drawn'
        samples.append(ours)
    return samples


def make_image(shape, seed=0) -> np.ndarray:
    """Every colour may come, and neighbours are alike."""
    noise = np.random.RandomState(seed).randint(0, 256, (*shape, 3)).astype(np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.where(np.arange(shape[1])[None, :, None] % 16 < 4, noise, smooth)


def make_mask(shape, labels, seed=0) -> np.ndarray:
    """Rectangles of ``labels`` on the first of them."""
    draw = np.random.RandomState(seed)
    mask = np.full(shape, labels[0], np.uint8)
    for label in labels[1:]:
        top, left = (draw.randint(0, side) for side in shape)
        mask[top : top + shape[0] // 2, left : left + shape[1] // 2] = label
    return mask


def make_results(shape, labels=(0, 3, 7, 255), seed=0) -> dict:
    image, mask = make_image(shape, seed), make_mask(shape, labels, seed)
    return dict(img=image, gt_seg_map=mask, seg_fields=['gt_seg_map'], img_shape=shape)


@pytest.mark.parametrize('name', NAMES)
def test_no_name_of_mmseg_is_taken(name):
    assert TRANSFORMS.get(name) is getattr(transforms, name)
    assert TRANSFORMS.get(name.removeprefix('Fast')).__module__.startswith('mmseg.')
    assert issubclass(TRANSFORMS.get(name), TRANSFORMS.get(name.removeprefix('Fast')))


# --- crop

CROP = dict(type='FastRandomCrop', crop_size=(48, 64), cat_max_ratio=0.75)


@pytest.mark.parametrize(
    'labels',
    [
        (0, 3, 7, 255),
        (5, 0),
        (0,),  # one class: ten retries, and the eleventh window is taken
        (255,),  # nothing to count
        (255, 4),
        tuple(range(21)),
    ],
)
@pytest.mark.parametrize('shape', [(120, 150), (48, 64), (30, 40), (30, 150), (120, 40)])
def test_crop_is_stocks(shape, labels):
    for content in range(4):
        assert_like_stock(CROP, make_results(shape, labels, content), range(5))


@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=150)
def test_crop_window_is_stocks_for_any_mask(data, seed):
    side = st.integers(1, 24)
    shape, crop = (data.draw(st.tuples(side, side)) for _ in range(2))
    labels = data.draw(st.lists(st.sampled_from([0, 1, 2, 254, 255]), min_size=1, max_size=5))
    mask = np.random.RandomState(seed).choice(labels, shape).astype(np.uint8)
    ratio = data.draw(st.sampled_from([0, 0.25, 1 / 3, 0.5, 2 / 3, 0.75, 0.999, 1.0, 2]))
    ignored = data.draw(st.sampled_from([255, 0, 1, -1, 256]))
    step = dict(type='FastRandomCrop', crop_size=crop, cat_max_ratio=ratio, ignore_index=ignored)
    image = np.zeros((*shape, 3), np.uint8)
    fast, stock = TRANSFORMS.build(step), TRANSFORMS.build(of_stock(step))
    # Several samples for one instance: what it remembers must not change a window.
    for number in range(3):
        results = dict(img=image, gt_seg_map=(mask + number), seg_fields=['gt_seg_map'])
        (ours, state), (theirs, expected) = (
            outcome(transform.crop_bbox, results, seed % 1000) for transform in (fast, stock)
        )
        assert ours == theirs
        assert state == expected


def test_crop_divides_in_double_precision():
    results = make_results((60, 60), (6,))
    results['gt_seg_map'][:, ::3] = 3
    just_above, just_below = np.nextafter(2 / 3, 1), np.nextafter(2 / 3, 0)
    for ratio in (just_above, 2 / 3, just_below):
        step = dict(type='FastRandomCrop', crop_size=(30, 30), cat_max_ratio=float(ratio))
        assert_like_stock(step, results, range(3))


@pytest.mark.parametrize('ignored', [-1, 256])
def test_crop_that_ignores_no_byte_is_stocks(ignored):
    results = make_results((60, 60), (255,))
    results['gt_seg_map'][::5] = 0
    step = dict(type='FastRandomCrop', crop_size=(30, 30), cat_max_ratio=0.75, ignore_index=ignored)
    assert_like_stock(step, results, range(3))


@pytest.mark.parametrize('kind', [np.int64, np.int16, 'three channels', 'no mask, no limit'])
def test_crop_leaves_other_masks_to_stock(kind):
    results, step = make_results((100, 120)), CROP
    if kind == 'three channels':
        results['gt_seg_map'] = results['img']
    elif kind == 'no mask, no limit':
        del results['gt_seg_map']
        results['seg_fields'] = []
        step = {**CROP, 'cat_max_ratio': 1.0}
    else:
        results['gt_seg_map'] = results['gt_seg_map'].astype(kind) * 3 - 1
    assert_like_stock(step, results)


def test_crop_larger_than_float32_can_count_is_left_to_stock(monkeypatch):
    monkeypatch.setattr(transforms, 'MAX_COUNTED', 48 * 64)
    monkeypatch.setattr(transforms.cv2, 'calcHist', None)
    assert_like_stock(CROP, make_results((120, 150), tuple(range(21))), range(3))


def test_crop_sorts_no_pixels(monkeypatch):
    crop = TRANSFORMS.build(CROP)
    monkeypatch.setattr(np, 'unique', None)
    for labels in [(0,), (0, 3, 7, 255), tuple(range(21))]:
        crop(make_results((120, 150), labels))


def test_crop_counts_a_window_once():
    crop, windows = TRANSFORMS.build(CROP), []
    count = crop._is_mixed
    crop._is_mixed = lambda mask: windows.append(mask.shape) or count(mask)
    crop(make_results((30, 40), (0,)))
    assert windows == [(30, 40)]


def test_crop_takes_no_histogram_where_the_usual_class_decides(monkeypatch):
    crop = TRANSFORMS.build(CROP)
    results = make_results((120, 150), (6,))
    results['gt_seg_map'][:, ::3] = 3
    crop(copy.deepcopy(results))
    monkeypatch.setattr(transforms.cv2, 'calcHist', None)
    for seed in range(5):
        np.random.seed(seed)
        crop(copy.deepcopy(results))


def test_crop_window_can_be_cached_as_stocks():
    fast, stock = TRANSFORMS.build(CROP), TRANSFORMS.build(of_stock(CROP))
    results = make_results((120, 150))
    for crop in (fast, stock):
        with cache_random_params([crop]):
            first, second = (crop({**results})['img'] for _ in range(2))
        np.testing.assert_array_equal(first, second)
    assert type(stock)._methods_with_randomness == ['crop_bbox']


# --- flip


@pytest.mark.parametrize(
    'arguments',
    [
        dict(prob=0.0),
        dict(prob=1.0),
        dict(prob=0.5),
        dict(prob=1.0, direction='vertical'),
        dict(prob=1.0, direction='diagonal'),
        dict(prob=[0.3, 0.3, 0.3], direction=['horizontal', 'vertical', 'diagonal']),
        dict(prob=1.0, swap_seg_labels=[(3, 7)]),
    ],
    ids=str,
)
@pytest.mark.parametrize('cropped', [False, True])
def test_flip_is_stocks(arguments, cropped):
    results = make_results((31, 44))
    if cropped:
        results.update(img=results['img'][3:20, 5:30], gt_seg_map=results['gt_seg_map'][3:20, 5:30])
    for sample in assert_like_stock(dict(type='FastRandomFlip', **arguments), results):
        if sample['flip']:
            assert sample['img'].flags.c_contiguous


@pytest.mark.parametrize('kind', ['grey', 'one channel', 'float', 'wide mask', 'bool'])
def test_flip_of_other_arrays_is_stocks(kind):
    results = make_results((31, 44))
    image = results['img']
    if kind == 'wide mask':
        results['gt_seg_map'] = results['gt_seg_map'].astype(np.int64)
    else:
        results['img'] = {
            'grey': image[..., 0],
            'one channel': image[..., :1],
            'float': image.astype(np.float32),
            'bool': image > 99,
        }[kind]
    assert_like_stock(dict(type='FastRandomFlip', prob=1.0), results)


# --- colour

COLOUR = dict(type='FastPhotoMetricDistortion')


@pytest.mark.parametrize('content', range(3))
def test_colour_is_stocks(content):
    image = make_image((40, 56), content)  # 48 ways for the coins to fall, 300 throws
    for view in (image, image[3:30, 4:50], image[:, ::-1]):
        assert_like_stock(
            COLOUR, dict(img=view, seg_fields=[]), range(100)
        )  # 48 ways for the coins to fall


@given(
    brightness=st.integers(0, 300),
    contrast=st.tuples(st.floats(-1, 4), st.floats(-1, 4)).map(sorted),
    saturation=st.tuples(st.floats(0, 4), st.floats(0, 4)).map(sorted),
    hue=st.integers(1, 400),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=100)
def test_colour_is_stocks_for_any_range(brightness, contrast, saturation, hue, seed):
    step = dict(
        COLOUR,
        brightness_delta=brightness,
        contrast_range=contrast,
        saturation_range=saturation,
        hue_delta=hue,
    )
    image = np.random.RandomState(seed).randint(0, 256, (24, 17, 3)).astype(np.uint8)
    assert_like_stock(step, dict(img=image, seg_fields=[]), range(seed % 1000, seed % 1000 + 3))


def test_every_byte_of_every_channel_is_stocks():
    values = np.arange(256, dtype=np.uint8)
    image = np.stack([values, np.roll(values, 85), np.roll(values, 170)], -1)[None]
    assert_like_stock(COLOUR, dict(img=image, seg_fields=[]), range(300))


def test_colour_of_float_images_is_stocks():
    image = make_image((20, 30)).astype(np.float32)
    assert_like_stock(COLOUR, dict(img=image, seg_fields=[]))


def test_colour_computes_256_values_and_keeps_its_input(monkeypatch):
    sizes, stock = [], transforms.PhotoMetricDistortion.convert

    def convert(self, img, **kwargs):
        sizes.append(img.size)
        return stock(self, img, **kwargs)

    monkeypatch.setattr(transforms.PhotoMetricDistortion, 'convert', convert)
    colour, image = TRANSFORMS.build(COLOUR), make_image((40, 56))
    before = image.copy()
    for _ in range(50):
        colour(dict(img=image))
    assert set(sizes) == {256}
    np.testing.assert_array_equal(image, before)


def test_colour_passes_the_image_once_where_nothing_is_between(monkeypatch):
    colour, image, passes = TRANSFORMS.build(COLOUR), make_image((40, 56)), []
    coins = iter([1, 0, 0, 0, 1])  # brightness, contrast last, no saturation, no hue, contrast
    monkeypatch.setattr(np.random, 'randint', lambda *_: next(coins))
    look_up = cv2.LUT
    monkeypatch.setattr(cv2, 'LUT', lambda *args: passes.append(1) or look_up(*args))
    monkeypatch.setattr(cv2, 'cvtColor', None)
    colour.transform(dict(img=image))
    assert len(passes) == 1


# --- packing

PACK = dict(type='FastPackSegInputs')


@pytest.mark.parametrize(
    'view',
    [
        lambda image: image,
        lambda image: image[3:20, 5:30],
        lambda image: image[:, ::-1],
        lambda image: image[..., 0],
        lambda image: image[..., :1],
        lambda image: image.astype(np.float32),
    ],
    ids=['whole', 'crop', 'flipped', 'grey', 'one channel', 'float'],
)
def test_packing_is_stocks(view):
    results = make_results((31, 44))
    results.update(img=view(results['img']), flip=True, flip_direction='horizontal', scale=(4, 5))
    image = results['img']
    assert_like_stock(PACK, results, range(1))
    TRANSFORMS.build(PACK)(results)
    assert results['img'] is image


def test_packing_without_image_or_mask_is_stocks():
    results = make_results((31, 44))
    TRANSFORMS.build(PACK)({'img': results['img']})
    assert 'inputs' not in TRANSFORMS.build(PACK)({'gt_seg_map': results['gt_seg_map']})


def test_packing_splits_once_into_the_tensor(monkeypatch):
    results, split, given_planes = make_results((31, 44)), cv2.split, []
    monkeypatch.setattr(
        cv2, 'split', lambda image, planes: given_planes.extend(planes) or split(image, planes)
    )
    tensor = TRANSFORMS.build(PACK)(results)['inputs']
    assert len(given_planes) == 3
    assert all(map(np.shares_memory, given_planes, tensor.numpy()))


def test_packing_survives_an_opencv_that_splits_elsewhere(monkeypatch):
    split = cv2.split
    monkeypatch.setattr(cv2, 'split', lambda image, planes: split(image))
    assert_like_stock(PACK, make_results((31, 44)), range(1))


# --- the pipelines of the configs

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]


def zoo_steps(crop: int, colour: bool) -> list[dict]:
    resize = dict(
        type='RandomResize', scale=(4 * crop, crop), ratio_range=(0.5, 2.0), keep_ratio=True
    )
    return [
        *LOAD,
        resize,
        dict(type='RandomCrop', crop_size=(crop, crop), cat_max_ratio=0.75),
        dict(type='RandomFlip', prob=0.5),
        *([dict(type='PhotoMetricDistortion')] if colour else []),
        dict(type='PackSegInputs'),
    ]


PIPELINES = {
    'voc_aug': zoo_steps(512, colour=True),
    'voc_aug_256x256': zoo_steps(256, colour=True),
    'voc_aug_paper': zoo_steps(512, colour=False),
}


def assert_pipeline_is_stocks(name: str, pairs: list[tuple[Path, Path]], samples: int):
    """A stream of samples from one seed: a number drawn too many shifts all that follow."""
    steps = Config.fromfile(BASE / f'{name}.py').train_pipeline
    assert [of_stock(step) for step in steps] == PIPELINES[name]
    assert {step['type'] for step in steps} >= set(NAMES) - {'FastPhotoMetricDistortion'}
    ways = Compose(steps), Compose(PIPELINES[name])
    for seed in range(samples):
        image, mask = pairs[seed % len(pairs)]
        loaded = dict(
            img_path=str(image),
            seg_map_path=str(mask),
            label_map=None,
            reduce_zero_label=False,
            seg_fields=[],
        )
        (ours, state), (theirs, expected) = (outcome(way, loaded, seed) for way in ways)
        assert_same(ours, theirs)
        assert state == expected
        assert {'img_shape', 'ori_shape', 'scale_factor', 'flip', 'flip_direction'} <= set(
            ours['data_samples'].metainfo
        )


@pytest.fixture(scope='module')
def drawn_pairs(tmp_path_factory) -> list[tuple[Path, Path]]:
    """Files of VOC's kinds and sizes; the last is smaller than any crop."""
    folder, pairs = tmp_path_factory.mktemp('pairs'), []
    contents = [
        ((375, 500), (0, 3, 7, 255)),
        ((500, 375), (0, 12)),
        ((333, 500), (0,)),
        ((281, 500), (255,)),
        ((90, 120), (0, 1, 2, 255)),
    ]
    for number, (shape, labels) in enumerate(contents):
        image, mask = folder / f'{number}.jpg', folder / f'{number}.png'
        cv2.imwrite(str(image), make_image(shape, number))
        Image.fromarray(make_mask(shape, labels, number)).save(mask)
        pairs.append((image, mask))
    return pairs


@pytest.mark.parametrize('name', PIPELINES)
def test_pipeline_is_stocks(name, drawn_pairs):
    assert_pipeline_is_stocks(name, drawn_pairs, samples=20)


@pytest.mark.slow
@pytest.mark.parametrize('name', PIPELINES)
def test_pipeline_is_stocks_on_real_photographs(name, voc_root):
    pairs = [
        (voc_root / 'JPEGImages' / f'{image}.jpg', voc_root / folder / f'{image}.png')
        for split, folder in [('train', 'SegmentationClass'), ('aug', 'SegmentationClassAug')]
        for image in (voc_root / 'ImageSets/Segmentation' / f'{split}.txt').read_text().split()
    ]
    assert_pipeline_is_stocks(name, pairs, samples=1000)
