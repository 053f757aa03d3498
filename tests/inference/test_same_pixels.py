"""Prediction sees the pixels that the config's own test pipeline loads."""

import cv2
import numpy as np
import pytest
import torch
from mmseg.apis import inference_model
from PIL import Image

from mmseg_pan.inference import load_segmentor
from mmseg_pan.inference.pictures import Painter
from mmseg_pan.inference.prediction import predict_sources
from mmseg_pan.inference.predictor import Predictor
from mmseg_pan.inference.sources import find_sources
from tests.datasets.odd_images import READ, transparent
from tests.inference.odd_files import photograph


@pytest.fixture
def model(toy_checkpoint):
    return load_segmentor(toy_checkpoint, device='cpu')


@pytest.fixture
def grey_model(model):
    """A network with one input channel, whose pipeline loads grey images."""
    model.cfg.test_pipeline[0].color_type = 'grayscale'
    stem = next(part for part in model.backbone.modules() if isinstance(part, torch.nn.Conv2d))
    stem.weight.data = stem.weight.data.sum(1, keepdim=True)
    stem.in_channels = 1
    before = model.data_preprocessor
    before.mean, before.std = before.mean[:1], before.std[:1]
    before.channel_conversion = False
    return model


def predict(model, folder, kind: str = 'classes') -> dict[str, np.ndarray]:
    """Results of a folder by the names of its files."""
    out = folder.with_name('out')
    sources = find_sources([str(folder)], out, kind)
    painter = Painter(model.dataset_meta, kind)
    tally = predict_sources(Predictor(model), painter, sources, out)
    assert (tally.written, tally.skipped) == (len(sources), 0)
    return {
        source.path.name: np.asarray(Image.open(source.target(out, kind)))
        for source in sources
        if not source.is_video
    }


def test_every_kind_of_file_is_seen_as_by_the_test_pipeline(model, tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    for number, (make, _) in enumerate(READ.values()):
        (folder / f'{number}.tif').write_bytes(make())
    found = predict(model, folder)
    assert len(found) == len(READ)
    for name, labels in found.items():
        expected = inference_model(model, str(folder / name)).pred_sem_seg.data[0]
        assert np.array_equal(labels, expected), name


@pytest.mark.parametrize('kind', ['classes', 'overlay'])
def test_grey_network_is_fed_grey(grey_model, tmp_path, kind):
    folder = tmp_path / 'photos'
    folder.mkdir()
    photograph().save(folder / 'colour.png')
    photograph().convert('L').save(folder / 'grey.png')
    found = predict(grey_model, folder, kind)
    assert len(found) == 2
    for name, result in found.items():
        labels = inference_model(grey_model, str(folder / name)).pred_sem_seg.data[0]
        if kind == 'classes':
            assert np.array_equal(result, labels)
        else:
            assert result.shape[2] == 3 and result.shape[0] > labels.shape[0]


def test_grey_network_is_fed_grey_frames(grey_model, tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    writer = cv2.VideoWriter(str(folder / 'a.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 10, (60, 40))
    for _ in range(3):
        writer.write(np.array(photograph())[..., ::-1])
    writer.release()
    predict(grey_model, folder)
    assert len(list((tmp_path / 'out/a').glob('*.png'))) == 3


def test_another_number_of_channels_is_refused_by_name(model, tmp_path, capsys):
    """The pipeline keeps the fourth channel, and the network has no place for it."""
    model.cfg.test_pipeline[0].color_type = 'unchanged'
    path = tmp_path / 'a.png'
    path.write_bytes(transparent('RGBA'))
    sources = find_sources([str(path)], tmp_path / 'out', 'classes')
    tally = predict_sources(
        Predictor(model), Painter(model.dataset_meta, 'classes'), sources, tmp_path / 'out'
    )
    assert (tally.written, tally.skipped) == (0, 1)
    message = capsys.readouterr().err
    assert 'a.png: The image has 4 channels' in message and 'takes 3' in message
