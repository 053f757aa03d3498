"""What the README prints can be typed."""

import re
import statistics

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from PIL import Image

from mmseg_pan.datasets.toy import ToyShapesDataset
from mmseg_pan.experiments.pages import with_cells
from mmseg_pan.experiments.results import read_results
from tests.paths import ROOT

README = (ROOT / 'README.md').read_text()
CHINESE = (ROOT / 'README_zh-CN.md').read_text()
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


def test_the_chinese_page_has_the_same_commands_and_numbers_in_the_same_order():
    code = re.compile(r'```\w+\n.*?```', re.S)
    assert code.findall(CHINESE) == code.findall(README)

    def numbers(text):
        return re.findall(r'\d+(?:[.,]\d+)*', code.sub('', text))

    def links(text):
        return [link for link in re.findall(r'\]\(([^)]+)\)', text) if 'README' not in link[:7]]

    assert numbers(CHINESE) == numbers(README) and len(numbers(README)) > 200
    assert links(CHINESE) == links(README)


@pytest.mark.parametrize('text', [README, CHINESE], ids=['English', 'Chinese'])
def test_tables_of_measured_numbers_are_what_the_record_says(text):
    assert text.count('<!-- measured:') == 3
    assert text == with_cells(text, ROOT), 'type "python tools/misc/write_results.py"'
    others = re.sub(r'<!-- measured:.*?<!-- end -->', '', text, flags=re.S)
    assert not [line for line in others.splitlines() if line[:1] == '|' and decimals(line)]


def decimals(text: str) -> list[str]:
    """Numbers with decimals, no versions, with a minus where they have one."""
    return re.findall(r'(?<![\w.])-?\d+\.\d+(?!\w|\.\d)', text)


def lines_of(name: str) -> list[dict]:
    return read_results(ROOT / f'configs/pan/results/{name}.jsonl')


def gap(name: str, first: str, second: str, mean: str = 'mIoU_nine') -> dict:
    """The comparison of two names on record."""
    (line,) = [
        line
        for line in lines_of(name)
        if (line['kind'], line.get('first'), line.get('second')) == ('comparison', first, second)
    ]
    return line[mean]


def score(name: str, of: str, mean: str = 'mIoU_nine', seed: int = 0) -> float:
    """The mean IoU of a run on record."""
    (line,) = [
        line
        for line in lines_of(name)
        if line['kind'] == 'run' and (line['name'], line['seed']) == (of, seed)
    ]
    return line[mean]


def of_gap(found: dict, low: str = 'low', high: str = 'high') -> list[float]:
    return [found['mean'], found[low], found[high]]


def quick_start() -> list[float]:
    older = [score('toy_options', 'PAN', 'mIoU', seed) for seed in (0, 1, 2)]
    return [
        *of_gap(gap('quickstart', 'PAN', 'FCN', 'mIoU'), 'images_low', 'images_high'),
        *(score('quickstart_seeds', 'PAN', 'mIoU', seed) for seed in (1, 2)),
        *(statistics.mean(older), statistics.stdev(older)),
        *(line['mIoU_nine'] for line in lines_of('model') if line['kind'] == 'test'),
    ]


def cost() -> list[float]:
    record = (ROOT / 'configs/pan/results/benchmark_r101.txt').read_text()
    (row,) = [line for line in record.splitlines() if line.startswith('| pan_r101-d16_voc |')]
    return [float(cell) for cell in row.split('|')[2:4]]


def photographs() -> list[float]:
    heads = {
        name: gap('voc_heads', 'PAN', name)
        for name in [line['second'] for line in lines_of('voc_heads') if 'second' in line]
    }
    sgd = [score('voc_sgd', f'{name}, SGD, 1000 iterations') for name in ('FCN', 'PAN')]
    adamw = 'AdamW 1e-3, a tenth of it in the backbone'
    return [
        *of_gap(heads['FCN']),
        *of_gap(heads['PSP']),
        *of_gap(heads['DeepLabV3+']),
        heads["DeepLabV3+ in PAN's time"]['mean'],
        *of_gap(heads['FPA alone']),
        *of_gap(heads['PAN without context']),
        *of_gap(heads['GAU alone']),
        *sgd,
        -gap('voc_sgd', *(f'{name}, SGD, 1000 iterations' for name in ('PAN', 'FCN')))['mean'],
        score('voc_recipe', f'FCN, {adamw}'),
        score('voc_recipe', 'FCN, SGD 1e-2'),
        score('voc_recipe', f'PAN, {adamw}'),
        score('voc_recipe', 'PAN, SGD 1e-2, ten times that in the head'),
        score('voc_gates', 'PAN, gates start at 1'),
        *(score('voc_heads_float32', name) for name in ('PAN', 'FCN')),
        *(score('voc_heads', name) for name in ('PAN', 'FCN')),
    ]


#: What the sentences of a section say, in their order, each from its own run.
SAID = {
    'Two commands': quick_start,
    'What it costs': cost,
    'Measured on real photographs': photographs,
}
#: Means that a sentence gives without their sign ("0.24 from PAN").
UNSIGNED = {'0.24', '0.05'}


def sentences(section: str) -> str:
    text = re.sub(r'<!--.*?-->|```\w+\n.*?```|\(https?:[^)]+\)', '', section, flags=re.S)
    text = re.sub(r'(torch |Python |Apache-)\S+', '', text)
    return '\n'.join(line for line in text.splitlines() if line[:1] != '|')


def test_each_number_in_a_sentence_is_that_of_its_run():
    _, *sections = re.split(r'^## ', README, flags=re.M)
    by_title = {section.partition('\n')[0]: sentences(section) for section in sections}
    assert set(SAID) <= set(by_title)
    for title, section in by_title.items():
        said = decimals(section)
        values = SAID[title]() if title in SAID else []
        assert len(said) == len(values), f'{title}: {said}'
        for printed, value in zip(said, values, strict=True):
            digits = len(printed.partition('.')[2])
            value = abs(value) if printed in UNSIGNED else value
            assert printed == f'{value:.{digits}f}', f'{title}: {said}'


@pytest.mark.parametrize('text', [README, CARD], ids=['README', 'card'])
def test_nothing_is_left_to_fill_in(text):
    assert not re.search(r'TODO|FIXME|@[A-Z]+@', text)
