"""What the README prints can be typed."""

import json
import re
import statistics
from collections import Counter

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from PIL import Image

from mmseg_pan.datasets.toy import ToyShapesDataset
from mmseg_pan.experiments.results import read_results
from tests.paths import ROOT

README = (ROOT / 'README.md').read_text()
CARD = (ROOT / 'configs/pan/README.md').read_text()


def blocks(language):
    return re.findall(rf'```{language}\n(.*?)```', README, re.S)


def test_ci_runs_the_test_command_as_the_readme_prints_it():
    commands = [block.strip() for block in blocks('bash')]
    assert commands[:2] == ['python3 tools/quickstart.py', 'python3 tools/quickstart.py test']
    assert commands[1] in (ROOT / '.ci/run').read_text().splitlines()


def test_files_that_are_named_exist():
    named = re.findall(r'\b((?:configs|tools|docs|requirements|mmseg_pan)/[\w./-]+\.\w+)', README)
    named += [link.split('#')[0] for link in re.findall(r'\]\((?!https?:)([^)]+)\)', README)]
    assert len(named) > 12
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing


def test_recipe_for_other_configs_works(tmp_path):
    """The block, appended to somebody's config of another head on a ResNet."""
    _, recipe = blocks('python')
    base = ROOT / 'configs/pan/fcn_r50-d16_voc.py'
    config = tmp_path / 'theirs.py'
    config.write_text(f"_base_ = '{base}'\n{recipe}")
    model = MODELS.build(Config.fromfile(config).model).eval()
    assert type(model.decode_head).__name__ == 'PANHead'
    with torch.no_grad():
        assert model(torch.rand(1, 3, 64, 64), mode='tensor').shape == (1, 21, 16, 16)
    assert len([line for line in recipe.splitlines() if line.strip()]) <= 13


def test_mmsegmentations_functions_work_as_printed(tmp_path, monkeypatch):
    code, _ = blocks('python')
    config = ROOT / 'configs/pan/pan_r18-d16_toy.py'
    state = MODELS.build(Config.fromfile(config).model).state_dict()
    meta = dict(dataset_meta=dict(ToyShapesDataset.METAINFO))
    torch.save(dict(meta=meta, state_dict=state), tmp_path / 'iter_40000.pth')
    Image.new('RGB', (80, 64), 'green').save(tmp_path / 'photo.jpg')
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code.replace('configs/pan/pan_r101-d16_voc.py', str(config)), names)
    assert names['labels'].shape == (64, 80)
    assert list((tmp_path / 'predictions').rglob('*.jpg'))


def test_the_chinese_page_has_the_same_commands_and_numbers():
    chinese = (ROOT / 'README_zh-CN.md').read_text()
    code = re.compile(r'```\w+\n.*?```', re.S)
    assert code.findall(chinese) == code.findall(README)

    def numbers(text):
        return Counter(re.findall(r'\d+(?:[.,]\d+)*', code.sub('', text)))

    def links(text):
        return [link for link in re.findall(r'\]\(([^)]+)\)', text) if 'README' not in link[:7]]

    assert numbers(chinese) == numbers(README)
    assert links(chinese) == links(README)


def on_record() -> set[str]:
    """What the results files say, as a page would print it."""
    values = []
    for file in (ROOT / 'configs/pan/results').glob('*.jsonl'):
        lines = read_results(file)
        runs = [line for line in lines if line['kind'] == 'run']
        tests = [line for line in lines if line['kind'] == 'test']
        values += [v for line in tests for v in line.values() if isinstance(v, float)]
        for name in {run['name'] for run in runs}:
            some = [run for run in runs if run['name'] == name]
            for key in (k for k, v in some[0].items() if isinstance(v, float)):
                of_seeds = [run[key] for run in some]
                values += [*of_seeds, statistics.mean(of_seeds)]
                values += [statistics.stdev(of_seeds)] if len(some) > 1 else []
            values += [value for run in some for value in run['IoU'].values() if value]
        compared = [line for line in lines if line['kind'] == 'comparison']
        values += [
            v
            for line in compared
            for k in line
            if k[:4] == 'mIoU'
            for v in line[k].values()
            if v is not None
        ]
    costs = json.loads((ROOT / 'docs/images/accuracy_cost.json').read_text())
    values += [network['multiply_adds'] / 1e9 for network in costs['networks']]
    values += [network['ms'][1] for network in costs['networks']]
    printed = [f.read_text() for f in (ROOT / 'configs/pan/results').glob('benchmark_*.txt')]
    rounded = {f'{abs(value):.{digits}f}' for value in values for digits in (1, 2)}
    return rounded.union(*map(decimals, printed))


def decimals(text: str) -> set[str]:
    return set(re.findall(r'(?<![\w.])\d+\.\d+(?![\w.])', text))


@pytest.mark.parametrize(
    ('title', 'least'),
    [('Two commands', 8), ('What it costs', 20), ('Measured on real photographs', 30)],
)
def test_measured_numbers_are_on_record(title, least):
    """Every number with decimals that is said of results stands in a results file."""
    (section,) = re.findall(rf'## {title}\n(.*?)\n## ', README, re.S)
    said = decimals(re.sub(r'(torch|Python) \S+', '', section))
    assert len(said) > least
    assert not said - on_record()


@pytest.mark.parametrize('text', [README, CARD], ids=['README', 'card'])
def test_nothing_is_left_to_fill_in(text):
    assert not re.search(r'TODO|FIXME|@[A-Z]+@', text)
