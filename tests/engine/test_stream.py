"""The stream of samples: where each one lies, and what it follows from."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.registry import DATA_SAMPLERS, DATASETS, DefaultScope

from mmseg_pan.engine import StreamDataset, StreamSampler, stream


def take(sampler, count):
    return [key for key, _ in zip(sampler, range(count), strict=False)]


@pytest.fixture(scope='module')
def processes():
    """Set the rank and number of processes that samplers see."""
    found = pytest.MonkeyPatch()
    yield lambda rank, of: found.setattr(stream, 'get_dist_info', lambda: (rank, of))
    found.undo()


@given(
    size=st.integers(1, 40),
    seed=st.integers(0, 2**31),
    start=st.integers(0, 200),
    of=st.integers(1, 5),
    shuffle=st.booleans(),
)
def test_processes_share_one_stream_that_can_be_entered_anywhere(
    processes, size, seed, start, of, shuffle
):
    processes(0, 1)
    whole = StreamSampler(range(size), shuffle)
    whole.start(seed, 0)
    expected = take(whole, start + 12 * of)
    found = {}
    for rank in range(of):
        processes(rank, of)
        part = StreamSampler(range(size), shuffle)
        part.start(seed, start)
        for index, seed_of_key, position in take(part, 12):
            assert position % of == (start + rank) % of
            found[position] = index, seed_of_key, position
    assert [found[p] for p in sorted(found)] == expected[start:]


@given(size=st.integers(1, 50), seed=st.integers(0, 2**31))
def test_every_pass_holds_every_image_once(processes, size, seed):
    processes(0, 1)
    sampler = StreamSampler(range(size))
    sampler.start(seed, 0)
    indices = np.array([index for index, _, _ in take(sampler, 3 * size)]).reshape(3, size)
    assert (np.sort(indices) == np.arange(size)).all()


def test_passes_and_seeds_are_shuffled_differently():
    sampler = StreamSampler(range(100))
    orders = [sampler.order(seed, number) for seed in (0, 1) for number in (0, 1)]
    assert len({order.tobytes() for order in orders}) == 4
    assert (StreamSampler(range(100), shuffle=False).order(0, 1) == np.arange(100)).all()


def test_nothing_is_loaded_before_the_start_is_known():
    assert list(StreamSampler(range(5))) == []
    assert len(StreamSampler(range(5))) == 5


class Noise(torch.utils.data.Dataset):
    metainfo = dict(classes=('a',))

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return index, np.random.rand(), torch.rand(()).item()


def test_sample_follows_from_seed_and_position_alone():
    dataset = StreamDataset(Noise())
    first = dataset[1, 7, 20]
    dataset[2, 7, 21]
    assert dataset[1, 7, 20] == first
    assert first[0] == 1
    assert len({dataset[1, seed, position] for seed in (7, 8) for position in (20, 21)}) == 4


def test_everything_else_is_the_data_sets_own():
    dataset = pickle.loads(pickle.dumps(StreamDataset(Noise())))
    assert dataset.metainfo == dict(classes=('a',))
    assert len(dataset) == 3
    with pytest.raises(AttributeError, match='nothing'):
        _ = dataset.nothing


def test_config_of_a_data_set_is_built(toy_root):
    cfg = dict(
        type='ToyShapesDataset',
        data_root=str(toy_root),
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file='ImageSets/Segmentation/train.txt',
        pipeline=[],
    )
    assert len(StreamDataset(cfg)) == 16


def test_configs_of_any_scope_find_sampler_and_data_set():
    with DefaultScope.overwrite_default_scope('mmengine'):
        data = DATASETS.build(dict(type='StreamDataset', dataset=range(3)))
        assert DATA_SAMPLERS.build(dict(type='StreamSampler', dataset=data)).size == 3
