"""What a run on a GPU does with its tensors, followed with tensors that have no values.

torch's fake tensors lie on any device, and operations that mix devices fail as on a real card.
The tests of a real card are in tests/gpu.
"""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch._subclasses import FakeTensorMode

from mmseg_pan import UserError, cli, devices
from mmseg_pan.evaluation import FastTTAModel, fast_inference
from mmseg_pan.evaluation.label_maps import postprocess_labels
from mmseg_pan.export import parity
from mmseg_pan.export.graph import SegmentorGraph
from mmseg_pan.export.synthetic import reference_logits
from mmseg_pan.inference.windows import windowed_logits
from mmseg_pan.weights.agreement import segment_image
from tests.paths import ROOT, TOY

CARD = torch.device('cuda:1')  # asked for, where cuda:0 would be the default
SIDE = 64


@pytest.fixture
def card():
    if not torch.backends.cuda.is_built():
        pytest.skip('fake tensors on a GPU need a build of torch with CUDA, but no GPU')
    with FakeTensorMode(allow_non_fake_inputs=False):
        yield CARD


@pytest.mark.parametrize(('threads', 'name'), [(1, 'CPU, 1 thread'), (2, 'CPU, 2 threads')])
def test_a_processor_is_named_with_its_threads(threads, name, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch, 'get_num_threads', lambda: threads)
    assert devices.device_name() == name


def build(cfg, **head):
    """A network whose weights lie on the card."""
    cfg = copy.deepcopy(cfg)
    cfg.decode_head.update(head)
    with CARD:
        model = MODELS.build(cfg)
        model.data_preprocessor = MODELS.build(cfg.data_preprocessor)
    model.data_preprocessor._device = CARD
    return model


def toy_model(**head):
    model = build(Config.fromfile(TOY).model, **head)
    assert {p.device for p in model.parameters()} == {CARD}
    return model


def batch_of(count, side=SIDE, **meta):
    """Images and labels as a loader gives them, on the CPU."""
    sides = dict(img_shape=(side, side), ori_shape=(side, side), pad_shape=(side, side))
    samples = [
        SegDataSample(
            gt_sem_seg=PixelData(data=torch.zeros(1, side, side, dtype=torch.long)),
            metainfo=dict(**sides, **meta),
        )
        for _ in range(count)
    ]
    images = [torch.zeros(3, side, side, dtype=torch.uint8) for _ in range(count)]
    return dict(inputs=images, data_samples=samples)


def test_mixed_devices_fail_as_on_a_card(card):
    with pytest.raises(RuntimeError, match='same device'):
        torch.zeros(1, device=card) + torch.zeros(1, 1)


@pytest.mark.parametrize('kind', ['PANHead', 'FPAHead'])
def test_losses(card, kind):
    """Forward alone: torch's backward asks for a real card."""
    level = {} if kind == 'PANHead' else dict(in_channels=128, in_index=3)
    model = toy_model(type=kind, **level).train()
    with torch.no_grad():
        losses = model(**model.data_preprocessor(batch_of(2), True), mode='loss')
    assert {value.device for value in losses.values()} == {CARD}


@pytest.mark.parametrize('dtype', [torch.bfloat16, None])
def test_inference(card, monkeypatch, dtype):
    monkeypatch.setattr(fast_inference, 'has_bfloat16', lambda: True)
    model = toy_model()
    fast_inference.prepare_for_inference(model, fuse=False, channels_last=False, dtype=dtype)
    with torch.no_grad():
        data = model.data_preprocessor(batch_of(2, flip=True, flip_direction='horizontal'), False)
        logits = model.inference(data['inputs'], [s.metainfo for s in data['data_samples']])
        found = postprocess_labels(model, logits, data['data_samples'])
    assert {sample.pred_sem_seg.data.device for sample in found} == {CARD}


def test_inference_in_windows(card):
    model = toy_model().eval()
    data = model.data_preprocessor(batch_of(1), False)
    with torch.no_grad():
        logits = windowed_logits(model, data['inputs'], [data['data_samples'][0].metainfo], 48)
    assert (logits.device, logits.shape) == (CARD, (1, 7, SIDE, SIDE))


def test_test_time_augmentation(card):
    model = FastTTAModel(toy_model().eval())
    assert model.batches_flips
    views = [batch_of(1), batch_of(1, flip=True, flip_direction='horizontal')]
    data = {key: [view[key] for view in views] for key in views[0]}
    with torch.no_grad():
        (mean,) = model.average(data)
    assert (mean.device, mean.shape) == (CARD, (7, SIDE, SIDE))


@pytest.mark.parametrize('preprocess', [False, True])
def test_outputs_that_are_compared_lie_on_the_cpu(card, preprocess):
    model = toy_model().eval()
    image = torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8 if preprocess else torch.float32)
    graph = SegmentorGraph(model, preprocess)
    assert reference_logits(graph, image).device.type == 'cpu'
    with torch.no_grad():
        assert parity.segment(model, batch_of(1))[0].device.type == 'cpu'
        assert segment_image(model, image).device.type == 'cpu'


def test_time_is_taken_when_the_card_has_finished(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'synchronize', lambda: calls.append('waited'))
    devices.now()
    assert calls == ['waited']


def test_parity_waits_for_the_network(monkeypatch, card):
    model = toy_model().eval()
    clock = iter([10.0, 12.5])
    monkeypatch.setattr(parity, 'now', lambda: next(clock))
    assert parity.segment(model, batch_of(1))[1] == 2.5


@pytest.mark.parametrize(
    ('instructions', 'expected'), [((False, False), False), ((True, False), True)]
)
def test_bfloat16_of_a_processor_is_that_of_its_instructions(monkeypatch, instructions, expected):
    """The answer of oneDNN is yes on any AVX-512, where it is emulated."""
    monkeypatch.setattr(devices.platform, 'machine', lambda: 'x86_64')
    monkeypatch.setattr(torch.ops.mkldnn, '_is_mkldnn_bf16_supported', lambda: True)
    monkeypatch.setattr(torch.cpu, '_is_avx512_bf16_supported', lambda: instructions[0])
    monkeypatch.setattr(torch.cpu, '_is_amx_tile_supported', lambda: instructions[1])
    assert devices.cpu_has_bfloat16() is expected


@pytest.mark.parametrize('name', ['meta', 'nonsense', 'cuda:99'])
def test_a_device_that_cannot_be_used_is_an_error_message(name):
    with pytest.raises(UserError, match=f'--device {name} cannot be used'):
        devices.check_device(name)


@pytest.mark.parametrize('tool', ['attention.py', 'window_share.py'])
def test_tools_check_the_device_first(tool, run_tool, toy_checkpoint, toy_root):
    image = toy_root / 'JPEGImages/val_00000.jpg'
    command = dict(
        attention=[TOY, toy_checkpoint, image],
        window_share=[image, '--checkpoint', toy_checkpoint, '--windows', 64],
    )[tool.removesuffix('.py')]
    done = run_tool(f'analysis_tools/{tool}', *command, '--device', 'nonsense', check=False)
    assert done.returncode == 2
    assert '--device nonsense cannot be used' in done.stderr


def test_more_processes_than_cards(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    cli.check_cards()
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '3')
    with pytest.raises(UserError, match='3 processes need as many GPUs, and torch finds 2'):
        cli.check_cards()
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    cli.check_cards()  # several processes share a CPU


def test_launch_script_tells_how_many_processes_a_machine_has():
    assert 'LOCAL_WORLD_SIZE=$processes' in (ROOT / 'tools/dist_train.sh').read_text()
