"""What the README prints can be typed."""

import re

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from conftest import ROOT

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
    named += [link for link in re.findall(r'\]\(([^)]+)\)', README) if '://' not in link]
    assert len(named) > 12
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing


def test_recipe_for_other_configs_works(tmp_path):
    """The block, appended to somebody's config of another head on a ResNet."""
    (recipe,) = blocks('python')
    base = ROOT / 'configs/pan/fcn_r50-d16_voc.py'
    config = tmp_path / 'theirs.py'
    config.write_text(f"_base_ = '{base}'\n{recipe}")
    model = MODELS.build(Config.fromfile(config).model).eval()
    assert type(model.decode_head).__name__ == 'PANHead'
    with torch.no_grad():
        assert model(torch.rand(1, 3, 64, 64), mode='tensor').shape == (1, 21, 16, 16)
    assert len([line for line in recipe.splitlines() if line.strip()]) <= 13


@pytest.mark.parametrize('text', [README, CARD], ids=['README', 'card'])
def test_nothing_is_left_to_fill_in(text):
    assert not re.search(r'TODO|FIXME|@[A-Z]+@', text)
