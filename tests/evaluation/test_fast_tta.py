"""Test-time augmentation: the probabilities of MMSeg's, from fewer passes."""

import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS, TRANSFORMS

from mmseg_pan import UserError, cli
from mmseg_pan.evaluation import FastTTAModel
from mmseg_pan.evaluation.label_maps import postprocess_labels
from tests.paths import ROOT

TOY = ROOT / 'configs/pan/pan_r18-d16_toy.py'


def resize_steps(toy):
    """Both protocols of configs/pan: ratios of the image, and of a test size."""
    if toy == 'ratios':
        return [dict(type='Resize', scale_factor=r, keep_ratio=True) for r in (0.5, 1.25)]
    return [dict(type='Resize', scale=(int(160 * r), int(40 * r)), keep_ratio=True) for r in (1, 2)]


@pytest.fixture
def toy(toy_root, monkeypatch):
    monkeypatch.setenv('TOY_ROOT', str(toy_root))
    init_default_scope('mmseg')
    cfg = Config.fromfile(TOY)
    assert cfg.tta_model.type == 'FastTTAModel'  # what tools/test.py --tta takes

    def make(steps, directions=('horizontal',), **head):
        cfg.tta_pipeline[1]['transforms'][0] = steps
        cfg.tta_pipeline[1]['transforms'][1] = [
            dict(type='RandomFlip', prob=p, direction=d)
            for p, d in ((0.0, 'horizontal'), *((1.0, d) for d in directions))
        ]
        cfg.model.backbone.init_cfg = None
        cfg.model.decode_head.update(head)
        cfg.model.data_preprocessor.size = None
        cfg.model.data_preprocessor.test_cfg = dict(size_divisor=32)  # padding too
        cli.set_tta(cfg)
        model = MODELS.build(cfg.model).eval()
        torch.nn.init.normal_(model.module.decode_head.conv_seg.weight, 0, 3)
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        data = pseudo_collate([dataset[0], dataset[1]])
        with torch.no_grad():  # logits by which several labels come up
            segmentor, means = model.module, []
            for i in range(len(data['inputs'])):
                batch = {key: copy.deepcopy(values[i]) for key, values in data.items()}
                logits = segmentor._forward(segmentor.data_preprocessor(batch)['inputs'])
                means.append(logits.mean((0, 2, 3)))
            classifier, scale = segmentor.decode_head.conv_seg, 1 / logits.std((0, 2, 3))
            classifier.weight *= scale[:, None, None, None]
            classifier.bias.copy_((classifier.bias - torch.stack(means).mean(0)) * scale)
        return model, data

    return make


def stock_average(model, data):
    """Mean probabilities from MMSeg's own pass over each augmentation."""
    results = [
        model.module.test_step({key: copy.deepcopy(values[i]) for key, values in data.items()})
        for i in range(len(data['inputs']))
    ]
    return [
        torch.stack([sample.seg_logits.data.softmax(0) for sample in samples]).mean(0)
        for samples in zip(*results, strict=True)
    ]


@pytest.mark.parametrize('protocol', ['ratios', 'sizes'])
@pytest.mark.parametrize('directions', [('horizontal',), ('horizontal', 'vertical')])
def test_probabilities_and_maps_are_those_of_mmseg(toy, protocol, directions):
    model, data = toy(resize_steps(protocol), directions)
    assert isinstance(model, FastTTAModel)
    with torch.no_grad():
        expected = stock_average(model, data)
        found = model.average(copy.deepcopy(data))
        stock = MODELS.build(dict(type='SegTTAModel', module=model.module))
        maps = stock.test_step(copy.deepcopy(data))
        fast_maps = model.test_step(data)
    for one, other in zip(expected, found, strict=True):
        assert one.std() > 0.01
        assert (one - other).abs().max() < 1e-5
    for one, other, shape in zip(maps, fast_maps, [(64, 64)] * 2, strict=True):
        assert one.img_path == other.img_path
        assert torch.equal(one.gt_sem_seg.data, other.gt_sem_seg.data)
        assert one.pred_sem_seg.data.shape == other.pred_sem_seg.data.shape == (1, *shape)
        assert (one.pred_sem_seg.data != other.pred_sem_seg.data).float().mean() < 1e-3
        assert len(other.pred_sem_seg.data.unique()) > 1
        assert 'seg_logits' not in other


