"""Weights converted from a TFLite file compute what the file computes."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.runner import load_checkpoint
from mmseg.registry import MODELS

from mmseg_pan import UserError
from mmseg_pan.conversion import convert_deeplab, convert_deeplab_file
from tests.conversion.tflite_file import deeplab, maps, write

MEAN = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)
NAME = 'deeplabv3_mnv2_pascal_quant.tflite'


@pytest.fixture(scope='session')
def reader():
    return pytest.importorskip('tflite', reason='requirements/convert.txt is not installed')


@pytest.fixture
def file(reader, tmp_path):
    return write(tmp_path / 'network.tflite', deeplab())


@pytest.fixture(scope='session')
def public(reader) -> Path:
    """The public file, where the environment names its folder."""
    root = os.environ.get('WEIGHTS_ROOT')
    if not root or not (Path(root) / NAME).is_file():
        pytest.skip(f'WEIGHTS_ROOT is not set to a folder with {NAME}')
    return Path(root) / NAME


def rightly_dilated():
    """MMSeg's MobileNetV2, with rate 2 where the network has it."""
    backbone = MODELS.build(
        dict(type='MobileNetV2', strides=(1, 2, 2, 2, 1, 1, 1), out_indices=(1, 2, 4, 6))
    )
    for block in (*backbone.layer6[1:], *backbone.layer7):
        depthwise = block.conv[1].conv
        depthwise.dilation = depthwise.padding = (2, 2)
    backbone.eval()
    return backbone


def logits_of(head, f):
    def conv(name, x):
        return F.conv2d(x, head[f'{name}.weight'], head[f'{name}.bias'])

    a = F.relu(conv('aspp0', f))
    p = F.relu(conv('image_pooling', f.mean((2, 3), keepdim=True))).expand_as(a)
    return conv('logits', F.relu(conv('concat_projection', torch.cat([p, a], 1))))


def read(path):
    return torch.load(path, weights_only=True)['state_dict']


@torch.no_grad()
@pytest.mark.parametrize('seed', [0, 1])
def test_same_maps_as_the_quantized_weights(seed, reader, tmp_path):
    layers = deeplab(seed)
    source = write(tmp_path / 'a.tflite', layers)
    convert_deeplab_file(source, tmp_path / 'b.pth', tmp_path / 'h.pth')
    backbone = rightly_dilated()
    load_checkpoint(backbone, str(tmp_path / 'b.pth'), map_location='cpu', strict=True)
    pixels = torch.rand(2, 3, 65, 97) * 255
    expected, logits = maps(layers, pixels)
    found = backbone((pixels - MEAN) / STD)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * other.std().item())
    torch.testing.assert_close(
        logits_of(read(tmp_path / 'h.pth'), found[-1]),
        logits,
        rtol=1e-3,
        atol=1e-3 * logits.std().item(),
    )


