"""What a config says about inference reaches the network, however it is written."""

import sys
import sysconfig

import pytest
import torch
from mmengine.config import Config
from mmseg.datasets import PascalVOCDataset
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS

from mmseg_pan import UserError
from mmseg_pan.configs.contents import dataset_names, find_test_pipeline, read_config
from mmseg_pan.inference import load_segmentor
from mmseg_pan.weights.publishing import publish
from tests.paths import TOY

NAMES = list('abcdefg')
OWN_HEAD = """
from mmseg.registry import MODELS
from mmseg_pan.models import PANHead

@MODELS.register_module(force=True)
class {kind}(PANHead):
    pass
"""


def leaf(**meta) -> dict:
    return dict(type='CheckedSegDataset', metainfo=meta, pipeline=[dict(type='LoadImageFromFile')])


def loader(dataset) -> dict:
    return dict(batch_size=1, dataset=dataset)


@pytest.fixture
def weights(toy_checkpoint, tmp_path):
    """The toy network's weights, without config and names."""
    state = torch.load(toy_checkpoint, weights_only=True)['state_dict']
    torch.save(state, tmp_path / 'weights.pth')
    return tmp_path / 'weights.pth'


SETS = {
    'one': leaf(classes=NAMES),
    'RepeatDataset': dict(type='RepeatDataset', times=2, dataset=leaf(classes=NAMES)),
    'ConcatDataset': dict(
        type='ConcatDataset', datasets=[leaf(classes=NAMES), leaf(classes=NAMES)]
    ),
    'MultiImageMixDataset': dict(type='MultiImageMixDataset', dataset=leaf(classes=NAMES)),
    'three deep': dict(
        type='ConcatDataset',
        datasets=[
            dict(
                type='RepeatDataset',
                times=2,
                dataset=dict(type='ConcatDataset', datasets=[leaf(classes=NAMES)]),
            )
        ],
    ),
    'a list': [leaf(classes=NAMES), leaf(classes=['other'])],
}


@pytest.mark.parametrize('name', list(SETS))
def test_names_and_pipeline_of_the_first_test_set(name):
    cfg = Config(dict(test_dataloader=loader(SETS[name]), train_dataloader=loader(leaf())))
    names, colours = dataset_names(cfg)
    assert names == NAMES and len(colours) == 7
    assert find_test_pipeline(cfg)[0]['type'] == 'LoadImageFromFile'


@pytest.mark.parametrize('key', ['val_dataloader', 'train_dataloader'])
def test_names_without_a_test_set(key):
    cfg = Config({'test_dataloader': None, key: loader(SETS['three deep'])})
    assert dataset_names(cfg)[0] == NAMES


def test_names_come_from_the_data_sets_class_where_the_config_has_none():
    voc = list(PascalVOCDataset.METAINFO['classes'])
    for kind in ('PascalVOCDataset', PascalVOCDataset, 'mmseg.PascalVOCDataset'):
        cfg = dict(test_dataloader=loader(dict(type=kind, pipeline=[])))
        names, colours = dataset_names(cfg)
        assert (names, colours[1]) == (voc, [128, 0, 0])
    some = dict(type='PascalVOCDataset', metainfo=dict(classes=['cat', 'aeroplane']))
    names, colours = dataset_names(dict(test_dataloader=loader(some)))
    assert (names, colours) == (['cat', 'aeroplane'], [[64, 0, 0], [128, 0, 0]])


def test_names_in_a_file(tmp_path):
    file = tmp_path / 'names.txt'
    file.write_bytes('道路\r\n房屋\r\n\r\n'.encode())
    cfg = dict(test_dataloader=loader(leaf(classes=str(file))))
    assert dataset_names(cfg)[0] == ['道路', '房屋']
    file.unlink()
    with pytest.raises(UserError, match=r'names\.txt for its classes, and it is not there'):
        dataset_names(cfg)


