"""A published file segments as its checkpoint does, or is not written."""

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from PIL import Image

from mmseg_pan import UserError
from mmseg_pan.inference import load_segmentor
from mmseg_pan.weights import publishing
from mmseg_pan.weights.agreement import segment_image, synthetic_images
from mmseg_pan.weights.publishing import publish, survives_half
from mmseg_pan.weights.tensors import read_weights
from tests.models.reference import randomize
from tests.paths import TOY

STEM = 'backbone.stem.'
LAST = 'decode_head.conv_seg.'


def save(path, model, cfg=None, **meta):
    meta = dict(meta, cfg=cfg.pretty_text) if cfg else meta
    torch.save(dict(meta=meta, state_dict=model.state_dict()), path)
    return path


@pytest.fixture
def make(tmp_path):
    """A checkpoint of the toy network, after a change of its config and of its weights."""

    def make(change=lambda cfg: None, weights=lambda state: None, inside=True):
        cfg = Config.fromfile(TOY)
        change(cfg)
        model = randomize(MODELS.build(cfg.model))
        weights(model.state_dict())
        cfg.dump(tmp_path / 'config.py')
        return save(tmp_path / 'net.pth', model, cfg if inside else None)

    return make


def large_variance(state):
    """Larger weights before a batch norm, which divides by them again."""
    state[f'{STEM}0.weight'] *= 3000
    state[f'{STEM}1.running_mean'] *= 3000
    state[f'{STEM}1.running_var'] *= 3000**2


def large_logits(state):
    for name in ('weight', 'bias'):
        state[f'{LAST}{name}'] *= 1e6


def tiny_weights(state):
    """Weights that are 0 in float16, before a batch norm that makes them large again."""
    state[f'{STEM}0.weight'] *= 1e-9
    state[f'{STEM}1.running_mean'] *= 1e-9
    state[f'{STEM}1.running_var'].copy_(state[f'{STEM}1.running_var'] * 1e-18)
    state[f'{STEM}1.weight'].mul_(1e-9**-1 * 1e-5**0.5 / 1e4)


def one_tiny_channel(state):
    """One channel alone; the next layer makes up for it."""
    state[f'{LAST}weight'][2] *= 1e-8
    state[f'{LAST}bias'][2] *= 1e-8


HALF = {
    'a large variance': (large_variance, f'{STEM}1.running_var'),
    'large logits': (large_logits, f'{LAST}weight'),
    'tiny weights': (tiny_weights, f'{STEM}0.weight'),
    'one tiny channel': (one_tiny_channel, f'{LAST}weight'),
}


@pytest.mark.parametrize('suffix', ['.safetensors', '.pth'])
@pytest.mark.parametrize('name', list(HALF))
def test_what_float16_cannot_hold_stays_in_float32(name, suffix, make, tmp_path):
    change, key = HALF[name]
    source = make(weights=change)
    file = publish(source, tmp_path / f'half{suffix}', half=True)
    state = read_weights(file)
    assert state[key].dtype == torch.float32
    assert torch.equal(state[key], read_weights(source)[key])
    assert state['backbone.layer1.0.conv1.weight'].dtype == torch.float16
    for image in synthetic_images((80, 112)):
        expected, found = (segment_image(load_segmentor(f), image) for f in (source, file))
        assert (expected.argmax(1) == found.argmax(1)).float().mean() > 0.99


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (torch.tensor([1.0, 65504.0]), True),
        (torch.tensor([1.0, 65520.0]), False),
        (torch.tensor([1.0, 1e-7]), False),
        (torch.tensor([[1.0, 1e-7]]), False),
        (torch.tensor([[[[1.0, 1e-9]]]]), True),  # beside a larger one of its kernel
        (torch.tensor(3e-8), False),
        (torch.tensor([3]), False),
    ],
)
def test_tensors_that_survive(value, expected):
    assert survives_half(value) is expected


def nan(state):
    state[f'{STEM}0.weight'][0, 0, 0, 0] = float('nan')


def infinite(state):
    state[f'{LAST}bias'][1] = float('inf')


def overflowing(state):
    """Finite weights whose maps are not."""
    for name in (f'{STEM}0.weight', f'{STEM}3.weight', f'{STEM}6.weight'):
        state[name] *= 1e30


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (nan, r'holds NaN or infinity in 1 tensors, backbone\.stem\.0\.weight among them'),
        (infinite, r'holds NaN or infinity in 1 tensors, decode_head\.conv_seg\.bias'),
        (overflowing, 'gives NaN or infinity on a synthetic image'),
    ],
)
def test_networks_that_are_not_finite_are_refused(change, words, make, tmp_path):
    with pytest.raises(UserError, match=words):
        publish(make(weights=change), tmp_path / 'out.pth')
    assert not list(tmp_path.glob('out*'))


FCN = dict(decode_head=dict(type='FCNHead', in_channels=128, in_index=3, channels=8, num_classes=7))
MISFITS = {
    'a wider head': lambda cfg: cfg.model.decode_head.update(channels=48),
    'more classes': lambda cfg: cfg.model.decode_head.update(num_classes=9),
    'a deeper backbone': lambda cfg: cfg.model.backbone.update(depth=34),
    'another head': lambda cfg: cfg.model.update(decode_head=None) or cfg.model.update(FCN),
}


