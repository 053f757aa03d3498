"""Prepared models predict the same; label maps are those of MMSeg to the last bit."""

import copy

import pytest
import torch
from mmcv.cnn import ConvModule
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.models.utils import resize
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_pan import UserError
from mmseg_pan.evaluation import label_maps, prepare_for_inference
from mmseg_pan.evaluation.fusion import fuse_conv_bn
from tests.mixing import load_mix
from tests.segmentors import build, build_family, norms

FAMILIES = ['pan_r18-d16_voc', 'pan_r50-d16_voc', 'pan_mobilenet-v2-d16_voc', 'fcn_r18-d16_voc']
TWO_CLASSES = 'pan_r50-d16_two-class_voc.py'


@pytest.fixture(scope='module')
def small():
    return build_family('pan_mobilenet-v2-d16_voc')


@pytest.fixture(scope='module')
def two_classes():
    cfg = load_mix(TWO_CLASSES).model
    cfg.backbone.depth = 18
    cfg.decode_head.in_channels = (64, 128, 256, 512)
    return build(cfg)


def batch(sides=(65, 97), count=1, **meta):
    samples = [SegDataSample(metainfo=dict(ori_shape=sides, **meta)) for _ in range(count)]
    for sample in samples:
        sample.set_metainfo(dict(img_shape=sides, pad_shape=sides))
    return dict(
        inputs=[torch.randint(256, (3, *sides), dtype=torch.uint8) for _ in samples],
        data_samples=samples,
    )


@pytest.mark.parametrize('name', FAMILIES)
def test_a_prepared_model_gives_the_same_logits(name):
    model = build_family(name)
    data = batch()
    with torch.no_grad():
        expected = model.test_step(copy.deepcopy(data))[0].seg_logits.data
        found = prepare_for_inference(model).test_step(data)[0].seg_logits.data
    assert norms(model) == []
    assert not found.is_contiguous()  # channels-last from the image to the logits
    assert (found - expected).abs().max() <= 1e-4 * max(1, expected.abs().max())
    assert expected.std() > 1e-3


def norm_before_conv():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = ConvModule(
                3, 3, 1, norm_cfg=dict(type='BN'), order=('norm', 'conv', 'act')
            )
            nn.init.normal_(self.block.norm.running_mean)

        def _forward(self, x):
            return self.block(x)

    return Network()


def activation_between():
    class Network(nn.Sequential):
        def _forward(self, x):
            return self(x)

    return Network(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3))


class NormWithActivation(nn.BatchNorm2d):
    """As timm has it."""

    def forward(self, x):
        return super().forward(x).relu()


def norm_with_activation():
    network = activation_between()
    network[1], network[2] = NormWithActivation(3), nn.Identity()
    return network


@pytest.mark.parametrize('make', [norm_before_conv, activation_between, norm_with_activation])
def test_what_cannot_be_folded_is_left_alone(make):
    model = make().eval()
    x = torch.randn(1, 3, 5, 5)
    expected = model._forward(x)
    assert fuse_conv_bn(model) == 0
    assert torch.equal(model._forward(x), expected)


def test_a_convolution_that_is_used_twice_is_an_error():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
            nn.init.constant_(self.norm.running_mean, 1)

        def _forward(self, x):
            x = self.conv(x)
            return self.norm(x) + x

    with pytest.raises(UserError, match=r'changed the output of Network by .* without --fast'):
        fuse_conv_bn(Network())


def test_bfloat16_resizes_in_float32(small):
    model = copy.deepcopy(small)
    data = batch((33, 33))
    with torch.no_grad():
        expected = model.test_step(copy.deepcopy(data))[0].seg_logits.data
        prepare_for_inference(model, fuse=False, channels_last=False, dtype=torch.bfloat16)
        found = model.test_step(data)[0].seg_logits.data
    assert found.dtype == torch.float32
    assert not torch.equal(found, found.bfloat16().float())
    assert 0 < (found - expected).abs().max() < 0.1 * expected.abs().max()


def test_other_types_and_models_are_refused(small):
    with pytest.raises(UserError, match=r'is in bfloat16, not torch\.float16'):
        prepare_for_inference(copy.deepcopy(small), dtype=torch.float16)
    with pytest.raises(UserError, match='for segmentors of MMSegmentation, not Conv2d'):
        prepare_for_inference(nn.Conv2d(1, 1, 1))


def sample(size, **meta):
    return SegDataSample(metainfo=dict(ori_shape=size, **meta))


METAS = [
    dict(),
    dict(flip=True, flip_direction='horizontal'),
    dict(flip=True, flip_direction='vertical', padding_size=[0, 3, 0, 2]),
    dict(flip=False, img_padding_size=[1, 0, 2, 0]),
]


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('meta', METAS)
@pytest.mark.parametrize('size', [(33, 57), (97, 41), (7, 7)])
def test_label_maps_are_those_of_mmseg(small, two_classes, size, meta, align_corners):
    for model in (small, two_classes):
        # Few values: many pixels are tied but for the rounding of the resize.
        logits = torch.randint(-3, 4, (2, model.out_channels, 33, 57)).float()
        logits[1, 0, 20:22] = logits[1, -1, 21:23] = torch.nan
        for x in (logits, logits.contiguous(memory_format=torch.channels_last)):
            model = copy.copy(model)
            model.align_corners = align_corners
            expected = BaseSegmentor.postprocess_result(model, x, [sample(size, **meta) for _ in x])
            prepare_for_inference(model, fuse=False, channels_last=False, labels_only=True)
            found = model.postprocess_result(x, [sample(size, **meta) for _ in x])
            for one, other in zip(expected, found, strict=True):
                assert one.pred_sem_seg.data.dtype == other.pred_sem_seg.data.dtype
                assert torch.equal(one.pred_sem_seg.data, other.pred_sem_seg.data)
                assert one.pred_sem_seg.data.shape == (1, *size)
                assert 'seg_logits' not in other
                assert len(one.pred_sem_seg.data.unique()) > 1


def test_logits_keep_the_strides_by_which_torch_chooses_a_kernel(small, monkeypatch):
    """An unsqueezed channels-last map would be resized three times as slowly."""
    logits = torch.randn(2, 21, 9, 8).contiguous(memory_format=torch.channels_last)
    strides = []

    def spy(x, **kwargs):
        strides.append(x.stride())
        return resize(x, **kwargs)

    monkeypatch.setattr(label_maps, 'resize', spy)
    label_maps.postprocess_labels(small, logits, [sample((20, 30)) for _ in logits])
    assert strides == [logits[:1].stride()] * 2


def test_label_maps_without_samples(small):
    model = copy.copy(small)
    logits = torch.randn(2, 21, 9, 8)
    expected = model.postprocess_result(logits)
    found = prepare_for_inference(
        model, fuse=False, channels_last=False, labels_only=True
    ).postprocess_result(logits)
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(one.pred_sem_seg.data, other.pred_sem_seg.data)
