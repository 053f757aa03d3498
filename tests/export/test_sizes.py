"""Exported for any size: right at every size, or refused and not written."""

import pytest
import torch
from mmengine.config import Config
from mmseg.models.backbones import ResNet
from mmseg.registry import MODELS
from torch.nn import functional as F

from mmseg_pan import UserError
from mmseg_pan.export.graph import SegmentorGraph
from mmseg_pan.export.writing import export
from mmseg_pan.weights import ExportedSegmentor, load_segmentor
from tests.models.reference import randomize
from tests.paths import TOY

pytest.importorskip('onnx', reason='requirements/deploy.txt is not installed')

NORM = dict(type='BN', requires_grad=True)


@MODELS.register_module()
class SquareResNet(ResNet):
    """Its maps pass through a size that is a number and no rule."""

    def forward(self, x):
        maps = super().forward(x)
        small = F.interpolate(maps[-1], (9, 9), mode='bilinear')
        back = F.interpolate(small, maps[-1].shape[2:], mode='bilinear')
        return (*maps[:-1], maps[-1] + back)


@MODELS.register_module()
class TracedResNet(ResNet):
    """Its maps pass through half the size, as a number that tracing keeps."""

    def forward(self, x):
        maps = super().forward(x)
        half = [int(side * 0.5) for side in maps[-1].shape[2:]]
        small = F.interpolate(maps[-1], half, mode='bilinear')
        return (*maps[:-1], F.interpolate(small, maps[-1].shape[2:], mode='bilinear'))


def resnet(kind: str) -> dict:
    return dict(type=kind, depth=18, norm_cfg=NORM, base_channels=8)


def stage(branches: int, channels: list[int], block: str = 'BASIC') -> dict:
    return dict(
        num_modules=1, num_branches=branches, block=block,
        num_blocks=(1,) * branches, num_channels=channels,
    )  # fmt: skip


# Each stage takes torch's exporter ten more seconds.
SWIN = dict(
    type='SwinTransformer', embed_dims=12, depths=(1,), num_heads=(1,), window_size=7,
    strides=(4,), out_indices=(0,),
)  # fmt: skip
HRNET = dict(
    type='HRNet', norm_cfg=NORM,
    extra=dict(
        stage1=stage(1, [8], 'BOTTLENECK'), stage2=stage(2, [4, 8]),
        stage3=stage(3, [4, 8, 16]), stage4=stage(4, [4, 8, 16, 32]),
    ),
)  # fmt: skip


def head(kind: str, channels: list[int], **more) -> dict:
    common = dict(type=kind, channels=8, num_classes=7, norm_cfg=NORM, align_corners=False)
    loss = dict(type='CrossEntropyLoss', loss_weight=1.0)
    several = dict(in_channels=channels, in_index=[0, 1, 2, 3])
    last = dict(in_channels=channels[-1], in_index=len(channels) - 1, num_convs=1)
    place = last if kind == 'FCNHead' else several
    return dict(common, loss_decode=loss, **place, **more)


@pytest.fixture
def network(tmp_path):
    """A checkpoint and config of backbone and head, read as the tool reads them."""

    def make(backbone: dict, decode_head: dict):
        cfg = Config.fromfile(TOY)
        cfg.model.backbone, cfg.model.decode_head = backbone, decode_head
        model = randomize(MODELS.build(cfg.model))
        cfg.dump(tmp_path / 'net.py')
        torch.save(dict(state_dict=model.state_dict()), tmp_path / 'net.pth')
        return load_segmentor(tmp_path / 'net.pth', tmp_path / 'net.py', 'cpu')

    return make


FROZEN = {
    'Swin': (SWIN, head('FCNHead', [12])),
    'a traced number': (resnet('TracedResNet'), head('FCNHead', [8, 16, 32, 64])),
}


@pytest.mark.parametrize(
    ('name', 'file_format', 'labels'),
    [
        ('Swin', 'onnx', True),
        ('a traced number', 'onnx', False),
        ('a traced number', 'openvino', True),
    ],
)
def test_a_graph_that_kept_a_size_is_refused(name, file_format, labels, network, tmp_path):
    model = network(*FROZEN[name])
    with pytest.raises(UserError, match=r'of 224x288 unlike .* not written: .* "--shape H W"'):
        export(model, tmp_path / 'out', file_format, labels=labels)
    assert not list(tmp_path.glob('out*'))


@pytest.mark.parametrize('name', list(FROZEN))
def test_it_is_exported_for_the_one_size(name, network, tmp_path):
    model = network(*FROZEN[name])
    file = export(model, tmp_path / 'out', shape=(96, 128))
    check_same(model, file, [(1, 96, 128)])


def test_the_tool_compares_without_images_and_with_labels(network, run_tool, tmp_path):
    network(SWIN, head('FCNHead', [12]))
    command = ['deployment/export.py', 'net.py', 'net.pth', '--out', 'pan.v1']
    done = run_tool(*command, '--images', 0, '--labels', check=False)
    assert done.returncode == 2 and 'error: The exported network segments' in done.stderr
    assert not list(tmp_path.glob('pan*'))


RIGHT = {
    'HRNet': (HRNET, head('FCNHead', [4, 8, 16, 32])),
    'FPNHead': (
        resnet('ResNet'),
        head('FPNHead', [8, 16, 32, 64], feature_strides=[4, 8, 16, 32]),
    ),
    'a number in the code': (resnet('SquareResNet'), head('FCNHead', [8, 16, 32, 64])),
}


@pytest.mark.parametrize('name', list(RIGHT))
def test_any_size_is_segmented_as_by_the_checkpoint(name, network, tmp_path):
    model = network(*RIGHT[name])
    file = export(model, tmp_path / 'out')
    check_same(model, file, [(1, 224, 288), (2, 97, 181), (1, 320, 256), (1, 65, 400)])


def check_same(model, file, sizes):
    run = ExportedSegmentor(str(file))
    for batch, height, width in sizes:
        image = torch.randn(batch, 3, height, width)
        with torch.no_grad():
            expected = SegmentorGraph(model)(image)
        found = run.encode_decode(image, [])
        assert (found - expected).abs().max() < 1e-4 * (expected.amax() - expected.amin())