@pytest.mark.parametrize('inside', [True, False], ids=['config inside', 'weights alone'])
@pytest.mark.parametrize('name', list(MISFITS))
def test_a_config_that_does_not_fit_makes_no_file(name, inside, make, tmp_path):
    source = make(inside=inside)
    other = Config.fromfile(TOY)
    MISFITS[name](other)
    other.dump(tmp_path / 'other.py')
    with pytest.raises(UserError, match=r'does not fit the config: .* give the config that'):
        publish(source, tmp_path / 'out.pth', config=tmp_path / 'other.py')
    with pytest.raises(UserError, match=r'none\.py does not exist'):
        publish(source, tmp_path / 'out.pth', config=tmp_path / 'none.py')
    assert not list(tmp_path.glob('out*'))


@pytest.mark.parametrize('suffix', ['.safetensors', '.pth'])
@pytest.mark.parametrize('fault', ['weights', 'names'])
def test_a_file_that_came_out_otherwise_is_not_written(fault, suffix, make, tmp_path, monkeypatch):
    encode = publishing._encode

    def spoil(state, about, ending):
        if fault == 'weights':
            state = {**state, f'{LAST}bias': state[f'{LAST}bias'].flip(0) + 1}
        else:
            about = {**about, 'classes': about['classes'][::-1]}
        return encode(state, about, ending)

    monkeypatch.setattr(publishing, '_encode', spoil)
    words = 'would segment 100.0% of the pixels' if fault == 'weights' else 'classes or palette'
    with pytest.raises(UserError, match=words):
        publish(make(), tmp_path / f'out{suffix}')
    assert not list(tmp_path.glob('out*'))


NAMES = [f'part {letter}' for letter in 'abcdefg']
COLOURS = [[30 * number, 0, 200] for number in range(7)]


def wrap(kind):
    """Put the test set, with names of its own, into a wrapper; None: only a val set."""

    def change(cfg):
        leaf = cfg.test_dataloader.dataset
        leaf.type = 'CheckedSegDataset'
        leaf.metainfo = dict(classes=NAMES, palette=COLOURS)
        inner = dict(type='RepeatDataset', times=2, dataset=leaf)
        cfg.test_dataloader.dataset = dict(
            RepeatDataset=inner,
            ConcatDataset=dict(type='ConcatDataset', datasets=[leaf, leaf]),
            both=dict(type='ConcatDataset', datasets=[inner, leaf]),
        ).get(kind, leaf)
        if kind == 'list of loaders':
            cfg.test_dataloader = [cfg.test_dataloader, cfg.test_dataloader]
        if kind == 'val only':
            cfg.val_dataloader = cfg.test_dataloader
            cfg.test_dataloader = cfg.test_evaluator = cfg.test_cfg = None

    return change


@pytest.mark.parametrize('suffix', ['.safetensors', '.pth'])
@pytest.mark.parametrize(
    'kind', ['plain', 'RepeatDataset', 'ConcatDataset', 'both', 'list of loaders', 'val only']
)
def test_names_and_colours_of_the_config_are_published(kind, suffix, make, tmp_path):
    source = make(wrap(kind), inside=False)
    file = publish(source, tmp_path / f'out{suffix}', config=tmp_path / 'config.py')
    for model in (load_segmentor(source, tmp_path / 'config.py'), load_segmentor(file)):
        assert list(model.dataset_meta['classes']) == NAMES
        assert [list(colour) for colour in model.dataset_meta['palette']] == COLOURS
        assert model.cfg.test_pipeline[0].type == 'LoadImageFromFile'


def grey(cfg):
    cfg.model.backbone.in_channels = 1
    cfg.model.data_preprocessor.update(mean=[100.0], std=[50.0], bgr_to_rgb=False)
    steps = cfg.test_dataloader.dataset.pipeline
    steps[0].color_type = 'grayscale'


def test_a_grey_network_is_published_and_fed_grey(make, run_tool, tmp_path):
    source = make(grey)
    file = publish(source, tmp_path / 'out.safetensors', half=True)
    assert load_segmentor(file).backbone.stem[0].in_channels == 1
    Image.effect_noise((96, 64), 60).convert('RGB').save(tmp_path / 'photo.png')
    for checkpoint, out in ((source, 'a'), (file, 'b')):
        run_tool('predict.py', 'photo.png', '--checkpoint', checkpoint, '--out', out)
    assert (tmp_path / 'a/photo.png').is_file() and (tmp_path / 'b/photo.png').is_file()


@pytest.mark.parametrize('prefix', ['_orig_mod.', 'model.', 'module.', 'module._orig_mod.', 'net.'])
def test_weights_of_wrappers_are_published_under_their_own_names(prefix, make, tmp_path):
    source = make()
    content = torch.load(source, weights_only=True)
    state = content['state_dict']
    content['state_dict'] = {prefix + key: value for key, value in state.items()}
    torch.save(content, tmp_path / 'wrapped.pth')
    file = publish(tmp_path / 'wrapped.pth', tmp_path / 'out.safetensors')
    assert set(read_weights(file)) == set(state)
