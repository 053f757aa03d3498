import yaml
from mmengine.config import Config

from mmseg_pan.experiments.card import tables, with_tables
from mmseg_pan.experiments.metafile import metafile
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


def test_results_are_means_over_the_seeds_of_the_unchanged_config():
    (model,) = [
        model
        for model in yaml.safe_load(METAFILE.read_text())['Models']
        if model['Name'] == 'pan_r18-d16_toy'
    ]
    found = [
        line['mIoU']
        for line in read_results(ROOT / 'configs/pan/results/toy_options.jsonl')
        if line['kind'] == 'run' and not line['options']
    ]
    assert len(found) == 3
    assert model['Results']['Metrics']['mIoU'] == round(sum(found) / 3, 2)


def test_the_card_s_tables_are_what_the_results_say():
    text = CARD.read_text()
    assert text.count('<!-- results:') >= 1
    assert text == with_tables(text, CARD.parent / 'results'), (
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
