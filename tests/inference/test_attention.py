import runpy
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from mmseg_pan import UserError
from mmseg_pan.inference import load_segmentor
from mmseg_pan.inference.attention import Attention, gather_attention, summarize
from mmseg_pan.reports.attention_plot import draw_attention
from tests.paths import ROOT, TOY


@pytest.fixture(scope='module')
def image():
    return np.random.default_rng(0).integers(0, 256, (70, 100, 3)).astype(np.uint8)


@pytest.fixture
def model(toy_checkpoint):
    return load_segmentor(toy_checkpoint, TOY)


@torch.no_grad()
def test_factors_are_those_that_the_blocks_multiply_by(model, image):
    blocks = gather_attention(model, image)
    assert [block.name for block in blocks] == ['FPA', 'GAU at 1/16', 'GAU at 1/8', 'GAU at 1/4']
    pixels = torch.from_numpy(image.transpose(2, 0, 1))
    inputs = model.data_preprocessor(dict(inputs=[pixels], data_samples=None), training=False)
    *lows, deepest = model.extract_feat(torch.as_tensor(inputs['inputs']))
    fpa = model.decode_head.fpa
    x = deepest
    expected = fpa(x) - fpa.global_branch(x.mean((2, 3), keepdim=True))
    found = fpa.main(x) * torch.as_tensor(blocks[0].factors)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    y = fpa(x)
    for gau, low, block in zip(model.decode_head.gau, reversed(lows), blocks[1:], strict=True):
        passed = gau.low(low) * torch.as_tensor(block.factors)
        resized = torch.nn.functional.interpolate(y, low.shape[2:], mode='bilinear')
        y = gau(low, y)
        torch.testing.assert_close(passed + resized, y, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(block.shown, passed[0].mean(0), rtol=1e-4, atol=1e-5)


def test_no_hook_is_left(model, image):
    gather_attention(model, image)
    assert not [name for name, m in model.named_modules() if m._forward_hooks]


def test_blocks_without_factors_are_left_out(model, image):
    for gau in model.decode_head.gau:
        gau.gate = None
    assert [block.name for block in gather_attention(model, image)] == ['FPA']
    model.decode_head.fpa.down = torch.nn.ModuleList()
    with pytest.raises(UserError, match='PANHead has no FPA with a pyramid and no GAU with a gate'):
        gather_attention(model, image)


def test_the_line_says_range_and_share_of_zeros():
    factors = np.array([-1, 0, 0, 2.5]).reshape(4, 1, 1)
    line = summarize(Attention('FPA', factors, factors[0]))
    assert line == 'FPA: -1 to 2.5, mean 0.375; 50.0% are zero, 25.0% below'


def test_the_picture_shows_where_the_map_is_high(image):
    shown = np.zeros((4, 4), np.float32)
    dark, bright = (
        draw_attention(image, [('FPA', shown + row, shown + row)])
        for row in (0, np.float32([[0], [0], [3], [-3]]))
    )
    assert dark != bright


def test_the_tool(toy_checkpoint, image, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(image).save('photo.png')

    def run(*line):
        monkeypatch.setattr(sys, 'argv', ['attention.py', str(TOY), str(toy_checkpoint), *line])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / 'tools/analysis_tools/attention.py'), run_name='__main__')
        return ended.value.code

    assert not run('photo.png')
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(':')[0] for line in lines[-5:-1]] == [
        'FPA', 'GAU at 1/16', 'GAU at 1/8', 'GAU at 1/4'
    ]  # fmt: skip
    assert Image.open('attention.png').width > 1000
    assert run('none.png') == 2
    assert 'error: The photograph none.png does not exist' in capsys.readouterr().err