@pytest.mark.parametrize('wrapper', ['ConcatDataset', 'RepeatDataset'])
def test_weights_alone_get_names_and_colours_of_the_config(wrapper, weights, tmp_path):
    cfg = Config.fromfile(TOY)
    colours = [[10 * number, 9, 8] for number in range(7)]
    inner = dict(cfg.test_dataloader.dataset, metainfo=dict(classes=NAMES, palette=colours))
    parts = dict(ConcatDataset=dict(datasets=[inner, inner]), RepeatDataset=dict(dataset=inner))
    cfg.test_dataloader.dataset = dict(type=wrapper, **parts[wrapper])
    cfg.dump(tmp_path / 'config.py')
    meta = load_segmentor(weights, tmp_path / 'config.py', 'cpu').dataset_meta
    assert (list(meta['classes']), meta['palette']) == (NAMES, colours)


def test_without_test_dataloader_the_validation_set_counts(weights, tmp_path):
    more = 'test_dataloader = test_evaluator = test_cfg = None\n'
    (tmp_path / 'c.py').write_text(f'_base_ = {str(TOY)!r}\n{more}')
    model = load_segmentor(weights, tmp_path / 'c.py', 'cpu')
    assert model.dataset_meta['classes'][1] == 'disk'
    nothing = f'{more}val_dataloader = val_evaluator = val_cfg = None\ntest_pipeline = None\n'
    (tmp_path / 'c.py').write_text(f'_base_ = {str(TOY)!r}\n{nothing}')
    with pytest.raises(UserError, match='no test_dataloader, no val_dataloader and no test_pip'):
        load_segmentor(weights, tmp_path / 'c.py', 'cpu')


OLD = {
    'all of it': 'data = dict(samples_per_gpu=2, workers_per_gpu=2, test=dict(pipeline=[]))',
    'a test set alone': "data = dict(test=dict(type='CustomDataset'))",
    'a training set alone': "data = dict(train=dict(type='CustomDataset'))\ndist_params = dict()",
}


@pytest.mark.parametrize('name', list(OLD))
def test_configs_of_mmsegmentation_0(name, weights, tmp_path):
    (tmp_path / 'old.py').write_text(f"model = dict(type='EncoderDecoder')\n{OLD[name]}\n")
    for call in (read_config, lambda path: load_segmentor(weights, path, 'cpu')):
        with pytest.raises(UserError, match=r'old\.py is a config of MMSegmentation 0\.x .*1\.x'):
            call(tmp_path / 'old.py')


def test_a_data_key_of_ones_own_is_no_old_config(tmp_path):
    (tmp_path / 'new.py').write_text(f"_base_ = {str(TOY)!r}\ndata = dict(test='mine')\n")
    assert read_config(tmp_path / 'new.py').data.test == 'mine'


#: Text at the start of a config, and type names of the toy config that it replaces.
TYPES = {
    'classes': (
        'from mmseg.models.segmentors import EncoderDecoder\n'
        'from mmseg.datasets.transforms import PackSegInputs\n'
        'from mmseg_pan.models import PANHead\n',
        {name: name for name in ('EncoderDecoder', 'PackSegInputs', 'PANHead')},
    ),
    'a module and its class': (
        'from mmseg.models import segmentors\n',
        {'EncoderDecoder': 'segmentors.EncoderDecoder'},
    ),
    'dotted names': (
        '',
        {
            'EncoderDecoder': "'mmseg.models.segmentors.EncoderDecoder'",
            'PANHead': "'mmseg_pan.models.PANHead'",
            'PackSegInputs': "'mmseg.datasets.transforms.PackSegInputs'",
        },
    ),
}


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize('name', list(TYPES))
def test_classes_for_types(name, suffix, weights, tmp_path):
    """Such a config builds, is read from a checkpoint again, and is published."""
    start, types = TYPES[name]
    text = Config.fromfile(TOY).pretty_text
    for registered, written in types.items():
        assert f"type='{registered}'" in text
        text = text.replace(f"type='{registered}'", f'type={written}')
    (tmp_path / 'c.py').write_text(start + text)
    inside = Config.fromfile(tmp_path / 'c.py').pretty_text
    state = torch.load(weights, weights_only=True)
    torch.save(dict(meta=dict(cfg=inside), state_dict=state), tmp_path / 'net.pth')
    models = [load_segmentor(weights, tmp_path / 'c.py', 'cpu')]
    for source in (tmp_path / 'net.pth', publish(tmp_path / 'net.pth', tmp_path / f'o{suffix}')):
        models.append(load_segmentor(source, device='cpu'))
    for model in models:
        assert type(model) is EncoderDecoder
        assert type(model.decode_head).__name__ == 'PANHead'
        assert model.cfg.test_pipeline[-1].type == 'PackSegInputs'


