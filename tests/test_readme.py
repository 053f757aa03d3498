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
PAGES = {name: (ROOT / 'docs' / f'{name}.md').read_text() for name in ('install', 'speed', 'train')}


def blocks(language, page=README):
    return re.findall(rf'```{language}\n(.*?)```', page, re.S)


def test_the_readme_is_short():
    assert len(README.split()) <= 900


def test_ci_runs_the_test_command_as_the_readme_prints_it():
    commands = [block.strip() for block in blocks('bash')]
    assert commands[:2] == ['python3 tools/quickstart.py', 'python3 tools/quickstart.py test']
    assert commands[1] in (ROOT / '.ci/run').read_text().splitlines()


def test_files_that_are_named_exist():
    named = re.findall(r'\b((?:configs|tools|docs|requirements|mmseg_pan)/[\w./-]+\.\w+)', README)
    named += [link.split('#')[0] for link in re.findall(r'\]\((?!https?:)([^)]+)\)', README)]
    assert len(named) > 12
    theirs = 'configs/pan/my_parts.py'  # which docs/data.md lets them write
    missing = [name for name in named if name != theirs and not (ROOT / name).exists()]
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


def test_mmsegmentations_functions_work_as_printed(tmp_path, monkeypatch):
    (code,) = blocks('python', PAGES['train'])
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
        return [
            link
            for link in re.findall(r'\]\(([^)]+)\)', text)
            if not link.startswith(('README', 'docs/zh_cn/'))
        ]

    assert numbers(CHINESE) == numbers(README) and len(numbers(README)) > 60
    assert links(CHINESE) == links(README)


@pytest.mark.parametrize(
    ('text', 'tables'),
    [(README, 2), (CHINESE, 2), (PAGES['speed'], 1)],
    ids=['English', 'Chinese', 'speed'],
)
def test_tables_of_measured_numbers_are_what_the_record_says(text, tables):
    assert text.count('<!-- measured:') == tables
    assert text == with_cells(text, ROOT), 'type "python tools/misc/write_results.py"'
    if text is PAGES['speed']:
        return  # its other tables come from one run of a command each
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


def what_fpa_gains() -> list[float]:
    return of_gap(gap('voc_signs', 'PAN, 512x512', 'PAN without FPA, 512x512'))


def quick_start() -> list[float]:
    older = [score('toy_options', 'PAN', 'mIoU', seed) for seed in (0, 1, 2)]
    return [
        *of_gap(gap('quickstart', 'PAN', 'FCN', 'mIoU'), 'images_low', 'images_high'),
        *(score('quickstart_seeds', 'PAN', 'mIoU', seed) for seed in (1, 2)),
        *(statistics.mean(older), statistics.stdev(older)),
    ]


def benchmark(config: str) -> list[str]:
    record = (ROOT / 'configs/pan/results/benchmark_r101.txt').read_text()
    (row,) = [line for line in record.splitlines() if line.startswith(f'| {config} |')]
    return [cell.strip() for cell in row.strip('|').split('|')]


def kernels_and_whole_network() -> list[float]:
    record = (ROOT / 'configs/pan/results/benchmark_r101.txt').read_text()
    rates = {
        name: float(rate) for name, rate in re.findall(r'([\w ,-]+) in float32 ([\d.]+)', record)
    }
    whole = benchmark('pan_r101-d16_voc')
    return [max(rates.values()), rates[' matrix product'], *map(float, whole[1:3])]


def first_screen() -> list[float]:
    head = benchmark('model').index('head / backbone')
    heads = ('pan', 'fcn', 'deeplabv3plus')
    return [
        score('model_deeplabv3', 'the file in the package'),
        score('model_deeplabv3', 'DeepLabV3, the start'),
        *of_gap(gap('voc_heads', 'PAN', 'FCN')),
        *(float(benchmark(f'{name}_r101-d16_voc')[head]) for name in heads),
    ]


#: What the sentences of a section say, in their order, each from its own run.
SAID = {
    (README, 'mmseg_pan'): first_screen,
    (README, 'Reproduce the paper'): what_fpa_gains,
    (PAGES['install'], 'Install'): quick_start,
    (PAGES['speed'], 'Heads on ResNet-101'): kernels_and_whole_network,
}


def sentences(section: str) -> str:
    text = re.sub(r'<!--.*?-->|```\w+\n.*?```|\(https?:[^)]+\)', '', section, flags=re.S)
    text = re.sub(r'(torch |Python |Apache-)\S+', '', text)
    return '\n'.join(line for line in text.splitlines() if line[:1] != '|')


def sections(page: str) -> dict[str, str]:
    """By title: the text from one heading of level 1 or 2 to the next."""
    code = re.compile(r'```\w*\n.*?```', re.S)
    parts = re.split(r'^##? ', code.sub('', page), flags=re.M)[1:]
    return {part.partition('\n')[0]: sentences(part) for part in parts}


@pytest.mark.parametrize(('page', 'title'), SAID, ids=[title for _, title in SAID])
def test_each_number_in_a_sentence_is_that_of_its_run(page, title):
    said, values = decimals(sections(page)[title]), SAID[page, title]()
    assert len(said) == len(values), said
    for printed, value in zip(said, values, strict=True):
        assert printed == f'{value:.{len(printed.partition(".")[2])}f}', said


def test_no_other_sentence_of_the_readme_has_a_number_of_a_run():
    for title, text in sections(README).items():
        assert (README, title) in SAID or not decimals(text), title


@pytest.mark.parametrize('text', [README, CARD], ids=['README', 'card'])
def test_nothing_is_left_to_fill_in(text):
    assert not re.search(r'TODO|FIXME|@[A-Z]+@', text)
