"""Converted backbones give what they gave before; what does not fit is told."""

import pytest
import torch
from mmengine.runner import load_checkpoint
from mmseg.registry import MODELS

from mmseg_pan import UserError
from mmseg_pan.conversion import convert_file, convert_state
from mmseg_pan.weights import read_weights
from tests.conversion.reference import MobileNetV2, ResNet, image, randomize_norms

REFERENCES = {
    'ResNet 18': lambda: ResNet((2, 2, 2, 2), False),
    'ResNet 50': lambda: ResNet((3, 4, 6, 3), True),
    'ResNetV1c 18': lambda: ResNet((2, 2, 2, 2), False, 'c'),
    'ResNetV1c 50': lambda: ResNet((3, 4, 6, 3), True, 'c'),
    'ResNetV1d 18': lambda: ResNet((2, 2, 2, 2), False, 'd'),
    'ResNetV1d 50': lambda: ResNet((3, 4, 6, 3), True, 'd'),
    'MobileNetV2': MobileNetV2,
}


@pytest.fixture
def state():
    return ResNet((2, 2, 2, 2), False).state_dict()


def assert_same_outputs(backbone_cfg, file, expected, x):
    """Load the file as training would, every tensor of it, and compare."""
    backbone = MODELS.build(backbone_cfg)
    load_checkpoint(backbone, str(file), map_location='cpu', strict=True)
    backbone.eval()
    with torch.no_grad():
        for found, wanted in zip(backbone(x), expected(x), strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('name', REFERENCES)
def test_same_outputs_as_a_plain_reference(name, tmp_path):
    model = randomize_norms(REFERENCES[name]())
    torch.save(model.state_dict(), tmp_path / 'a.pth')
    backbone = convert_file(tmp_path / 'a.pth', tmp_path / 'b.pth')
    assert ' '.join(map(str, backbone.values())) == name
    assert_same_outputs(backbone, tmp_path / 'b.pth', model, image())


@pytest.mark.parametrize('name', ['resnet18', 'resnet50', 'mobilenet_v2'])
def test_same_outputs_as_torchvision(name, tmp_path):
    models = pytest.importorskip('torchvision', exc_type=ImportError).models
    from torchvision.models.feature_extraction import create_feature_extractor

    model = randomize_norms(models.get_model(name, weights=None))
    nodes = [f'layer{i}' for i in range(1, 5)]
    if name == 'mobilenet_v2':
        nodes = [f'features.{i}' for i in (3, 6, 13, 17)]
    features = create_feature_extractor(model, nodes)
    torch.save(model.state_dict(), tmp_path / 'a.pth')
    backbone = convert_file(tmp_path / 'a.pth', tmp_path / 'b.pth')
    assert_same_outputs(backbone, tmp_path / 'b.pth', lambda x: features(x).values(), image())


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('resnet18', 'ResNet 18'),
        ('resnet50', 'ResNet 50'),
        ('resnet50c', 'ResNetV1c 50'),
        ('resnet18d', 'ResNetV1d 18'),
        ('resnet50d', 'ResNetV1d 50'),
        ('mobilenetv2_100', 'MobileNetV2'),
    ],
)
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_same_outputs_as_timm(name, expected, suffix, tmp_path):
    timm = pytest.importorskip('timm')
    model = randomize_norms(timm.create_model(name))
    file = tmp_path / f'a{suffix}'
    if suffix == '.pth':
        torch.save(model.state_dict(), file)
    else:
        pytest.importorskip('safetensors.torch').save_file(model.state_dict(), file)
    backbone = convert_file(file, tmp_path / 'b.pth')
    assert ' '.join(map(str, backbone.values())) == expected

    features = timm.create_model(name, features_only=True, out_indices=(1, 2, 3, 4))
    features.load_state_dict(model.state_dict(), strict=False)
    assert_same_outputs(backbone, tmp_path / 'b.pth', features.eval(), image())


@pytest.mark.parametrize('key', ['state_dict', 'model'])
def test_checkpoint_around_the_weights(state, key, tmp_path):
    wrapped = {key: {f'module.{name}': value for name, value in state.items()}, 'epoch': 3}
    torch.save(wrapped, tmp_path / 'a.pth')
    assert list(read_weights(tmp_path / 'a.pth')) == list(state)


def test_old_files_have_no_counters(state):
    old = {k: v for k, v in state.items() if not k.endswith('num_batches_tracked')}
    renamed, backbone = convert_state(old)
    assert backbone == dict(type='ResNet', depth=18)
    assert set(renamed) == {k for k in old if not k.startswith('fc.')}