@pytest.fixture
def own_head(weights, tmp_path, monkeypatch):
    """A checkpoint and config whose head a module registers, which is there or not."""

    def make(module: str, kind: str, there: bool):
        monkeypatch.syspath_prepend(tmp_path / 'modules')
        (tmp_path / 'modules').mkdir(exist_ok=True)
        if there:
            (tmp_path / 'modules' / f'{module}.py').write_text(OWN_HEAD.format(kind=kind))
        text = (
            f'_base_ = {str(TOY)!r}\n'
            f"custom_imports = dict(imports=['mmseg_pan', {module!r}],\n"
            '    allow_failed_imports=False)\n'
            f'model = dict(decode_head=dict(type={kind!r}))\n'
        )
        (tmp_path / 'own.py').write_text(text)
        inside = Config.fromfile(tmp_path / 'own.py', import_custom_modules=False).pretty_text
        state = torch.load(weights, weights_only=True)
        torch.save(dict(meta=dict(cfg=inside), state_dict=state), tmp_path / 'own.pth')
        return tmp_path / 'own.pth', tmp_path / 'own.py'

    return make


def test_a_head_of_ones_own(own_head):
    checkpoint, config = own_head('heads_that_are_there', 'HeadThatIsThere', True)
    with pytest.raises(UserError, match=r'uses HeadThatIsThere .*imports installed packages alone'):
        load_segmentor(checkpoint, device='cpu')
    assert 'HeadThatIsThere' not in MODELS.module_dict
    model = load_segmentor(checkpoint, config, 'cpu')
    assert type(model.decode_head).__name__ == 'HeadThatIsThere'
    MODELS.module_dict.pop('HeadThatIsThere')


def test_custom_imports_of_an_installed_package(own_head, tmp_path, monkeypatch):
    """A published file loads where pip has installed what it needs, as an mmpretrain backbone."""
    checkpoint, _ = own_head('heads_installed', 'HeadInstalled', True)
    published = publish(checkpoint, tmp_path / 'own.safetensors', config=tmp_path / 'own.py')
    monkeypatch.setattr(sysconfig, 'get_path', lambda name: str(tmp_path / 'modules'))
    for file in (checkpoint, published):
        MODELS.module_dict.pop('HeadInstalled')
        sys.modules.pop('heads_installed')
        model = load_segmentor(file, device='cpu')
        assert type(model.decode_head).__name__ == 'HeadInstalled'
    MODELS.module_dict.pop('HeadInstalled')


def test_custom_imports_of_a_package_that_lacks_another(own_head, tmp_path, monkeypatch):
    checkpoint, _ = own_head('heads_of_another', 'HeadOfAnother', True)
    (tmp_path / 'modules/heads_of_another.py').write_text('import not_here_at_all\n')
    monkeypatch.setattr(sysconfig, 'get_path', lambda name: str(tmp_path / 'modules'))
    with pytest.raises(UserError, match='the module not_here_at_all, which cannot be found'):
        load_segmentor(checkpoint, device='cpu')


def test_custom_imports_that_cannot_be_found(own_head):
    checkpoint, config = own_head('heads_elsewhere', 'HeadElsewhere', False)
    words = r'imports the module heads_elsewhere, which cannot be found; type "PYTHONPATH=FOLDER"'
    with pytest.raises(UserError, match=words):
        load_segmentor(checkpoint, config, 'cpu')
    with pytest.raises(UserError, match=words):
        load_segmentor(checkpoint, device='cpu', unsafe=True)
    with pytest.raises(UserError, match=r'uses HeadElsewhere \(of heads_elsewhere\)'):
        load_segmentor(checkpoint, device='cpu')


def test_a_misspelt_type_is_named(weights, tmp_path):
    (tmp_path / 'c.py').write_text(
        f"_base_ = {str(TOY)!r}\nmodel = dict(decode_head=dict(type='PANhead'))\n"
    )
    with pytest.raises(UserError, match=r'c\.py uses PANhead, which is not registered'):
        load_segmentor(weights, tmp_path / 'c.py', 'cpu')
