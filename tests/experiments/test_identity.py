"""What makes a run another run, and what does not."""

import shutil

import numpy as np
import pytest
from mmengine.config import Config

from mmseg_pan import UserError
from mmseg_pan.experiments.identity import differences, identify, is_known
from mmseg_pan.experiments.results import Counts, Results, read_results
from mmseg_pan.experiments.spec import Experiment, read_spec
from tests.paths import ROOT

TOY = 'configs/pan/pan_r18-d16_toy.py'
VOC = 'configs/pan/pan_mobilenet-v2-d16_1xb8-1k_voc12aug-256x256.py'


@pytest.fixture
def toy(toy_root, tmp_path, monkeypatch):
    """A toy set of one's own, at TOY_ROOT."""
    root = shutil.copytree(toy_root, tmp_path / 'here' / 'toy')
    monkeypatch.setenv('TOY_ROOT', str(root))
    return root


def identity(config=TOY, seed=0, **options):
    return Experiment('PAN', config, seed, options).identity(ROOT)


def hashes(found):
    return {key: found[key] for key in ('config_sha256', 'lists', 'weights')}


@pytest.mark.parametrize(
    'text',
    [
        'optim_wrapper = dict(accumulative_counts=2)\n',
        'train_cfg = dict(max_iters=1499)\n',
        'train_dataloader = dict(batch_size=7)\n',
        'custom_hooks = [dict(type="EMAHook")]\n',
    ],
)
def test_a_base_config_that_changed(toy, tmp_path, text):
    config, base = tmp_path / 'mine.py', tmp_path / 'base.py'
    config.write_text('_base_ = "./base.py"\n')
    base.write_text(f'_base_ = "{ROOT / TOY}"\n')
    before = identity(str(config))
    base.write_text(f'_base_ = "{ROOT / TOY}"\n{text}')
    after = identity(str(config))
    (reason,) = differences(before, after)
    assert reason.startswith(f'resolved config changed: recorded {before["config_sha256"][:12]}, ')


def test_what_does_not_change_a_run(toy, tmp_path, monkeypatch):
    before = hashes(identity())
    assert is_known(before) and set(before['lists']) == {
        'ImageSets/Segmentation/train.txt',
        'ImageSets/Segmentation/val.txt',
        'toy_shapes.json',
    }
    assert hashes(identity(seed=3)) == before  # the seed is on record beside it
    assert hashes(identity(work_dir='/somewhere/else', log_level='DEBUG')) == before
    other = shutil.copytree(toy, tmp_path / 'another_machine' / 'data')
    monkeypatch.setenv('TOY_ROOT', str(other))
    assert hashes(identity()) == before
    for name in ('train', 'val'):  # as another system ends its lines
        file = other / f'ImageSets/Segmentation/{name}.txt'
        file.write_bytes(file.read_bytes().replace(b'\n', b'\r\n'))
    assert hashes(identity()) == before


def test_absolute_paths_of_this_machine_do_not_count(toy, monkeypatch):
    lists = toy / 'ImageSets/Segmentation'
    named = {
        'train_dataloader.dataset.ann_file': str(lists / 'train.txt'),
        'train_dataloader.dataset.data_prefix.img_path': str(toy / 'JPEGImages'),
    }
    assert hashes(identity(**named)) == hashes(identity())
    results = Results(toy / 'record.jsonl')
    results.add(dict(kind='run', name='PAN', **identity(**named)))
    assert results.find_run(identity()) is not None


@pytest.mark.parametrize('name', ['train', 'val'])
def test_a_list_that_changed(toy, name):
    before = identity()
    file = toy / f'ImageSets/Segmentation/{name}.txt'
    file.write_text(''.join(file.read_text().splitlines(keepends=True)[1:]))
    (reason,) = differences(before, identity())
    old = before['lists'][f'ImageSets/Segmentation/{name}.txt']
    assert reason.startswith(f'{name}.txt changed: recorded {old[:12]}, now ')
    file.unlink()
    assert differences(before, identity()) == [f'{name}.txt does not exist']
    assert not is_known(identity())


def test_toy_images_of_another_recipe(toy):
    before = identity()
    recipe = toy / 'toy_shapes.json'
    recipe.write_text(recipe.read_text().replace('"seed": 0', '"seed": 1'))
    (reason,) = differences(before, identity())
    assert reason.startswith('toy_shapes.json changed')


def test_a_folder_without_a_list_counts_by_its_names(toy):
    folder = {'train_dataloader.dataset.ann_file': ''}
    before = identity(**folder)
    assert 'JPEGImages' in before['lists']
    next((toy / 'JPEGImages').glob('train_*.jpg')).unlink()
    (reason,) = differences(before, identity(**folder))
    assert reason.startswith('JPEGImages changed')


def test_lists_inside_wrappers_are_read(mini, monkeypatch):
    monkeypatch.setenv('VOC_ROOT', str(mini.voc))
    (mini.voc / 'ImageSets/Segmentation/aug.txt').write_text('2008_000002\n')
    cfg = Config.fromfile(ROOT / VOC)
    inner = cfg.train_dataloader.dataset.to_dict()
    before = identify(cfg)
    assert {name.rpartition('/')[2] for name in before['lists']} == {
        'train.txt',
        'aug.txt',
        'val.txt',
    }
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=inner)
    assert identify(cfg)['lists'] == before['lists']


