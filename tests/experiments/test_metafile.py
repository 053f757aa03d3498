import json

import pytest
import yaml
from mmengine.config import Config

from mmseg_pan.experiments.card import tables, with_tables
from mmseg_pan.experiments.metafile import metafile
from mmseg_pan.experiments.pages import with_cells
from mmseg_pan.experiments.results import read_results
from tests.paths import ROOT

CARD = ROOT / 'configs/pan/README.md'
METAFILE = ROOT / 'configs/pan/metafile.yaml'


def test_the_file_is_what_the_configs_and_results_say():
    assert METAFILE.read_text() == metafile(ROOT), 'type "python tools/misc/write_results.py"'
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert [ROOT / path for path in index['Import']] == [METAFILE]


def test_every_config_is_listed_with_its_recipe():
    models = {model['Config']: model for model in yaml.safe_load(METAFILE.read_text())['Models']}
    assert set(models) == {f'configs/pan/{f.name}' for f in (ROOT / 'configs/pan').glob('*.py')}
    voc = models['configs/pan/pan_r101-d16_voc.py']['Metadata']
    assert voc['Architecture'] == ['ResNetV1c-101', 'PANHead']
    assert (voc['Batch Size'], voc['Iterations']) == (16, 40000)
    for path, model in models.items():
        assert model['Metadata']['Iterations'] == Config.fromfile(ROOT / path).train_cfg.max_iters


def recorded():
    return [
        (file, line)
        for file in sorted((ROOT / 'configs/pan/results').glob('*.jsonl'))
        for line in read_results(file)
        if line['kind'] == 'run' and line['iterations']
    ]


def test_every_run_on_record_is_in_one_result_with_its_own_kind_only():
    models = yaml.safe_load(METAFILE.read_text())['Models']
    results = [(model, result) for model in models for result in model.get('Results', [])]
    counted = 0
    for model, result in results:
        runs = [
            line
            for file, line in recorded()
            if (str(file.relative_to(ROOT)), line['config']) == (result['Record'], model['Config'])
            and (line['device'], line['options'], line['iterations'])
            == (result['Training Resources'], result['Options'], result['Iterations'])
        ]
        assert sorted(line['seed'] for line in runs) == sorted(result['Seeds'])
        for key, value in result['Metrics'].items():
            assert value == round(sum(line[key] for line in runs) / len(runs), 2)
        counted += len(runs)
    assert counted == len(recorded()) > 40


RUN = dict(
    kind='run', name='PAN', config='configs/pan/pan_r18-d16_toy.py', iterations=5, test_images=4
)
RUN |= dict(options={}, config_sha256='1', lists={'train.txt': '1'}, weights={}, device='CPU')


@pytest.mark.parametrize(
    'other',
    [
        dict(device='CUDA'),
        dict(options={'custom_hooks': [{'type': 'EMAHook'}]}),
        dict(options={'model.backbone.init_cfg.checkpoint': 'weights/other.pth'}),
        dict(lists={'train.txt': '2'}),
        dict(config_sha256='2'),
        'another file',
    ],
    ids=str,
)
def test_what_differs_is_another_result(tmp_path, other):
    folder = tmp_path / 'configs/pan'
    (folder / 'results').mkdir(parents=True)
    (folder / 'pan_r18-d16_toy.py').write_text(f"_base_ = '{ROOT / RUN['config']}'\n")
    lines = [RUN | dict(seed=seed, mIoU=value) for seed, value in enumerate((50.0, 60.0, 10.0))]
    second = 'b' if other == 'another file' else 'a'
    lines[2] |= {} if other == 'another file' else other
    for file, some in (('a', lines[:2]), (second, lines[2:])):
        with (folder / f'results/{file}.jsonl').open('a') as record:
            record.writelines(json.dumps(line) + '\n' for line in some)
    (model,) = yaml.safe_load(metafile(tmp_path))['Models']
    found = [(result['Seeds'], result['Metrics']['mIoU']) for result in model['Results']]
    assert found == [([0, 1], 55.0), ([2], 10.0)]


def test_the_card_s_tables_are_what_the_results_say():
    text = CARD.read_text()
    assert text.count('<!-- results:') >= 1
    assert text == with_cells(with_tables(text, CARD.parent / 'results'), ROOT), (
        'type "python tools/misc/write_results.py"'
    )


def test_tables_show_mean_spread_and_what_is_not_resolved():
    def run(name, seed, miou):
        line = dict(kind='run', name=name, seed=seed, mIoU=miou, mIoU_two=50.0, aAcc=90.0)
        return line | dict(seconds_per_iteration=0.5)

    def gap(low, high):
        return dict(mean=(low + high) / 2, low=low, high=high)

    lines = [run('A', 0, 60.0), run('B', 0, 40.0), run('A', 1, 62.0)]
    compared = dict(kind='comparison', first='A', second='B', mIoU=gap(20, 22), mIoU_two=gap(-1, 3))
    found = tables([*lines, compared]).splitlines()
    assert found[0] == '|  | seeds | mIoU % | mIoU %, two classes | accuracy % | s / iteration |'
    assert found[2] == '| A | 2 | 61.00 (1.41) | 50.00 (0.00) | 90.00 (0.00) | 0.50 |'
    assert found[3] == '| B | 1 | 40.00 | 50.00 | 90.00 | 0.50 |'
    assert found[-1] == (
        '| A minus B | +21.00 [+20.00, +22.00] | +1.00 [-1.00, +3.00], not resolved |'
    )
    assert len({line.count('|') for line in found[:4]}) == 1


def test_a_difference_of_two_networks_has_an_interval_over_images():
    line = dict(kind='run', aAcc=90.0, seconds_per_iteration=0.5, seed=0, mIoU=60.0)
    alone = dict(mean=2.0, low=None, high=None)
    pair = dict(kind='comparison', first='A', second='B')
    for gap, words in (
        (alone, '+2.00, no interval'),
        (alone | dict(images_low=1, images_high=3), '+2.00 [+1.00, +3.00] for these two networks'),
        (alone | dict(images_low=-1, images_high=5), 'for these two networks, not resolved'),
    ):
        runs = [line | dict(name='A'), line | dict(name='B')]
        assert f'{words} |' in tables([*runs, pair | dict(mIoU=gap)]).splitlines()[-1]
