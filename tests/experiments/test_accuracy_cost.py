"""Accuracy beside cost, from the results of an experiment file."""

import json

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmseg_pan import UserError
from mmseg_pan.benchmarks.complexity import count_cost
from mmseg_pan.experiments.accuracy_cost import accuracy_over_cost
from mmseg_pan.experiments.spec import read_spec
from tests.paths import ROOT

PAN = 'configs/pan/pan_r18-d16_toy.py'
SPEC = f"""
runs:
  - {{name: PAN, config: {PAN}, seeds: [0, 1]}}
  - name: narrow
    config: {PAN}
    seeds: [0]
    options: {{model.decode_head.channels: 16}}
  - {{name: FCN, config: configs/pan/fcn_r18-d16_toy.py, seeds: [0]}}
"""


@pytest.fixture
def spec(tmp_path):
    """Two of three networks have results, one of them two."""
    file = tmp_path / 'heads.yaml'
    file.write_text(SPEC)
    rows = [('PAN', 60.0), ('narrow', 50.0), ('PAN', 64.0), ('of another file', 1.0)]
    lines = [dict(kind='run', name=name, mIoU=value) for name, value in rows]
    lines.append(dict(kind='comparison', first='PAN', second='narrow', mIoU=dict(mean=12)))
    file.with_suffix('.jsonl').write_text('\n'.join(map(json.dumps, lines)))
    return file


def test_what_has_results_is_counted_and_timed_as_it_was_run(spec):
    pan, narrow = accuracy_over_cost(read_spec(spec, ROOT), 'mIoU', (64, 96), rounds=3)
    assert (pan['name'], pan['accuracy']) == ('PAN', [60.0, 64.0])
    assert (narrow['name'], narrow['accuracy']) == ('narrow', [50.0])
    assert {pan['head'], narrow['head']} == {'PANHead'}
    for found, options in ((pan, {}), (narrow, {'model.decode_head.channels': 16})):
        cfg = Config.fromfile(ROOT / PAN)
        cfg.merge_from_dict(options)
        cost = count_cost(cfg.model, 64, 96)['total']
        assert (found['multiply_adds'], found['parameters']) == tuple(cost)
        low, median, high = found['ms']
        assert 0 < low <= median <= high


def test_no_results_yet(spec):
    with pytest.raises(UserError, match=r'no run with "mIoU_nine" \(it has: mIoU\)'):
        accuracy_over_cost(read_spec(spec, ROOT), 'mIoU_nine', (64, 64), rounds=1)
    spec.with_suffix('.jsonl').unlink()
    with pytest.raises(UserError, match=r'no run with "mIoU" \(it has: none\); type'):
        accuracy_over_cost(read_spec(spec, ROOT), 'mIoU', (64, 64), rounds=1)


def test_tool_draws_and_keeps_the_numbers(spec, run_tool, tmp_path):
    command = ['analysis_tools/accuracy_cost.py', spec, '--mean', 'mIoU', '--rounds', 1]
    run_tool(*command, '--shape', 64, 64, '--out', 'cost.png')
    picture = np.array(Image.open(tmp_path / 'cost.png').convert('RGB'))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20
    found = json.loads((tmp_path / 'cost.json').read_text())
    assert [network['name'] for network in found['networks']] == ['PAN', 'narrow']
    assert found['shape'] == [64, 64] and 'torch' in found['machine']
    done = run_tool(*command, '--out', 'cost.xyz', check=False)
    assert done.returncode == 2 and 'must end in one of' in done.stderr
