"""MMSegmentation's own ways to predict work on this project's configs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.apis import MMSegInferencer, inference_model, init_model
from PIL import Image

from mmseg_pan.datasets.toy import ToyShapesDataset
from mmseg_pan.inference import load_segmentor
from tests.paths import ROOT, TOY

CLASSES = ToyShapesDataset.METAINFO['classes']


@pytest.fixture
def images(tmp_path) -> list[Path]:
    """Two images of different sizes."""
    random = np.random.default_rng(0)
    paths = []
    for height, width in ((64, 80), (50, 33)):
        paths.append(tmp_path / f'{height}.png')
        Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).save(paths[-1])
    return paths


@pytest.fixture
def model(toy_checkpoint):
    return init_model(str(TOY), str(toy_checkpoint), device='cpu')


def test_init_model_knows_classes_and_weights(model, toy_checkpoint):
    assert tuple(model.dataset_meta['classes']) == CLASSES
    ours = load_segmentor(toy_checkpoint, device='cpu').state_dict()
    for key, value in model.state_dict().items():
        assert torch.equal(value, ours[key]), key


def test_inference_model_takes_files_arrays_and_lists(model, images):
    result = inference_model(model, str(images[0]))
    assert result.pred_sem_seg.data.shape == (1, 64, 80)
    assert result.seg_logits.data.shape == (len(CLASSES), 64, 80)
    several = inference_model(model, [str(path) for path in images[:1] * 2])
    assert len(several) == 2
    for one in several:
        assert torch.equal(one.pred_sem_seg.data, result.pred_sem_seg.data)
    # Arrays last: MMSegmentation changes the model's pipeline for them, for good.
    array = np.ascontiguousarray(np.asarray(Image.open(images[0]))[:, :, ::-1])
    from_array = inference_model(model, array)
    assert torch.equal(from_array.pred_sem_seg.data, result.pred_sem_seg.data)


def test_inference_model_on_a_loaded_segmentor(toy_checkpoint, images):
    """The checkpoint alone, without the repository's config, is enough for the API too."""
    found = inference_model(load_segmentor(toy_checkpoint, device='cpu'), str(images[1]))
    expected = inference_model(
        init_model(str(TOY), str(toy_checkpoint), device='cpu'), str(images[1])
    )
    assert torch.equal(found.seg_logits.data, expected.seg_logits.data)


def test_inferencer_gives_the_same_labels_and_writes_pictures(
    model, toy_checkpoint, images, tmp_path
):
    inferencer = MMSegInferencer(str(TOY), str(toy_checkpoint), device='cpu')
    out = tmp_path / 'out'
    result = inferencer([str(path) for path in images], out_dir=str(out), batch_size=1)
    for path, labels in zip(images, result['predictions'], strict=True):
        expected = inference_model(model, str(path)).pred_sem_seg.data[0].numpy()
        assert np.array_equal(labels, expected)
    assert sorted(p.name for p in (out / 'vis').iterdir()) == sorted(p.name for p in images)
    assert len(list((out / 'pred').glob('*.png'))) == 2


VOC_CONFIGS = ('pan_r101-d16_voc', 'pan_mobilenet-v2-d16_1xb8-1k_voc12aug-256x256')


@pytest.mark.parametrize('name', VOC_CONFIGS)
def test_init_model_on_the_voc_configs(name, images):
    """Without a checkpoint, as one tries a config out: nothing is downloaded."""
    cfg = Config.fromfile(ROOT / f'configs/pan/{name}.py')
    scale = (192, 96)  # of the pipeline: the network is what matters
    cfg.test_pipeline[1].scale = scale
    model = init_model(cfg, device='cpu')
    result = inference_model(model, str(images[0]))
    assert result.metainfo['img_shape'] == (96, 120)
    assert result.seg_logits.data.shape == (21, 64, 80)
