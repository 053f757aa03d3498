"""Label maps are those of MMSegmentation; windows and refusals for what is too large."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from mmseg.apis import inference_model
from mmseg.models.segmentors.base import BaseSegmentor

from mmseg_pan import devices
from mmseg_pan.errors import UserError
from mmseg_pan.evaluation.fast_inference import prepare_for_inference
from mmseg_pan.inference import load_segmentor, memory
from mmseg_pan.inference.predictor import Predictor, without_files
from mmseg_pan.inference.window_share import window_shares
from mmseg_pan.inference.windows import changed_share, window_starts, windowed_logits

RESIZE = dict(type='Resize', scale=(96, 48), keep_ratio=True)


@pytest.fixture
def model(toy_checkpoint):
    return load_segmentor(toy_checkpoint, device='cpu')


def photograph(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def labels_of(predictor: Predictor, *images: np.ndarray) -> list[np.ndarray]:
    return predictor.predict([predictor.prepare(image) for image in images])


def count_steps(predictor: Predictor) -> list[int]:
    """List the batch sizes that reach the network from now on."""
    sizes, step = [], predictor.model.encode_decode

    def counted(inputs, metas):
        sizes.append(len(inputs))
        return step(inputs, metas)

    predictor.model.encode_decode = counted
    return sizes


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(height=st.integers(1, 90), width=st.integers(1, 90), resized=st.booleans())
def test_labels_are_those_of_mmsegmentation(model, height, width, resized):
    loader, *others = [item for item in model.cfg.test_pipeline if item['type'] != 'Resize']
    model.cfg.test_pipeline = [loader, *([RESIZE] if resized else []), *others]
    image = photograph(height, width)
    assume(not resized or max(height, width) < 40 * min(height, width))
    (labels,) = labels_of(Predictor(model), image)
    assert labels.shape == (height, width) and labels.dtype == np.uint8
    assert np.array_equal(labels, inference_model(model, image).pred_sem_seg.data[0])


def test_prepared_model_gives_the_same_labels(model, toy_checkpoint):
    image = photograph(70, 93)
    (expected,) = labels_of(Predictor(model), image)
    fast = prepare_for_inference(load_segmentor(toy_checkpoint), labels_only=True)
    (labels,) = labels_of(Predictor(fast), image)
    assert len(np.unique(expected)) > 2
    assert (labels != expected).mean() < 0.001  # folded norms round differently


def test_images_of_one_size_go_together_and_come_back_in_order(model):
    images = [photograph(64, 48 + 16 * (seed % 2), seed) for seed in range(7)]
    alone = [labels_of(Predictor(model), image)[0] for image in images]
    predictor = Predictor(model, batch=3)
    sizes = count_steps(predictor)
    together = labels_of(predictor, *images)
    assert sizes == [3, 1, 3]
    for one, other in zip(alone, together, strict=True):
        assert one.shape == other.shape and (one != other).mean() < 0.001


def test_no_images_no_step(model):
    assert Predictor(model).predict([]) == []


class Brightness(BaseSegmentor):
    """A network without parameters, as an exported one is: dark, or the brighter the higher."""

    def __init__(self, cfg, classes: int = 3):
        super().__init__(data_preprocessor=dict(type='SegDataPreProcessor'))
        self.cfg, self.classes, self.align_corners = cfg, classes, False
        self.dataset_meta = dict(classes=[f'{i}' for i in range(classes)], palette=None)

    def encode_decode(self, inputs, batch_img_metas):
        levels = torch.linspace(0, 255, self.classes).view(1, -1, 1, 1)
        return -(inputs.mean(1, keepdim=True) - levels).abs()

    def predict(self, inputs, data_samples=None):
        return self.postprocess_result(self.encode_decode(inputs, []), data_samples)

    extract_feat = loss = _forward = None


@pytest.mark.parametrize('classes', [3, 300])
def test_network_without_parameters(model, classes):
    network = prepare_for_inference(Brightness(model.cfg, classes), labels_only=True)
    ramp = np.repeat(np.arange(0, 250, 2, dtype=np.uint8)[None, :, None], 70, 0).repeat(3, 2)
    whole, windowed = (labels_of(Predictor(network, w), ramp)[0] for w in (2048, 64))
    assert whole.dtype == (np.uint8 if classes <= 256 else np.uint16)
    expected = np.abs(ramp[:, :, :1] - np.linspace(0, 255, classes)).argmin(2)
    assert np.abs(whole.astype(int) - expected).max() <= (0 if classes == 3 else 1)  # ties
    assert np.array_equal(whole, windowed)


@given(length=st.integers(1, 5000), window=st.integers(1, 600))
def test_windows_see_every_pixel(length, window):
    starts = window_starts(length, window)
    assert starts[0] == 0 and starts[-1] == max(length - window, 0)
    assert starts == sorted(set(starts))
    for one, following in pairwise(starts):
        assert following <= one + max(2 * window // 3, 1)  # a third is seen twice


def test_windows_are_mmsegs(model):
    """The same logits as MMSegmentation's slide_inference, where windows fall alike."""
    inputs = torch.randn(2, 3, 130, 98)
    metas = [dict(img_shape=(130, 98), ori_shape=(130, 98))] * 2
    model.test_cfg.update(mode='slide', crop_size=(66, 66), stride=(44, 44))
    with torch.inference_mode():
        expected = model.slide_inference(inputs, [dict(meta) for meta in metas])
        found = windowed_logits(model, inputs, metas, 66)
    torch.testing.assert_close(found, expected)
    assert metas[0]['img_shape'] == (130, 98)


