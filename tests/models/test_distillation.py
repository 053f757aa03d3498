"""Soft labels of a teacher beside the annotations."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_pan import UserError
from mmseg_pan.models.distillation import network_alone
from mmseg_pan.weights import load_segmentor
from tests.models.reference import randomize

CLASSES = 4


def network(classes=CLASSES, **head):
    fcn = dict(
        type='FCNHead', in_channels=320, in_index=3, channels=8, num_convs=0, concat_input=False,
        num_classes=classes, align_corners=True, dropout_ratio=0,
    )  # fmt: skip
    return dict(
        type='EncoderDecoder',
        backbone=dict(type='MobileNetV2', out_indices=(1, 2, 4, 6), norm_cfg=dict(type='BN')),
        decode_head={**fcn, 'channels': 320, **head},
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    )


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(3)
    state = randomize(MODELS.build(network())).state_dict()
    torch.save(dict(state_dict=state), tmp_path / 'teacher.pth')
    return tmp_path / 'teacher.pth'


def build(checkpoint, **options):
    cfg = {**network(), 'type': 'DistilledEncoderDecoder'}
    model = MODELS.build(
        dict(cfg, teacher=network(), teacher_checkpoint=str(checkpoint), **options)
    )
    model.init_weights()
    return randomize(model)


def samples(*shapes, size=(64, 96)):
    found = []
    for shape in shapes:
        sample = SegDataSample(metainfo=dict(img_shape=shape, pad_shape=size))
        sample.gt_sem_seg = PixelData(data=torch.randint(CLASSES, (1, *size)))
        found.append(sample)
    return found


def test_checkpoints_are_those_of_the_network_alone(checkpoint):
    model = build(checkpoint)
    plain = MODELS.build(network())
    assert model.state_dict().keys() == plain.state_dict().keys()
    plain.load_state_dict(model.state_dict())
    image = torch.randn(1, 3, 64, 64)
    assert torch.equal(model.eval()(image), plain.eval()(image))


@pytest.mark.parametrize('flip', [False, True])
def test_loss_is_the_divergence_inside_the_image(checkpoint, flip):
    """Written out with logarithms; the second image is padded to twice its size."""
    model = build(checkpoint, weight=3.0, flip=flip).eval()
    images = torch.randn(2, 3, 64, 96)
    data = samples((64, 96), (32, 48))
    found = model.loss(images, data)
    teacher = MODELS.build(network()).eval()
    teacher.load_state_dict(torch.load(checkpoint)['state_dict'])

    def probabilities(x):
        return teacher.decode_head(teacher.extract_feat(x)).softmax(1)

    expected = probabilities(images)
    if flip:
        expected = (expected + probabilities(images.flip(3)).flip(3)) / 2
    ours = model.decode_head(model.extract_feat(images)).softmax(1)
    each = (expected * (expected.log() - ours.log())).sum(1)
    kept = torch.cat([each[0].flatten(), each[1, :1, :2].flatten()])  # of 2x3 cells
    torch.testing.assert_close(found['decode.loss_soft'], 3 * kept.mean())
    plain = model.decode_head.loss_by_feat(model.decode_head(model.extract_feat(images)), data)
    torch.testing.assert_close(found['decode.loss_ce'], plain['loss_ce'])


def test_the_teacher_stays_as_it_is(checkpoint):
    model = build(checkpoint)
    model.train()
    (teacher,) = model._teacher
    before = copy.deepcopy(teacher.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    sum(v for k, v in model.loss(torch.randn(2, 3, 64, 96), samples((64, 96), (64, 96))).items()
        if 'loss' in k).backward()  # fmt: skip
    optimizer.step()
    assert not teacher.training
    for key, value in teacher.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert not any(p.requires_grad or p.grad is not None for p in teacher.parameters())


def test_a_network_is_built_and_used_without_its_teacher(tmp_path):
    cfg = {**network(), 'type': 'DistilledEncoderDecoder'}
    missing = str(tmp_path / 'missing.pth')
    model = MODELS.build(dict(cfg, teacher=network(), teacher_checkpoint=missing)).eval()
    assert model(torch.randn(1, 3, 64, 64)).shape[1] == CLASSES
    with pytest.raises(RuntimeError, match=r'call init_weights\(\)'):
        model.loss(torch.randn(1, 3, 64, 96), samples((64, 96)))
    with pytest.raises(FileNotFoundError, match='missing'):
        model.init_weights()


def test_the_network_alone():
    cfg = {**network(), 'type': 'DistilledEncoderDecoder'}
    assert network_alone(dict(cfg, teacher=network(), flip=True, scales=(1, 2))) == network()
    assert network_alone(network()) == network()


def test_inference_knows_no_teacher(checkpoint, tmp_path):
    model = build(checkpoint)
    config = Config(
        dict(
            model={**network(), 'type': 'DistilledEncoderDecoder', 'teacher': network()},
            test_dataloader=dict(
                dataset=dict(
                    type='CheckedSegDataset',
                    metainfo=dict(classes=list('abcd'), palette=[[i, 0, 0] for i in range(4)]),
                    pipeline=[dict(type='LoadImageFromFile'), dict(type='PackSegInputs')],
                )
            ),
            default_scope='mmseg',
        )
    )
    file = tmp_path / 'iter_1.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=dict(cfg=config.pretty_text)), file)
    loaded = load_segmentor(file)
    assert type(loaded) is EncoderDecoder
    assert 'teacher' not in loaded.cfg.model


def test_a_network_like_its_teacher_has_no_divergence(checkpoint):
    model = build(checkpoint).eval()
    model.load_state_dict(torch.load(checkpoint)['state_dict'])
    found = model.loss(torch.randn(1, 3, 64, 96), samples((64, 96)))
    assert abs(float(found['decode.loss_soft'])) < 1e-6
    assert float(found['decode.loss_ce']) > 0.1


def test_a_flip_makes_soft_labels_symmetric(checkpoint):
    model = build(checkpoint, flip=True)
    images = torch.randn(1, 3, 64, 96)
    labels = model.soft_labels(images, (5, 7))
    assert labels.shape == (1, CLASSES, 5, 7)
    torch.testing.assert_close(model.soft_labels(images.flip(3), (5, 7)), labels.flip(3))
    torch.testing.assert_close(labels.sum(1), torch.ones(1, 5, 7))


def test_another_number_of_classes_is_refused(checkpoint):
    with pytest.raises(UserError, match='teacher has num_classes=7, the decode head 4'):
        MODELS.build(dict(network(), type='DistilledEncoderDecoder', teacher=network(7)))


@pytest.mark.parametrize('flip', [False, True])
def test_soft_labels_of_many_scales(checkpoint, flip):
    """Each view of the teacher has a scale of its own, and sides of 16k + 1."""
    model = build(checkpoint, flip=flip, scales=(0.5, 1.5))
    (teacher,) = model._teacher
    shapes = set()
    teacher.backbone.register_forward_pre_hook(lambda m, inputs: shapes.add(inputs[0].shape[2:]))
    torch.manual_seed(0)
    images = torch.randn(1, 3, 65, 97)
    for _ in range(20):
        labels = model.soft_labels(images, (5, 7))
        assert labels.shape == (1, CLASSES, 5, 7)
        torch.testing.assert_close(labels.sum(1), torch.ones(1, 5, 7))
    assert len(shapes) > 3
    assert all(side % 16 == 1 for shape in shapes for side in shape)
    assert min(h for h, _ in shapes) >= 33 and max(h for h, _ in shapes) <= 97


def test_a_scale_of_one_is_the_image_itself(checkpoint):
    images = torch.randn(1, 3, 65, 97)
    expected = build(checkpoint, flip=True).soft_labels(images, (5, 7))
    found = build(checkpoint, flip=True, scales=(1.0, 1.0)).soft_labels(images, (5, 7))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('scales', [(0, 1), (1.5, 0.5), (1.0,)])
def test_scales_that_make_no_range_are_refused(checkpoint, scales):
    with pytest.raises(UserError, match='takes the smallest and the largest scale'):
        build(checkpoint, scales=scales)
