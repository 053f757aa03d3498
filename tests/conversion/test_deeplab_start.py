"""A PAN that starts as DeepLabV3 computes its logits."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_pan import UserError
from mmseg_pan.conversion.deeplab_start import start_as_deeplab, write_start
from mmseg_pan.weights import read_weights
from tests.models.reference import randomize

BACKBONE = dict(
    type='DilatedMobileNetV2',
    strides=(1, 2, 2, 2, 1, 1, 1),
    dilations=(1, 1, 1, 1, 1, 2, 2),
    out_indices=(1, 2, 4, 6),
    norm_cfg=dict(type='BN'),
)
CLASSES = 5


def network(**options):
    head = dict(
        type='PANHead', in_channels=(24, 32, 96, 16), in_index=[0, 1, 2, 3], channels=12,
        pyramid_channels=4, num_classes=CLASSES, norm_cfg=dict(type='BN'), align_corners=True,
    )  # fmt: skip
    return dict(
        type='EncoderDecoder',
        backbone=BACKBONE,
        neck=dict(type='ImagePoolingNeck', in_channels=(24, 32, 96, 320), channels=16),
        decode_head={**head, **options},
    )


@pytest.fixture(scope='module')
def source():
    """State dicts as the converter writes them."""
    torch.manual_seed(0)
    backbone = randomize(MODELS.build(BACKBONE)).state_dict()
    shapes = {'image_pooling': (16, 320), 'aspp0': (16, 320), 'concat_projection': (16, 32)}
    head = {}
    for name, (out, inner) in {**shapes, 'logits': (CLASSES, 16)}.items():
        head[f'{name}.weight'] = torch.randn(out, inner, 1, 1) / inner**0.5
        head[f'{name}.bias'] = torch.randn(out)
    return backbone, head


def logits_of_deeplab(source, image):
    """The head written out from the paper of MobileNetV2, section 6.3."""
    backbone, head = source
    net = MODELS.build(BACKBONE)
    net.load_state_dict(backbone)
    net.eval()
    x = net(image)[-1]

    def conv(name, value):
        return F.conv2d(value, head[f'{name}.weight'], head[f'{name}.bias'])

    pooled = conv('image_pooling', x.mean((2, 3), keepdim=True)).relu()
    local = conv('aspp0', x).relu()
    hidden = conv('concat_projection', torch.cat([pooled.expand_as(local), local], 1)).relu()
    return conv('logits', hidden)


@torch.inference_mode()
def test_an_fcn_head_without_convs_is_deeplab_itself(source):
    cfg = network()
    cfg['decode_head'] = dict(
        type='FCNHead', in_channels=16, in_index=3, channels=16, num_convs=0, concat_input=False,
        num_classes=CLASSES, align_corners=True,
    )  # fmt: skip
    model = MODELS.build(cfg)
    start_as_deeplab(model, *source)
    model.eval()
    image = torch.randn(2, 3, 65, 97)
    found = model.decode_head(model.extract_feat(image))
    torch.testing.assert_close(found, logits_of_deeplab(source, image))


@pytest.mark.parametrize('options', [{}, dict(separable=True), dict(kernel_sizes=())])
@torch.inference_mode()
def test_logits_are_the_sources(source, options):
    torch.manual_seed(1)
    model = MODELS.build(network(**options))
    model.init_weights()
    start_as_deeplab(model, *source)
    model.eval()
    image = torch.randn(2, 3, 65, 97)
    low = logits_of_deeplab(source, image)
    expected = F.interpolate(low, (17, 25), mode='bilinear', align_corners=True)
    found = model.decode_head(model.extract_feat(image))
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)
    assert expected.std() > 0.3


def test_what_the_source_has_not_gets_a_gradient(source):
    model = MODELS.build(network())
    model.init_weights()
    start_as_deeplab(model, *source)
    model.eval()
    model.decode_head(model.extract_feat(torch.randn(1, 3, 65, 65))).square().mean().backward()
    assert all(gau.low.conv.weight.grad.abs().max() > 0 for gau in model.decode_head.gau)
    assert model.decode_head.fpa.project.norm.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        (dict(neck=None), 'must have an ImagePoolingNeck, and a PANHead or'),
        (dict(decode_head=network(channels=8)['decode_head']), 'channels=10 or more, not 5 and 8'),
        (dict(decode_head=network(num_classes=6)['decode_head']), 'num_classes=5 .* not 6 and 12'),
        (
            dict(decode_head=network(pyramid_channels=12)['decode_head']),
            'pyramid_channels other than channels',
        ),
    ],
)
def test_a_network_that_cannot_start_so_is_refused(source, change, match):
    cfg = {k: v for k, v in {**network(), **change}.items() if v is not None}
    if 'neck' not in cfg:
        cfg['decode_head']['in_channels'] = (24, 32, 96, 320)
    with pytest.raises(UserError, match=match):
        start_as_deeplab(MODELS.build(cfg), *source)


def test_the_written_start_repeats_and_fits_the_config(source, tmp_path):
    config = tmp_path / 'pan.py'
    Config(dict(model=network())).dump(config)
    for name, state in zip(('backbone.pth', 'head.pth'), source, strict=True):
        torch.save(dict(state_dict=state), tmp_path / name)
    for name in ('a.pth', 'b.pth'):
        write_start(config, tmp_path / 'backbone.pth', tmp_path / 'head.pth', tmp_path / name)
    first, second = (read_weights(tmp_path / name) for name in ('a.pth', 'b.pth'))
    assert first.keys() == MODELS.build(network()).state_dict().keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ('names', 'match'),
    [
        (('head.pth', 'head.pth'), r'head\.pth has aspp0\.bias; give the backbone and then'),
        (('backbone.pth', 'backbone.pth'), r'backbone\.pth lacks aspp0\.bias; give the backbone'),
        (('none.pth', 'head.pth'), r'none\.pth do not exist'),
    ],
)
def test_other_files_are_refused(source, tmp_path, names, match):
    config = tmp_path / 'pan.py'
    Config(dict(model=network())).dump(config)
    for name, state in zip(('backbone.pth', 'head.pth'), source, strict=True):
        torch.save(dict(state_dict=state), tmp_path / name)
    with pytest.raises(UserError, match=match):
        write_start(config, *(tmp_path / name for name in names), tmp_path / 'start.pth')
    assert not (tmp_path / 'start.pth').exists()