@torch.no_grad()
def test_same_maps_as_the_files_converted_before(public):
    """The older files have batch norms with measured statistics: same maps, other numbers."""
    backbone, head = convert_deeplab(public)
    found, expected = rightly_dilated(), rightly_dilated()
    found.load_state_dict(backbone)
    expected.load_state_dict(read(public.with_name('mobilenet_v2_deeplabv3_coco-voc.pth')))
    x = torch.randn(1, 3, 129, 97)
    for one, other in zip(found(x), expected(x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * other.std().item())
    older = read(public.with_name('deeplabv3_head_coco-voc.pth'))
    assert head.keys() == older.keys()
    for name, value in older.items():
        torch.testing.assert_close(head[name], value, rtol=0, atol=0)


@torch.no_grad()
def test_same_classes_as_the_network_itself(public, voc_root):
    litert = pytest.importorskip('ai_edge_litert.interpreter')
    import cv2

    backbone, head = convert_deeplab(public)
    model = rightly_dilated()
    model.load_state_dict(backbone)
    network = litert.Interpreter(str(public), num_threads=1)
    network.allocate_tensors()
    names = (voc_root / 'ImageSets/Segmentation/val.txt').read_text().split()[:4]
    equal, objects = [], []
    for name in names:
        image = cv2.imread(str(voc_root / f'JPEGImages/{name}.jpg'))
        image = cv2.cvtColor(cv2.resize(image, (513, 513)), cv2.COLOR_BGR2RGB)
        network.set_tensor(network.get_input_details()[0]['index'], image[None])
        network.invoke()
        expected = network.get_tensor(network.get_output_details()[0]['index'])[0]
        x = (torch.from_numpy(image).permute(2, 0, 1)[None].float() - MEAN) / STD
        logits = logits_of(head, model(x)[-1])
        found = F.interpolate(logits, (513, 513), mode='bilinear', align_corners=True)
        equal.append((found.argmax(1)[0].numpy() == expected).mean())
        objects.append((expected > 0).mean())
    assert max(objects) > 0.1
    assert min(equal) > 0.98, equal  # the rest is 8-bit rounding


def test_library_is_named(file, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tflite', None)
    with pytest.raises(UserError, match=r'tflite; type "pip install -r requirements/convert.txt"'):
        convert_deeplab(file)


def test_no_file_and_no_network(tmp_path):
    with pytest.raises(UserError, match=r'no.tflite does not exist; give a .tflite file'):
        convert_deeplab(tmp_path / 'no.tflite')


@pytest.mark.parametrize('content', [b'', b'TFL3', b'<html>not found</html>'])
def test_other_files(content, reader, tmp_path):
    (tmp_path / 'a.tflite').write_bytes(content)
    with pytest.raises(UserError, match=r'a.tflite is not a TFLite file'):
        convert_deeplab(tmp_path / 'a.tflite')


@pytest.mark.parametrize('part', [0.0001, 0.1, 0.5, 0.9, 0.99999])
def test_file_cut_short(part, file):
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(UserError, match=r'network.tflite is damaged; download it again'):
        convert_deeplab(file)


def changed(tmp_path, prefix, **changes):
    layers = [replace(x, **changes) if x.name.startswith(prefix) else x for x in deeplab()]
    return write(tmp_path / 'network.tflite', layers)


@pytest.mark.parametrize(
    ('name', 'changes', 'message'),
    [
        ('MobilenetV2/expanded_conv_13/depth', {'rate': 2}, r'layer6.0.conv.1 .* \(1, 2\), exp'),
        ('MobilenetV2/expanded_conv_14/depth', {'rate': 1}, r'layer6.1.conv.1 .* \(1, 1\), exp'),
        ('MobilenetV2/expanded_conv_13/depth', {'stride': 2}, r'layer6.0.conv.1 .* \(2, 1\), exp'),
        (
            'logits',
            {'weight': np.zeros((19, 1, 1, 256), np.uint8)},
            r'logits with shape \(19, 256, 1, 1\), .* expected \(21, 256, 1, 1\)',
        ),
        ('aspp0', {'name': 'aspp1/weights'}, r'holds the conv aspp1/weights, .* does not have'),
        (
            'MobilenetV2/expanded_conv_16/pro',
            {'name': 'MobilenetV2/expanded_conv_17/project/weights'},
            r'holds the conv MobilenetV2/expanded_conv_17/project/weights',
        ),
        ('logits', {'scale': [0.1] * 21}, r'logits/semantic/weights with 21 scales, expected one'),
        (
            'aspp0',
            {'weight': np.zeros((256, 1, 1, 320), np.int8)},
            r'aspp0/weights in another type than uint8; give the file with 8-bit weights',
        ),
    ],
)
def test_another_network(name, changes, message, reader, tmp_path):
    with pytest.raises(UserError, match=message) as caught:
        convert_deeplab(changed(tmp_path, name, **changes))
    assert len(str(caught.value).replace(str(tmp_path), '')) <= 300


def test_conv_that_is_missing(reader, tmp_path):
    layers = [x for x in deeplab() if not x.name.startswith('image_pooling')]
    with pytest.raises(UserError, match=r'has no conv image_pooling, which DeepLabV3'):
        convert_deeplab(write(tmp_path / 'a.tflite', layers))


def test_output_names_that_cannot_be_meant(file, tmp_path):
    good, pth = tmp_path / 'a.pth', tmp_path / 'source.pth'
    pth.write_bytes(file.read_bytes())
    with pytest.raises(UserError, match=r'b.txt must end in \.pth'):
        convert_deeplab_file(file, good, tmp_path / 'b.txt')
    with pytest.raises(UserError, match='Both outputs are'):
        convert_deeplab_file(file, good, tmp_path / '.' / 'a.pth')
    with pytest.raises(UserError, match=r'source.pth would overwrite the input'):
        convert_deeplab_file(pth, good, tmp_path / 'source.pth')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['network.tflite', 'source.pth']


def test_the_tool_tells_whether_it_is_the_public_file(file, run_tool):
    path = os.pathsep.join(sys.path)  # where this test found the library
    tool = 'model_converters/tflite2mmseg.py'
    done = run_tool(tool, 'network.tflite', 'b.pth', 'h.pth', PYTHONPATH=path)
    assert 'NOT the public file' in done.stdout
    assert done.stdout.endswith('Wrote b.pth and h.pth.\n')
    done = run_tool(tool, 'no.tflite', 'b.pth', 'h.pth', check=False)
    assert done.returncode == 2
    assert done.stderr == 'error: The network no.tflite does not exist; give a .tflite file.\n'


def test_the_public_file_is_recognized(public, tmp_path):
    digest, known = convert_deeplab_file(public, tmp_path / 'b.pth', tmp_path / 'h.pth')
    assert known
    meta = torch.load(tmp_path / 'b.pth', weights_only=True)['meta']
    assert meta['sha256'] == digest
    assert meta['dilations'] == (1, 1, 1, 1, 1, 2, 2)