@pytest.mark.parametrize('key', ['model.backbone.init_cfg.checkpoint', 'load_from'])
def test_weights_count_by_their_content(toy, mini, tmp_path, key, monkeypatch):
    monkeypatch.setenv('VOC_ROOT', str(mini.voc))
    (mini.voc / 'ImageSets/Segmentation/aug.txt').write_text('2008_000002\n')

    def of(path):
        if key == 'load_from':
            return identity(load_from=str(path))
        return identity(VOC, **{key: str(path)})

    first, second = tmp_path / 'a.pth', tmp_path / 'elsewhere' / 'b.pth'
    second.parent.mkdir()
    first.write_bytes(b'weights')
    second.write_bytes(b'weights')
    before = of(first)
    assert list(before['weights']) == [key]
    assert hashes(of(second)) == hashes(before)
    second.write_bytes(b'others')
    (reason,) = differences(before, of(second))
    assert reason.startswith(f'{key} changed: recorded ')
    second.unlink()
    assert not is_known(of(second))


def test_what_is_not_on_record_is_never_done(toy, tmp_path):
    asked = identity()
    results = Results(tmp_path / 'record.jsonl')
    old = {key: asked[key] for key in ('config', 'seed', 'options')}
    results.add(dict(kind='run', name='PAN', **old))
    assert results.find_run(asked) is None
    reasons = differences(old, asked)
    assert reasons == [
        'the hash of its resolved config is not on record',
        'its lists are not on record',
        'its weights are not on record',
    ]
    results.add(dict(kind='run', name='PAN', **old, **(hashes(asked) | dict(lists=None))))
    assert results.find_run(asked) is None
    results.add(dict(kind='run', name='PAN', **asked))
    assert results.find_run(asked) is not None


def test_runs_on_record_of_the_former_list_do_not_count(mini, monkeypatch):
    """Every VOC run on record was trained on 500 images of SBD, and says so."""
    monkeypatch.setenv('VOC_ROOT', str(mini.voc))
    lists = mini.voc / 'ImageSets/Segmentation'
    (lists / 'aug.txt').write_text('2008_000002\n')
    file = ROOT / 'configs/pan/results/voc_heads.yaml'
    spec = read_spec(file, ROOT)
    lines = [line for line in read_results(spec.results.path) if line['kind'] == 'run']
    assert len(lines) == len(spec.experiments) == 22
    for experiment in spec.experiments:
        asked = experiment.identity(ROOT)
        assert spec.results.find_run(asked) is None
        reasons = [
            differences(line, asked)
            for line in lines
            if (line['name'], line['seed']) == (experiment.name, experiment.seed)
        ]
        assert any('aug.txt changed: recorded 0b28d6cf69b8' in ' '.join(one) for one in reasons)


def test_every_run_on_record_has_its_hashes_and_images():
    files = sorted((ROOT / 'configs/pan/results').glob('*.jsonl'))
    counted = 0
    for file in files:
        results = Results(file)
        runs = [line for line in read_results(file) if line['kind'] == 'run']
        for line in runs:
            assert len(line['config_sha256']) == 64 and all(line['lists'].values())
            if results.counts_file(line['run']).is_file():
                matrices, images = results.counts(line['run'])
                assert len(set(images)) == len(images) == len(matrices) == line['test_images']
                counted += 1
        known = {line['run'] for line in runs}
        for line in read_results(file):
            if line['kind'] == 'comparison':
                assert all(map(known.issuperset, line['runs']))
    assert counted >= 43


def counts(images, size=4):
    return Counts(np.ones((size, 2, 2), int), images)


NAMES = ['a.jpg', 'b.jpg', 'c.jpg', 'd.jpg']


@pytest.mark.parametrize(
    ('other', 'lists', 'message'),
    [
        (counts(['a.jpg', 'b.jpg', 'c.jpg', 'e.jpg']), {}, r'2 images are in one test alone'),
        (counts(NAMES[::-1]), {}, 'in another order'),
        (counts(NAMES[:3], 3), {}, r'tested on 4 and 3 images, 1 images are'),
        (counts(None), {'val.txt': '1'}, 'not on record, and their lists differ'),
        (counts(None), None, 'not on record, and their lists are not either'),
    ],
)
def test_two_runs_on_different_images_are_not_compared(tmp_path, other, lists, message):
    results = Results(tmp_path / 'record.jsonl')
    results.save_counts('first', counts(NAMES))
    results.save_counts('second', other)
    sides = [[dict(run='first', lists={})], [dict(run='second', lists=lists)]]
    with pytest.raises(UserError, match=message):
        results.compare(sides, {'mIoU': (None, None)})


@pytest.mark.parametrize('images', [NAMES, None])
def test_two_runs_on_the_same_images_are_compared(tmp_path, images):
    results = Results(tmp_path / 'record.jsonl')
    for name in ('first', 'second'):
        results.save_counts(name, counts(images))
    sides = [[dict(run=name, lists={'val.txt': '1'})] for name in ('first', 'second')]
    assert results.compare(sides, {'mIoU': (None, None)})['mIoU']['mean'] == 0