def test_other_width(state):
    state['layer3.1.conv2.weight'] = torch.zeros(512, 256, 3, 3)
    with pytest.raises(
        UserError,
        match=r'looks like ResNet 18, but layer3.1.conv2.weight has shape \(512, 256, 3, 3\) '
        r"where MMSeg's has \(256, 256, 3, 3\)",
    ):
        convert_state(state)


def test_additional_tensor(state):
    state['layer1.0.se.fc1.weight'] = torch.zeros(1)
    with pytest.raises(UserError, match=r"but MMSeg's has no layer1.0.se.fc1.weight"):
        convert_state(state)


def test_missing_tensor(state):
    del state['layer4.1.bn2.running_var']
    with pytest.raises(UserError, match=r'1 of its tensors are missing, layer4.1.bn2.running_var'):
        convert_state(state)


@pytest.mark.parametrize('blocks', [(1, 1, 1, 1), (2, 2, 2, 3)])
def test_depth_that_mmseg_has_not(blocks):
    state = ResNet(blocks, False).state_dict()
    with pytest.raises(UserError, match=r'is not a backbone that can be converted: .*-152'):
        convert_state(state)


def test_something_else_altogether(tmp_path):
    torch.save({'patch_embed.proj.weight': torch.zeros(1)}, tmp_path / 'vit.pth')
    with pytest.raises(UserError, match=r'vit\.pth holds patch_embed\.proj\.weight and is'):
        convert_file(tmp_path / 'vit.pth', tmp_path / 'b.pth')
    assert [p.name for p in tmp_path.iterdir()] == ['vit.pth']


def test_files_that_cannot_be_read(state, tmp_path):
    with pytest.raises(UserError, match=r'no\.pth do not exist; give a \.pth'):
        read_weights(tmp_path / 'no.pth')
    torch.save(state, tmp_path / 'whole.pth')
    data = (tmp_path / 'whole.pth').read_bytes()
    for name, content in (('cut', data[: len(data) // 2]), ('empty', b''), ('text', b'<html>')):
        (tmp_path / f'{name}.pth').write_bytes(content)
        with pytest.raises(UserError, match=rf'{name}.pth cannot be read as weights'):
            read_weights(tmp_path / f'{name}.pth')
    torch.save([1, 2], tmp_path / 'list.pth')
    with pytest.raises(UserError, match=r'list\.pth holds list and not tensors by name'):
        read_weights(tmp_path / 'list.pth')


def test_no_code_runs_from_a_file(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ('ran',))

    torch.save({'conv1.weight': Evil()}, tmp_path / 'evil.pth')
    with pytest.raises(UserError, match=r'evil\.pth cannot be read as weights'):
        read_weights(tmp_path / 'evil.pth')


def test_nothing_half_written(state, tmp_path, monkeypatch):
    torch.save(state, tmp_path / 'a.pth')
    convert_file(tmp_path / 'a.pth', tmp_path / 'b.pth')
    old = (tmp_path / 'b.pth').read_bytes()
    monkeypatch.setattr(torch, 'save', lambda *_: (_ for _ in ()).throw(OSError('disk full')))
    with pytest.raises(OSError, match='disk full'):
        convert_file(tmp_path / 'a.pth', tmp_path / 'b.pth')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['a.pth', 'b.pth']
    assert (tmp_path / 'b.pth').read_bytes() == old


def test_output_names_that_cannot_be_meant(state, tmp_path):
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(UserError, match='would overwrite the input'):
        convert_file(tmp_path / 'a.pth', tmp_path / '.' / 'a.pth')
    with pytest.raises(UserError, match=r'b.txt must end in \.pth'):
        convert_file(tmp_path / 'a.pth', tmp_path / 'b.txt')


def test_the_tool_says_how_to_use_the_file(state, tmp_path, run_tool):
    torch.save(state, tmp_path / 'a.pth')
    tool = 'model_converters/backbone2mmseg.py'
    done = run_tool(tool, 'a.pth', 'b.pth')
    options = 'model.backbone.type=ResNet model.backbone.depth=18'
    assert f'--cfg-options {options} model.backbone.init_cfg.checkpoint=b.pth' in done.stdout
    done = run_tool(tool, 'no.pth', 'b.pth', check=False)
    assert done.returncode == 2
    assert done.stderr == (
        'error: The weights no.pth do not exist; give a .pth or .safetensors file.\n'
    )
