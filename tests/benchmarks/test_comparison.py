"""The benchmark: what it counts, how it takes turns, and what it says of mistakes."""

import re
import sys
from functools import partial
from types import ModuleType

import pytest
import torch
from mmengine.config import Config

from mmseg_pan import UserError
from mmseg_pan.benchmarks import comparison, timing
from mmseg_pan.benchmarks.complexity import count_cost
from mmseg_pan.benchmarks.contenders import from_config, from_smp
from mmseg_pan.benchmarks.peak_memory import peak_memory
from tests.paths import ROOT

TOY = Config.fromfile(ROOT / 'configs/pan/pan_r18-d16_toy.py').model


def test_actions_take_turns_after_a_round_to_warm_up():
    order = []
    actions = {
        name: lambda name=name: order.append(name) or dict(whole=len(order)) for name in 'ab'
    }
    times = timing.interleave(actions, rounds=3)
    assert ''.join(order) == 'ab' * 4
    assert times == {'a': {'whole': [3, 5, 7]}, 'b': {'whole': [4, 6, 8]}}


def test_options_alone_and_together():
    assert comparison.variants([]) == [()]
    assert comparison.variants(['x']) == [(), ('x',)]
    assert comparison.variants(['x', 'y']) == [(), ('x',), ('y',), ('x', 'y')]


@pytest.mark.parametrize('train', [False, True])
def test_rows_of_a_comparison(train):
    models = [partial(from_config, name, TOY) for name in ('one', 'other')]
    options = comparison.variants(['channels-last'])
    rows, limits = comparison.compare_contenders(models, (32, 32), 2, 2, train, options)
    names = ['one', 'one + channels-last', 'other', 'other + channels-last']
    assert [row['model'] for row in rows] == names
    assert rows[0]['ratio'] == 1
    assert len(limits) == 6 and 'matrix product in float32' in limits and 'copy' in limits
    limit = max(rate for name, rate in limits.items() if name != 'copy')
    cost = count_cost(TOY, 32, 32)
    for row in rows:
        assert row['cost']['total'] == cost['total']
        assert row['cost']['head'] == cost['decode_head']
        assert len(row['times']['whole']) == 2
        seconds = sorted(row['times']['whole'])
        # Two images; a step costs three times the forward pass.
        operations = 2 * 2 * cost['total'].multiply_adds * (3 if train else 1)
        low, high = (operations / s / limit for s in reversed(seconds))
        assert low * 0.999 <= row['share'] <= high * 1.001
    lines = comparison.contender_table(rows).splitlines()
    assert len(lines) == 2 + 4
    assert len({line.count('|') for line in lines}) == 1
    assert '3x3 convolution, channels-last in float32' in comparison.describe_limits(limits)


def test_a_step_changes_every_weight():
    contender = from_config('toy', TOY)
    contender.prepare(train=True)
    before = {k: v.clone() for k, v in contender.model.named_parameters()}
    images, labels = torch.randn(2, 3, 64, 64), torch.randint(7, (2, 64, 64))
    timing.training_step(contender, images, labels)()
    still = [
        k
        for k, v in contender.model.named_parameters()
        if v.ndim == 4 and torch.equal(v, before[k])
    ]
    assert still == []


def test_parts_together_are_the_model():
    contender = from_config('toy', TOY)
    contender.prepare()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        logits = contender.head(contender.backbone(image))
        assert torch.equal(logits, contender.model(image, mode='tensor'))


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='the kernel of Linux counts')
def test_peak_memory_is_that_of_the_work():
    held = []

    def work():
        for _ in range(4):
            torch.ones(2**24)  # 64 MiB, given back at once
        held.append(torch.ones(2**23))

    found = peak_memory(work) / 2**20
    assert 0.9 * 64 < found < 1.5 * 64 + 32


def test_smp_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, 'segmentation_models_pytorch', None)
    with pytest.raises(UserError, match=r'smp:PAN.* needs .*requirements/benchmark\.txt'):
        from_smp('smp:PAN:resnet18:16')


@pytest.mark.parametrize('name', ['smp:PAN', 'smp:NoSuch:resnet18:16', 'smp:PAN:resnet18:x'])
def test_smp_that_is_misspelt(monkeypatch, name):
    stand_in = ModuleType('segmentation_models_pytorch')
    stand_in.PAN = lambda **options: None
    monkeypatch.setitem(sys.modules, 'segmentation_models_pytorch', stand_in)
    with pytest.raises(UserError, match=r'is not a model .* such as smp:PAN:resnet101:16'):
        from_smp(name)


def test_smp_models_take_part():
    try:
        contender = from_smp('smp:PAN:resnet18:16')
    except UserError as error:
        pytest.skip(str(error))
    rows, _ = comparison.compare_contenders([lambda: contender], (128, 128), 1, 2, False, [()])
    assert rows[0]['cost']['head'].parameters > 0
    image = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        assert torch.equal(contender.head(contender.backbone(image)), contender.model(image))


def test_benchmark_as_a_user_types_it(run_tool):
    config = ROOT / 'configs/pan/pan_r18-d16_toy.py'
    args = ['--vs', ROOT / 'configs/pan/fcn_r18-d16_toy.py', '--shape', 64, 64, '--rounds', 2]
    output = run_tool('analysis_tools/benchmark.py', config, *args).stdout
    assert 'inference, 64x64, batch 1, median (quartiles) of 2 interleaved rounds' in output
    assert re.search(r'^\| pan_r18-d16_toy \| \d', output, re.M)
    assert re.search(r'^\| fcn_r18-d16_toy \| \d', output, re.M)


def test_get_flops(run_tool):
    config = ROOT / 'configs/pan/pan_r101-d16_voc.py'
    output = run_tool('analysis_tools/get_flops.py', config).stdout
    assert re.search(r'^backbone +53\.07 G multiply-adds +42\.52 M parameters$', output, re.M)
    assert re.search(r'^decode_head +10\.48 G multiply-adds +9\.55 M parameters$', output, re.M)
    assert re.search(r'^total +63\.5\d G multiply-adds', output, re.M)
