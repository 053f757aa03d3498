"""The runner: each run once, on record, with what decides on it."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmseg_pan import UserError
from mmseg_pan.cli import load_config
from mmseg_pan.datasets.toy import ToyShapesDataset
from mmseg_pan.experiments import runner
from mmseg_pan.experiments.card import tables
from mmseg_pan.experiments.results import read_results
from mmseg_pan.experiments.runner import run_all
from mmseg_pan.experiments.spec import read_spec
from mmseg_pan.files import exclusive
from tests.paths import ROOT

SPEC = """
runs:
  - {name: PAN, config: configs/pan/pan_r18-d16_toy.py, seeds: [0, 1]}
  - {name: FCN, config: configs/pan/fcn_r18-d16_toy.py, seeds: [0], options: {train_cfg.max_iters: 7}}
options: {train_cfg.max_iters: 5}
selections: {two: [disk, ring]}
compare: [[PAN, FCN]]
"""  # noqa: E501


@pytest.fixture
def spec_file(tmp_path):
    file = tmp_path / 'spec.yaml'
    file.write_text(SPEC)
    return file


@pytest.fixture
def trained(monkeypatch, toy_root):
    """Stands for train.py and test.py: notes what they were given, and predicts the truth."""
    monkeypatch.setenv('TOY_ROOT', str(toy_root))
    seen, tested = [], []

    def train_and_test(file, folder, root, lock, checkpoint=None):
        cfg = Config.fromfile(file)
        tested.append(checkpoint)
        seen.append((cfg.model.decode_head.type, cfg.randomness.seed, cfg.train_cfg.max_iters))
        if len(seen) == trained.fails_at:
            raise UserError('train.py failed, see above.')
        (folder / 'predictions').mkdir(parents=True, exist_ok=True)
        for mask in (toy_root / 'SegmentationClass').glob('*.png'):
            truth = np.array(Image.open(mask))
            truth[truth == 255] = 0
            if cfg.model.decode_head.type == 'FCNHead':
                truth[:, :32] = 0
            Image.fromarray(truth).save(folder / 'predictions' / mask.name)
        log = folder / '1' / 'vis_data' / 'scalars.json'
        log.parent.mkdir(parents=True, exist_ok=True)
        rows = [dict(step=s, loss=1.0, time=0.4, data_time=0.1) for s in (1, 2)]
        log.write_text('\n'.join(map(json.dumps, [*rows, dict(step=2, mIoU=3)])))

    trained = train_and_test
    trained.fails_at = None
    trained.seen, trained.tested = seen, tested
    monkeypatch.setattr(runner, 'train_and_test', trained)
    return trained


def test_each_run_once_and_a_line_for_each(spec_file, tmp_path, trained, capsys):
    spec = read_spec(spec_file, ROOT)
    run_all(spec, tmp_path / 'work')
    assert trained.seen == [('PANHead', 0, 5), ('FCNHead', 0, 7), ('PANHead', 1, 5)]
    lines = read_results(spec_file.with_suffix('.jsonl'))
    assert [line['kind'] for line in lines] == ['run', 'run', 'run', 'comparison']
    pan, fcn, _, comparison = lines
    assert (pan['name'], pan['seed'], pan['mIoU'], pan['mIoU_two']) == ('PAN', 0, 100, 100)
    assert set(pan['IoU']) == {'background', 'disk', 'ring', 'square', 'triangle', 'star', 'cross'}
    assert fcn['options'] == {'train_cfg.max_iters': 7} and fcn['iterations'] == 7
    assert pan['test_images'] == 4
    assert (pan['seconds_per_iteration'], pan['waiting_for_data']) == (0.4, 0.25)
    assert 'torch' in pan['versions'] and pan['date']
    in_clone = (ROOT / '.git').exists() and shutil.which('git') is not None
    assert (len(pan['commits'][0]) >= 12) == in_clone
    assert comparison['mIoU']['mean'] == pytest.approx(100 - fcn['mIoU'], abs=0.01)
    assert comparison['seeds'] == [[0, 1], [0]]
    before = spec.results.path.read_text()
    run_all(spec, tmp_path / 'work')
    assert len(trained.seen) == 3
    assert spec.results.path.read_text() == before
    assert capsys.readouterr().out.count('done') == 3


@pytest.fixture
def code(tmp_path):
    """Configs and tools, as an archive of the code holds them."""
    for folder in ('configs', 'tools'):
        shutil.copytree(ROOT / folder, tmp_path / 'home/code' / folder)
    return tmp_path / 'home/code'


@pytest.mark.parametrize('where', ['no clone', 'in a clone of another', 'no git'])
def test_code_that_is_no_clone_runs_without_a_commit(
    where, code, spec_file, tmp_path, trained, monkeypatch
):
    if where == 'in a clone of another':
        make_clone(code.parent)
    if where == 'no git':
        make_clone(code)
        monkeypatch.setenv('PATH', str(tmp_path))
    run_all(read_spec(spec_file, code), tmp_path / 'work')
    lines = read_results(spec_file.with_suffix('.jsonl'))
    assert {tuple(line['commits']) for line in lines if line['kind'] == 'run'} == {('unknown',)}


def test_a_commit_gets_a_plus_where_files_differ(code, spec_file, tmp_path, trained):
    make_clone(code)
    trained.fails_at = 2
    with pytest.raises(UserError):
        run_all(read_spec(spec_file, code), tmp_path / 'work')
    (code / 'file').write_text('changed')
    run_all(read_spec(spec_file, code), tmp_path / 'work')
    first, last = (read_results(spec_file.with_suffix('.jsonl'))[n]['commits'] for n in (0, 2))
    assert last == [f'{first[0]}+']
    assert re.fullmatch(r'[0-9a-f]{12}', first[0])


def make_clone(folder):
    if shutil.which('git') is None:
        pytest.skip('git is not installed')
    (folder / 'file').touch()
    me = ['-c', 'user.name=me', '-c', 'user.email=me@example.com']
    for command in (['init', '-q'], ['add', 'file'], [*me, 'commit', '-q', '-m', 'One file']):
        subprocess.run(['git', *command], cwd=folder, check=True)


def test_goes_on_after_a_failure_and_keeps_what_is_done(spec_file, tmp_path, trained):
    trained.fails_at = 2
    with pytest.raises(UserError, match=r'train\.py failed'):
        run_all(read_spec(spec_file, ROOT), tmp_path / 'work')
    assert len(read_results(spec_file.with_suffix('.jsonl'))) == 1
    trained.fails_at = 4  # PAN, seed 1: the seeds so far are compared
    with pytest.raises(UserError, match=r'train\.py failed'):
        run_all(read_spec(spec_file, ROOT), tmp_path / 'work')
    *_, comparison = read_results(spec_file.with_suffix('.jsonl'))
    assert (comparison['kind'], comparison['seeds']) == ('comparison', [[0], [0]])
    run_all(read_spec(spec_file, ROOT), tmp_path / 'work')
    heads = [head for head, _, _ in trained.seen]
    assert heads == ['PANHead', 'FCNHead', 'FCNHead', 'PANHead', 'PANHead']
    *_, comparison = read_results(spec_file.with_suffix('.jsonl'))
    assert comparison['seeds'] == [[0, 1], [0]]


def test_other_options_are_another_run_in_another_folder(spec_file, tmp_path, trained):
    run_all(read_spec(spec_file, ROOT), tmp_path / 'work')
    spec_file.write_text(SPEC.replace('max_iters: 7', 'max_iters: 8'))
    run_all(read_spec(spec_file, ROOT), tmp_path / 'work')
    assert trained.seen[3:] == [('FCNHead', 0, 8)]
    assert len(list((tmp_path / 'work').iterdir())) == 4


def test_what_is_replaced_by_an_option_is_known_again(spec_file, tmp_path, trained):
    """The mark for replacing, which mmengine takes out of the options that it is given."""
    sgd = '{_delete_: true, type: OptimWrapper, optimizer: {type: SGD, lr: 0.1}}'
    text = SPEC.replace('{train_cfg.max_iters: 5}', f'{{optim_wrapper: {sgd}}}')
    spec_file.write_text(text)
    run_all(read_spec(spec_file, ROOT), tmp_path / 'work')
    first, *_ = read_results(spec_file.with_suffix('.jsonl'))
    assert first['options']['optim_wrapper']['_delete_'] is True
    run_all(read_spec(spec_file, ROOT), tmp_path / 'work')
    assert len(trained.seen) == 3


def test_a_list_that_changed_is_run_again_and_shown_beside(
    spec_file, tmp_path, trained, capsys, toy_root, monkeypatch
):
    toy = shutil.copytree(toy_root, tmp_path / 'toy')
    monkeypatch.setenv('TOY_ROOT', str(toy))
    spec = read_spec(spec_file, ROOT)
    run_all(spec, tmp_path / 'work')
    before = read_results(spec.results.path)
    listed = toy / 'ImageSets/Segmentation/train.txt'
    listed.write_text(listed.read_text() + listed.read_text().split()[0])
    capsys.readouterr()
    run_all(spec, tmp_path / 'work')
    assert len(trained.seen) == 6
    said = capsys.readouterr().out
    old = before[0]['lists']['ImageSets/Segmentation/train.txt']
    assert said.count(f'on record, but as another run (train.txt changed: recorded {old[:12]}') == 3
    after = read_results(spec.results.path)
    assert after[: len(before)] == before and len(after) == 2 * len(before)
    table = tables(after).splitlines()
    assert len([row for row in table if row.startswith('| PAN, train.txt')]) == 4
    assert f'| PAN, train.txt {old[:8]} | 2 | 100.00 (0.00)' in '\n'.join(table)
    run_all(spec, tmp_path / 'work')
    assert len(trained.seen) == 6


def test_a_run_never_goes_on_from_the_checkpoints_of_another_list(
    spec_file, tmp_path, toy_root, monkeypatch
):
    toy = shutil.copytree(toy_root, tmp_path / 'toy')
    monkeypatch.setenv('TOY_ROOT', str(toy))
    experiment = read_spec(spec_file, ROOT).experiments[0]
    before = experiment.folder(experiment.identity(ROOT))
    (toy / 'ImageSets/Segmentation/train.txt').write_text('train_00000\n')
    assert experiment.folder(experiment.identity(ROOT)) != before


def test_more_seeds_take_the_comparison_s_place(spec_file, tmp_path, trained):
    run_all(read_spec(spec_file, ROOT), tmp_path / 'work')
    spec_file.write_text(SPEC.replace('[0, 1]', '[0, 1, 2]'))
    run_all(read_spec(spec_file, ROOT), tmp_path / 'work')
    compared = [
        line['seeds']
        for line in read_results(spec_file.with_suffix('.jsonl'))
        if line['kind'] == 'comparison'
    ]
    assert compared == [[[0, 1, 2], [0]]]


def test_comparisons_need_no_more_than_what_is_on_record(spec_file, tmp_path, trained):
    run_all(read_spec(spec_file, ROOT), tmp_path / 'work')
    shutil.rmtree(tmp_path / 'work')
    spec_file.write_text(SPEC.replace('[[PAN, FCN]]', '[[PAN, FCN], [FCN, PAN]]'))
    run_all(read_spec(spec_file, ROOT), tmp_path / 'elsewhere')
    assert len(trained.seen) == 3 and not (tmp_path / 'elsewhere').exists()
    *_, there, back = read_results(spec_file.with_suffix('.jsonl'))
    assert back['mIoU_two']['mean'] == -there['mIoU_two']['mean'] < 0
    for file in spec_file.with_suffix('').glob('FCN*.npz'):
        file.unlink()
    spec_file.write_text(SPEC.replace('[[PAN, FCN]]', '[[PAN, FCN], [PAN, PAN], [FCN, FCN]]'))
    with pytest.raises(UserError, match=r'FCN\S*\.npz does not exist, .* delete its line from'):
        run_all(read_spec(spec_file, ROOT), tmp_path / 'work')


def test_what_another_process_does_is_left_to_it(spec_file, tmp_path, trained, capsys):
    spec = read_spec(spec_file, ROOT)
    folder = tmp_path / 'work' / spec.experiments[1].folder(spec.experiments[1].identity(ROOT))
    folder.mkdir(parents=True)
    with exclusive(folder):
        run_all(spec, tmp_path / 'work')
    assert trained.seen == [('PANHead', 0, 5), ('PANHead', 1, 5)]
    assert '[2/3] FCN, seed 0: another process is running it' in capsys.readouterr().out
    run_all(spec, tmp_path / 'work')
    assert trained.seen[2:] == [('FCNHead', 0, 7)]


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('runs:', 'experiments:', 'must have "runs"'),
        ('seeds: [0, 1]', 'seed: 0', 'must have "runs", a list of .*seeds'),
        ('pan_r18-d16_toy.py', 'pan_r19.py', 'names configs/pan/pan_r19.py, which does not exist'),
        ('[disk, ring]', '{classes: [disk]}', 'list of classes, or has "classes" and "images"'),
        ('[PAN, FCN]', '[PAN, PSP]', 'compares "PSP", which is not in its runs'),
    ],
)
def test_mistakes_in_the_file(spec_file, old, new, message):
    spec_file.write_text(SPEC.replace(old, new))
    with pytest.raises(UserError, match=message):
        read_spec(spec_file, ROOT)


def test_unknown_file_and_class(spec_file, tmp_path, trained):
    with pytest.raises(UserError, match=r'none\.yaml does not exist'):
        read_spec(Path('none.yaml'), ROOT)
    with pytest.raises(UserError, match=r'ends in \.jsonl, not to mine\.$'):
        read_spec(spec_file, ROOT, Path('mine'))
    spec_file.write_text(SPEC.replace('ring', 'circle'))
    with pytest.raises(UserError, match=r"selections.two has \['circle'\], .* choose from"):
        run_all(read_spec(spec_file, ROOT), tmp_path / 'work')
    assert not trained.seen


def test_a_record_of_one_s_own_leaves_the_other_as_it_is(spec_file, tmp_path, trained):
    run_all(read_spec(spec_file, ROOT), tmp_path / 'work')
    before = spec_file.with_suffix('.jsonl').read_text()
    mine = tmp_path / 'mine' / 'heads.jsonl'
    run_all(read_spec(spec_file, ROOT, mine), tmp_path / 'mine')
    assert len(trained.seen) == 6
    assert len(read_results(mine)) == 4
    assert spec_file.with_suffix('.jsonl').read_text() == before


def test_a_mean_over_some_images_and_a_selection_that_came_later(spec_file, tmp_path, trained):
    """The run is not repeated: its confusion matrices are on record."""
    run_all(read_spec(spec_file, ROOT), tmp_path / 'work')
    before = read_results(spec_file.with_suffix('.jsonl'))
    names = sorted(
        path.stem for path in (Path(os.environ['TOY_ROOT']) / 'SegmentationClass').glob('*')
    )
    (tmp_path / 'half.txt').write_text('\n'.join(names[::2]))
    spec_file.write_text(
        SPEC.replace('{two:', '{two_half: {classes: [disk], images: half.txt}, two:')
    )
    run_all(read_spec(spec_file, ROOT), tmp_path / 'work')
    assert len(trained.seen) == 3
    lines = read_results(spec_file.with_suffix('.jsonl'))
    assert len(lines) == len(before)
    fcn = next(line for line in lines if line['name'] == 'FCN')
    results = read_spec(spec_file, ROOT).results
    counts = results.counts(fcn['run'])
    chosen = [i for i, image in enumerate(counts.images) if Path(image).stem in names[::2]]
    assert 0 < len(chosen) < len(counts.images)
    total = counts.matrices[chosen].sum(0)
    disk = ToyShapesDataset.METAINFO['classes'].index('disk')
    expected = (
        100 * total[disk, disk] / (total[disk].sum() + total[:, disk].sum() - total[disk, disk])
    )
    assert fcn['mIoU_two_half'] == round(float(expected), 2) != fcn['mIoU_two']
    sides = [[line for line in lines if line.get('name') == name] for name in ('PAN', 'FCN')]
    found = results.compare(sides, {'mIoU_two_half': ([disk], names[::2])})
    assert found['mIoU_two_half']['mean'] == pytest.approx(100 - fcn['mIoU_two_half'], abs=0.01)
    with pytest.raises(UserError, match=r'None of the .* test images is in the list'):
        counts.of(['none'])
    with pytest.raises(UserError, match='not on record'):
        counts._replace(images=None).of(names)


def test_a_checkpoint_is_tested_as_it_is(spec_file, tmp_path, trained):
    spec_file.write_text(
        SPEC.replace('seeds: [0], options', 'seeds: [0], checkpoint: fcn.pth, options')
    )
    run_all(read_spec(spec_file, ROOT), tmp_path / 'work')
    assert trained.tested == [None, 'fcn.pth', None]
    assert trained.seen[1] == ('FCNHead', 0, 7)  # a test refuses 0 iterations
    lines = read_results(spec_file.with_suffix('.jsonl'))
    (fcn,) = [line for line in lines if line['name'] == 'FCN']
    assert fcn['iterations'] == 0
    assert load_config(str(tmp_path / 'work' / fcn['run'] / 'config.py')).model.decode_head
    assert '| FCN | 1 |' in tables(lines) and '| not trained |' in tables(lines)


@pytest.mark.slow
def test_the_tool_trains_and_tests_for_real(run_tool, tmp_path):
    spec = tmp_path / 'real.yaml'
    spec.write_text(
        'runs: [{name: PAN, config: configs/pan/pan_r18-d16_toy.py, seeds: [3]}]\n'
        'options: {train_cfg.max_iters: 2, default_hooks.logger.interval: 1,\n'
        '  train_dataloader.batch_size: 2}\n'
    )
    run_tool('run_experiments.py', spec)
    (line,) = read_results(tmp_path / 'real.jsonl')
    assert (line['seed'], line['iterations']) == (3, 2) and 0 <= line['mIoU'] <= 100


def test_classes_are_those_of_the_data_set_in_the_config():
    dataset = dict(type='ToyShapesDataset')
    cfg = Config(dict(test_dataloader=dict(dataset=dataset)))
    assert runner._class_names(cfg)[:2] == ['background', 'disk']
    cfg.test_dataloader.dataset.metainfo = dict(classes=['ring', 'disk'])
    assert runner._class_names(cfg) == ['ring', 'disk']