@pytest.mark.parametrize('together', [False, True])
def test_flips_share_a_pass_on_a_gpu(toy, monkeypatch, together):
    model, data = toy(resize_steps('ratios'))
    with torch.no_grad():
        expected = stock_average(model, data)
    monkeypatch.setattr(FastTTAModel, 'batches_flips', property(lambda self: together))
    shapes = []
    inference = model.module.inference

    def spy(inputs, metas):
        shapes.append(tuple(inputs.shape))
        return inference(inputs, metas)

    model.module.inference = spy
    with torch.no_grad():
        found = model.average(data)
    assert max((a - b).abs().max() for a, b in zip(found, expected, strict=True)) < 1e-5
    if together:
        assert shapes == [(4, 3, 32, 32), (4, 3, 96, 96)]  # two images and their flips
    else:
        assert shapes == [(2, 3, 32, 32)] * 2 + [(2, 3, 96, 96)] * 2


def test_channels_last_logits_have_the_same_probabilities(toy):
    model, _ = toy(resize_steps('ratios'))
    logits = torch.randn(1, 7, 13, 9)
    expected = model._probabilities(logits, dict(ori_shape=(20, 30)))
    found = model._probabilities(
        logits.contiguous(memory_format=torch.channels_last), dict(ori_shape=(20, 30))
    )
    assert found.stride(0) == 1  # sums of one format: mixed ones take six times as long
    assert (found - expected).abs().max() < 1e-6


def test_one_logit_a_pixel_takes_one_sigmoid(toy):
    model, data = toy(resize_steps('ratios'), num_classes=2, out_channels=1, threshold=0.5)
    with torch.no_grad():
        single = [
            model.module.test_step({k: copy.deepcopy(v[i]) for k, v in data.items()})
            for i in range(4)
        ]
        found = model.average(copy.deepcopy(data))
        threshold = model.module.decode_head.threshold = torch.stack(found).median().item()
        maps = model.test_step(data)
    for i, probabilities in enumerate(found):
        # In MMSeg's samples seg_logits are probabilities already.
        expected = torch.stack([samples[i].seg_logits.data for samples in single]).mean(0)
        assert (probabilities - expected).abs().max() < 1e-5
        assert torch.equal(maps[i].pred_sem_seg.data, (probabilities > threshold).float())
    assert len(torch.stack([sample.pred_sem_seg.data for sample in maps]).unique()) == 2


def test_merging_is_not_for_this_model(toy):
    model, _ = toy(resize_steps('ratios'))
    with pytest.raises(NotImplementedError, match='sums probabilities in test_step'):
        model.merge_preds([])


class Copy(torch.nn.Module):
    """A network whose logits are the image."""

    align_corners = False
    out_channels = 3

    def __init__(self):
        super().__init__()
        self.data_preprocessor = MODELS.build(dict(type='SegDataPreProcessor'))

    def inference(self, inputs, metas):
        return inputs

    def test_step(self, data):
        raise AssertionError


def flipped(direction):
    """Labels, and an image of them that RandomFlip has flipped."""
    labels = torch.randint(3, (20, 30))
    image = 255 * np.eye(3, dtype=np.uint8)[labels]
    sample = TRANSFORMS.build(dict(type='RandomFlip', prob=1.0, direction=direction))(
        dict(img=image, img_shape=(20, 30), ori_shape=(20, 30))
    )
    packed = TRANSFORMS.build(dict(type='PackSegInputs'))(sample)
    return labels, packed


@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_every_direction_of_random_flip_is_undone(direction):
    labels, packed = flipped(direction)
    data = {key: [[value]] for key, value in packed.items()}
    (sample,) = FastTTAModel(Copy()).test_step(data)
    assert torch.equal(sample.pred_sem_seg.data[0], labels)
    logits = packed['inputs'][None].float()
    (sample,) = postprocess_labels(Copy(), logits, [packed['data_samples']])  # without --tta
    assert torch.equal(sample.pred_sem_seg.data[0], labels)


def test_a_direction_that_is_not_known_is_refused():
    _, packed = flipped('diagonal')
    packed['data_samples'].set_metainfo(dict(flip_direction='transposed'))
    with pytest.raises(UserError, match="in the direction 'transposed', and only horizontal, "):
        postprocess_labels(Copy(), packed['inputs'][None].float(), [packed['data_samples']])


def test_a_network_without_parameters():
    """As an exported one is."""
    assert not list(Copy().parameters())
    assert FastTTAModel(Copy()).batches_flips is False


def test_images_may_be_stacked_already(toy):
    """As MMSegmentation's own test of its model gives them."""
    model, data = toy(resize_steps('ratios'))
    data = {key: [images[:1] for images in values] for key, values in data.items()}
    stacked = dict(copy.deepcopy(data), inputs=[images[0][None] for images in data['inputs']])
    with torch.no_grad():
        assert torch.equal(model.average(stacked)[0], model.average(data)[0])
