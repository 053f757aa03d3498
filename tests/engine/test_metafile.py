import yaml
from mmengine.config import Config

from conftest import ROOT
from mmseg_pan.engine.experiments import read_results
from mmseg_pan.engine.metafile import METAFILE, metafile


def test_the_file_is_what_the_configs_and_results_say():
    assert METAFILE.read_text() == metafile(), 'type "python tools/misc/write_metafile.py"'
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