@pytest.mark.parametrize(
    'size, steps', [((64, 64), 1), ((64, 65), 2), ((65, 64), 2), ((1, 200), 5)]
)
def test_windows_begin_above_the_limit(model, size, steps):
    predictor = Predictor(model, window=64)
    sizes = count_steps(predictor)
    (labels,) = labels_of(predictor, photograph(*size))
    assert labels.shape == size and len(sizes) == steps


def test_limit_holds_after_the_pipelines_resize(model):
    model.cfg.test_pipeline.insert(1, dict(RESIZE, scale=(96, 48)))
    predictor = Predictor(model, window=96)
    sizes = count_steps(predictor)
    (labels,) = labels_of(predictor, photograph(200, 300))  # 48x72 for the network
    assert labels.shape == (200, 300) and sizes == [1]


def test_windows_keep_no_map_of_their_own(model):
    """One map of logits however many windows there are."""
    shapes, new_zeros = [], torch.Tensor.new_zeros
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(
            torch.Tensor,
            'new_zeros',
            lambda self, *size: shapes.append(size) or new_zeros(self, *size),
        )
        windowed_logits(model, torch.zeros(1, 3, 200, 200), [{}], 64)
    assert sorted(shapes) == [(1, 1, 200, 200), (1, 7, 200, 200)]


def test_changed_share():
    one = np.zeros((2, 5), int)
    other = one.copy()
    other[0, 0] = 1
    assert changed_share(one, other) == 0.1


def test_window_shares(model):
    """Two images larger than the small window, and one larger than the other."""
    images = [photograph(100, 64, 1), photograph(70, 66, 2), photograph(64, 64)]
    shares = window_shares(model, images, [64, 80, 1000])
    assert [count for count, _ in shares.values()] == [2, 1, 0]
    assert 0 < shares[80][1] < 1 and np.isnan(shares[1000][1])
    changes = []
    for image in images[:2]:
        whole, parts = (labels_of(Predictor(model, window), image)[0] for window in (1000, 64))
        changes.append(whole != parts)
    expected = sum(map(np.sum, changes)) / sum(map(np.size, changes))
    assert shares[64][1] == pytest.approx(expected)


def test_estimate_of_memory():
    assert memory.prediction_bytes(21, (1000, 2000)) == 2_000_000 * (4 * 21 + 24)
    seen = memory.prediction_bytes(21, (1000, 2000), (10, 20))
    assert seen - memory.prediction_bytes(21, (1000, 2000)) == 4 * 21 * 200


@given(classes=st.integers(1, 999), height=st.integers(1, 10**6), width=st.integers(1, 10**6))
def test_estimate_is_above_the_logits(classes, height, width):
    assert memory.prediction_bytes(classes, (height, width)) > classes * height * width * 4


@pytest.mark.parametrize(
    'files, expected',
    [
        ({'proc/meminfo': 'MemTotal: 9 kB\nMemAvailable:   1000 kB\n'}, 1_024_000),
        ({'sys/fs/cgroup/memory.max': '700\n', 'sys/fs/cgroup/memory.current': '600',
          'sys/fs/cgroup/memory.stat': 'anon 5\ninactive_file 50\n'}, 150),
        ({'sys/fs/cgroup/memory.max': 'max\n', 'sys/fs/cgroup/memory.current': '600',
          'sys/fs/cgroup/memory.stat': '', 'proc/meminfo': 'MemAvailable: 1 kB'}, 1024),
        ({'sys/fs/cgroup/memory/memory.limit_in_bytes': '700',
          'sys/fs/cgroup/memory/memory.usage_in_bytes': '650',
          'sys/fs/cgroup/memory/memory.stat': 'inactive_file 1\ntotal_inactive_file 20\n'}, 70),
    ],
)  # fmt: skip
def test_available_memory(tmp_path, files, expected):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert memory.available_memory('cpu', tmp_path) == expected


def test_available_memory_here():
    there = memory.available_memory()
    assert there is None or there > 10**6


def test_refuses_what_memory_does_not_hold(model, monkeypatch):
    predictor = Predictor(model)
    with pytest.raises(UserError, match=r'^90000x80000 pixels and 7 classes need 374\.4 GB of mem'):
        predictor.check_size(80_000, 90_000)
    monkeypatch.setattr(memory, 'available_memory', lambda device: 40 * 40 * (28 + 24) + 1)
    predictor.check_size(40, 40)
    with pytest.raises(UserError, match=r'40x40 pixels .* need 128\.0 kB of memory, but 83\.2 kB'):
        predictor.prepare(photograph(40, 40))  # the network's logits come on top
    monkeypatch.setattr(memory, 'available_memory', lambda device: None)
    predictor.check_size(80_000, 90_000)


def test_refuses_what_the_pipeline_cannot_resize(model):
    model.cfg.test_pipeline.insert(1, RESIZE)
    with pytest.raises(UserError, match='5000x1 pixels cannot go through the test pipeline'):
        Predictor(model).prepare(photograph(1, 5000))


def test_pipeline_loses_masks_and_must_read_photographs(model):
    pipeline = without_files(model.cfg.test_pipeline)
    assert [item['type'] for item in pipeline] == ['LoadImageFromNDArray', 'PackSegInputs']
    assert model.cfg.test_pipeline[0]['type'] == 'LoadImageFromFile'
    with pytest.raises(UserError, match='begins with LoadBiomedicalImageFromFile'):
        without_files([dict(type='LoadBiomedicalImageFromFile')])


def test_device_that_is_not_there():
    devices.check_device(None)
    devices.check_device('cpu')
    with pytest.raises(UserError, match='--device nonsense cannot be used'):
        devices.check_device('nonsense')
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match=r'--device cuda cannot be used .*type "--device cpu"'):
            devices.check_device('cuda')
