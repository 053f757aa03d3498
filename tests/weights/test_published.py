"""Published files: what they hold, that they hold no more, and that they load everywhere."""

import hashlib
import json
import re

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from mmseg.apis import inference_model, init_model
from mmseg.registry import MODELS
from safetensors import safe_open

from mmseg_pan import UserError
from mmseg_pan.datasets.toy import ToyShapesDataset
from mmseg_pan.inference import load_segmentor
from mmseg_pan.weights.published import open_checkpoint, read_values
from mmseg_pan.weights.publishing import publish
from tests.paths import ROOT

TOY = ROOT / 'configs/pan/pan_r18-d16_toy.py'
IMAGE = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)


@pytest.fixture
def checkpoint(tmp_path):
    """A training checkpoint with optimizer and paths, which are not for publishing."""
    cfg = Config.fromfile(TOY)
    cfg.work_dir = '/home/somebody/secret'
    model = MODELS.build(cfg.model)
    meta = dict(cfg=cfg.pretty_text, dataset_meta=dict(ToyShapesDataset.METAINFO), iter=7)
    file = tmp_path / 'iter_7.pth'
    optimizer = dict(state={0: torch.zeros(10**6)})
    torch.save(dict(meta=meta, state_dict=model.state_dict(), optimizer=optimizer), file)
    return file


def logits(model):
    return inference_model(model, IMAGE).seg_logits.data


@pytest.mark.parametrize('suffix', ['safetensors', 'pth'])
@pytest.mark.parametrize('half', [False, True])
def test_published_file_is_all_that_inference_needs(checkpoint, tmp_path, suffix, half):
    file = publish(
        checkpoint,
        tmp_path / 'out' / f'pan.{suffix}',
        half,
        metrics=dict(mIoU=12.5),
        provenance=dict(seed='0'),
    )
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert file.name == f'pan-{digest[:8]}.{suffix}'
    assert file.stat().st_size < (0.35 if half else 0.7) * checkpoint.stat().st_size
    found = open_checkpoint(file)
    assert found.classes == ToyShapesDataset.METAINFO['classes']
    assert [*map(list, found.palette)] == [*map(list, ToyShapesDataset.METAINFO['palette'])]
    assert (found.metrics, found.provenance) == (dict(mIoU=12.5), dict(seed='0'))
    assert b'somebody' not in file.read_bytes() and b'data_root' not in file.read_bytes()
    same = torch.testing.assert_close if half else torch.equal
    tolerance = dict(rtol=0.05, atol=0.01) if half else {}
    original = load_segmentor(checkpoint)
    same(logits(load_segmentor(file)), logits(original), **tolerance)
    # MMSegmentation's own loader, with the config from the repository.
    same(logits(init_model(str(TOY), str(file), device='cpu')), logits(original), **tolerance)
    if not half:
        assert torch.equal(logits(load_segmentor(file)), logits(original))


def test_sizes_stay_tuples_as_mmcv_wants_them(tmp_path):
    voc = ROOT / 'configs/pan/pan_r18-d16_voc.py'
    cfg = Config.fromfile(voc)
    cfg.model.backbone.init_cfg = None
    checkpoint = tmp_path / 'voc.pth'
    state = MODELS.build(cfg.model).state_dict()
    torch.save(dict(meta=dict(cfg=cfg.pretty_text), state_dict=state), checkpoint)
    file = publish(checkpoint, tmp_path / 'voc.safetensors')
    for source in (checkpoint, file):
        assert logits(load_segmentor(source)).shape == (21, 64, 80)


def test_publishing_again_gives_the_same_file(checkpoint, tmp_path):
    names = {publish(checkpoint, tmp_path / 'a.safetensors').name for _ in range(4)}
    assert len(names) == 1


def test_safetensors_are_those_that_others_read(checkpoint, tmp_path):
    file = publish(checkpoint, tmp_path / 'a.safetensors', half=True)
    with safe_open(file, 'pt') as opened:
        assert opened.metadata()['format'] == 'pt'
        assert opened.get_tensor('decode_head.conv_seg.weight').dtype is torch.float16
        assert json.loads(opened.metadata()['mmseg_pan'])['config']['model']['decode_head']


def test_tools_publish_and_test(run_tool, checkpoint, tmp_path):
    done = run_tool(
        *('misc/publish_model.py', checkpoint, '--out', 'pan.safetensors'),
        *('--metrics', 'mIoU=12.5', 'aAcc=50', '--provenance', 'seed=0', 'test=size=512, val'),
    )
    (file,) = tmp_path.glob('pan-*.safetensors')
    assert f'Written: {file.name}' in done.stdout
    found = open_checkpoint(file)
    assert found.metrics == dict(mIoU=12.5, aAcc=50)
    assert found.provenance == dict(seed='0', test='size=512, val')
    run_tool('test.py', TOY, file, '--work-dir', 'test')
    assert 'mIoU' in json.loads(next(tmp_path.glob('test/*/*.json')).read_text())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--out', 'pan.onnx'], r'must end in \.safetensors or \.pth'),
        (['--out', 'p.pth', '--metrics', 'mIoU'], 'must be NAME=NUMBER'),
        (['--out', 'p.pth', '--provenance', 'mine'], '--provenance mine must be NAME=TEXT'),
    ],
)
def test_mistakes_at_the_tool(run_tool, checkpoint, tmp_path, options, message):
    done = run_tool('misc/publish_model.py', checkpoint, *options, check=False)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert re.search(message, done.stderr)
    assert not list(tmp_path.glob('p*'))


def test_weights_without_a_config(checkpoint, tmp_path):
    bare = tmp_path / 'bare.pth'
    torch.save(torch.load(checkpoint)['state_dict'], bare)
    opened = open_checkpoint(bare)
    assert opened.cfg is None
    with pytest.raises(UserError, match='holds no config; type "--config FILE"'):
        publish(bare, tmp_path / 'x.pth')
    with pytest.raises(UserError, match=r'bare\.pth holds no config; name the one'):
        load_segmentor(bare)
    assert load_segmentor(bare, TOY).dataset_meta['classes'][1] == 'disk'
    with pytest.raises(UserError, match='does not fit the config'):
        load_segmentor(bare, ROOT / 'configs/pan/fcn_r18-d16_toy.py')
    with pytest.raises(UserError, match=r'none\.py does not exist'):
        load_segmentor(bare, tmp_path / 'none.py')
    with pytest.raises(UserError, match=r'none\.pth does not exist'):
        load_segmentor(tmp_path / 'none.pth')
    broken = tmp_path / 'broken.safetensors'
    broken.write_bytes(b'no tensors')
    with pytest.raises(UserError, match='cannot be read as weights'):
        load_segmentor(broken)


def test_a_config_s_text_is_read_and_not_run():
    text = "a = dict(b=[1, (2.5, None)], c={'d': True, 'e': dict(f='x')})\ng = -3\n"
    expected = dict(a=dict(b=[1, (2.5, None)], c=dict(d=True, e=dict(f='x'))), g=-3)
    assert read_values(text) == expected
    for code in ("a = __import__('os').getpid()", 'a = dict([(1, 2)])', 'a = [b for b in c]', '('):
        assert read_values(code) is None
    files = sorted((ROOT / 'configs/pan').glob('*.py'))
    assert len(files) > 60
    for number, file in enumerate(files):
        values = Config.fromfile(file).to_dict()
        # Line breaks, which take a quarter of a second a config, in the first ones only.
        found = read_values(Config(values, format_python_code=number < 3).pretty_text)
        assert found['model'] == values['model'], file
        assert found.keys() == values.keys(), file
    assert read_values("a = dict({'x.y': dict(b=1)}, c=2)") == dict(a={'x.y': dict(b=1), 'c': 2})
    assert read_values('a = dict({}, {})') is None


class Harmless:
    """Not on the list of what checkpoints may hold."""


def test_unsafe_load_reads_what_is_refused_without(checkpoint, tmp_path):
    file = torch.load(checkpoint)
    file['meta']['object'] = Harmless()
    torch.save(file, tmp_path / 'theirs.pth')
    with pytest.raises(UserError, match='"--unsafe-load"'):
        load_segmentor(tmp_path / 'theirs.pth')
    model = load_segmentor(tmp_path / 'theirs.pth', unsafe=True)
    assert torch.equal(logits(model), logits(load_segmentor(checkpoint)))


def test_mmengines_loader_tells_of_a_damaged_file(tmp_path):
    (tmp_path / 'broken.safetensors').write_bytes(b'no tensors')
    with pytest.raises(UserError, match='cannot be read as weights'):
        CheckpointLoader.load_checkpoint(str(tmp_path / 'broken.safetensors'))
