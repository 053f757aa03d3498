"""Several runs in one folder: whose checkpoint is whose, and which one is resumed."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.hooks import CheckpointHook

from mmseg_pan import UserError
from mmseg_pan.engine import VerifiedCheckpointHook
from mmseg_pan.engine.resume import _pattern, checkpoints, set_resume
from mmseg_pan.engine.run_record import read_runs
from tests.engine.linear_runs import ScriptedMetric, linear_cfg, run_linear

BEST = dict(default_hooks__checkpoint__save_best='score', default_hooks__checkpoint__rule='greater')


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob('*.pth*')}


def kept_under(files: dict[str, bytes], folder: Path) -> dict[str, str]:
    """Former name and present name of every file; fails where one is gone."""
    there = {data: name for name, data in contents(folder).items()}
    assert set(files.values()) <= set(there)
    return {name: there[data] for name, data in files.items()}


def check_record(folder: Path) -> None:
    """Every file is recorded once, and every recorded one is there."""
    runs = read_runs(folder)
    names = [name for run in runs for name in (*run['checkpoints'], *run['superseded'])]
    assert sorted(names) == sorted(contents(folder))
    for run in runs:
        for name, step in (run['checkpoints'] | run['superseded']).items():
            hub = torch.load(folder / name, weights_only=True)['message_hub']['runtime_info']
            assert hub['own_checkpoints']['id'] == run['id']
            assert hub['iter'] + 1 == step, name


@pytest.fixture
def two_runs(tmp_path, monkeypatch):
    """A folder in which a run has taken the names of another: folder, files of the first."""
    monkeypatch.setattr(ScriptedMetric, 'scores', {2: 1.0, 4: 3.0, 6: 2.0})
    run_linear(linear_cfg(tmp_path, validate=2, **BEST))
    first = contents(tmp_path)
    assert set(first) == {'iter_2.pth', 'iter_4.pth', 'iter_6.pth', 'best_score_iter_4.pth'}
    run_linear(linear_cfg(tmp_path, validate=2, randomness=dict(seed=1), **BEST), stop_after=5)
    return tmp_path, first


def test_checkpoints_of_another_run_make_room_and_are_kept(two_runs):
    folder, first = two_runs
    names = kept_under(first, folder)
    owner = read_runs(folder)[0]['id']
    assert names == {
        'iter_2.pth': f'iter_2.pth.of-run-{owner}',
        'iter_4.pth': f'iter_4.pth.of-run-{owner}',
        'iter_6.pth': 'iter_6.pth',
        'best_score_iter_4.pth': f'best_score_iter_4.pth.of-run-{owner}',
    }
    assert {'iter_2.pth', 'iter_4.pth', 'best_score_iter_4.pth'} <= set(contents(folder))
    check_record(folder)


def test_a_renamed_checkpoint_can_be_resumed(two_runs):
    """Its run takes back its names, and the other run's files are renamed in turn."""
    folder, first = two_runs
    second = {k: v for k, v in contents(folder).items() if v not in first.values()}
    owner, other = (run['id'] for run in read_runs(folder))
    cfg = linear_cfg(folder, validate=2, default_hooks__checkpoint__max_keep_ckpts=1, **BEST)
    renamed = f'iter_4.pth.of-run-{owner}'
    runner = run_linear(cfg, str(folder / renamed))
    assert runner.iter == 6
    assert read_runs(folder)[-1]['id'] == owner
    assert kept_under(second, folder)['iter_2.pth'] == 'iter_2.pth'
    (hook,) = [h for h in runner.hooks if isinstance(h, VerifiedCheckpointHook)]
    best = torch.load(hook.best_ckpt_path, weights_only=True)
    assert best['message_hub']['runtime_info']['own_checkpoints']['id'] == owner != other
    check_record(folder)
    assert checkpoints(folder)[0] == folder / 'iter_6.pth'


def test_later_checkpoints_of_the_run_make_room_when_an_earlier_one_is_resumed(tmp_path):
    """Here with another learning rate: the newest one is that of the second attempt."""
    run_linear(linear_cfg(tmp_path, 8))
    first = contents(tmp_path)
    cfg = linear_cfg(tmp_path, 8, optim_wrapper__optimizer__lr=0.01)
    run_linear(cfg, str(tmp_path / 'iter_2.pth'), stop_after=5)
    (run,) = read_runs(tmp_path)
    assert kept_under(first, tmp_path) == {
        'iter_2.pth': 'iter_2.pth',
        'iter_4.pth': f'iter_4.pth.of-run-{run["id"]}',
        'iter_6.pth': 'iter_6.pth',
        'iter_8.pth': 'iter_8.pth',
    }
    check_record(tmp_path)
    assert checkpoints(tmp_path)[0].name == 'iter_4.pth'


def test_the_resume_takes_its_own_run(two_runs):
    folder, first = two_runs
    runner = run_linear(linear_cfg(folder, 8, validate=4, randomness=dict(seed=1)), 'newest', 5)
    assert runner.seed == 1
    kept_under(first, folder)


def test_a_file_that_no_run_has_recorded_makes_room_too(tmp_path):
    """A checkpoint of 0.1.0, and one that came from elsewhere."""
    files = {'iter_2.pth': b'mine', 'iter_4.pth': b'also mine'}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    for _ in range(2):
        run_linear(linear_cfg(tmp_path, default_hooks__checkpoint__max_keep_ckpts=1))
    assert kept_under(files, tmp_path) == {
        'iter_2.pth': 'iter_2.pth.of-run-earlier',
        'iter_4.pth': 'iter_4.pth.of-run-earlier',
    }


@pytest.mark.parametrize('record', [True, False], ids=['with runs.json', 'without'])
def test_a_run_from_another_folder_owns_no_file_here(tmp_path, record):
    """The list in its checkpoint names files of the folder that it comes from."""
    run_linear(linear_cfg(tmp_path / 'a'), stop_after=4)
    run_linear(linear_cfg(tmp_path / 'b', randomness=dict(seed=1)))
    there = contents(tmp_path / 'b')
    if not record:
        (tmp_path / 'b/runs.json').unlink()
    cfg = linear_cfg(tmp_path / 'b', default_hooks__checkpoint__max_keep_ckpts=1)
    run_linear(cfg, str(tmp_path / 'a/iter_4.pth'))
    names = kept_under(there, tmp_path / 'b')
    assert [names['iter_2.pth'], names['iter_4.pth']] == ['iter_2.pth', 'iter_4.pth']
    assert names['iter_6.pth'].startswith('iter_6.pth.of-run-')


def test_best_checkpoint_of_0_1_0_still_goes_when_there_is_a_better_one(tmp_path, monkeypatch):
    monkeypatch.setattr(ScriptedMetric, 'scores', {2: 1.0, 4: 2.0, 6: 3.0})
    run_linear(linear_cfg(tmp_path, validate=2, **BEST), stop_after=5)
    (tmp_path / 'runs.json').unlink()
    state = torch.load(tmp_path / 'iter_4.pth', weights_only=True)
    del state['message_hub']['runtime_info']['own_checkpoints']
    torch.save(state, tmp_path / 'iter_4.pth')
    run_linear(linear_cfg(tmp_path, validate=2, **BEST), 'newest')
    assert [p.name for p in tmp_path.glob('best*')] == ['best_score_iter_6.pth']


@pytest.mark.parametrize('record', [True, False], ids=['with runs.json', 'without'])
@pytest.mark.parametrize(
    'hook',
    [
        dict(filename_tmpl='step-{:05d}.ckpt'),
        dict(out_dir='elsewhere'),
        dict(out_dir='elsewhere', filename_tmpl='{}.of.mine.pth'),
    ],
    ids=['name', 'folder', 'both'],
)
def test_names_and_folder_of_the_hook_are_followed(tmp_path, monkeypatch, hook, record):
    monkeypatch.chdir(tmp_path)
    changes = {f'default_hooks__checkpoint__{key}': value for key, value in hook.items()}
    cfg = linear_cfg(tmp_path / 'run', **changes)
    run_linear(cfg, stop_after=4)
    folder = tmp_path / 'elsewhere/run' if 'out_dir' in hook else tmp_path / 'run'
    if not record:
        (folder / 'runs.json').unlink()
    there = set_resume(cfg.copy(), None)
    assert 'holds checkpoints of another run' in there
    resumed = cfg.copy()
    set_resume(resumed, 'newest')
    expected = Path(folder, hook.get('filename_tmpl', 'iter_{}.pth').format(4))
    assert Path(resumed.load_from).absolute() == expected
    assert run_linear(cfg, 'auto').iter == 6
    assert (
        json.loads((folder / 'runs.json').read_text())['runs'][0]['checkpoints'][expected.name] == 4
    )


@given(st.text('ab.{}-_(+', max_size=6), st.text('cd.{}-_)*', max_size=6), st.integers(0, 10**7))
def test_every_name_of_a_template_is_found(before, after, number):
    escaped = [text.replace('{', '{{').replace('}', '}}') for text in (before, after)]
    for field in ('{}', '{:06d}'):
        name = field.join(escaped).format(number)
        match = _pattern(field.join(escaped)).fullmatch(name)
        assert match and int(match[1]) == number
        assert not _pattern(field.join(escaped)).fullmatch(f'{name}.of-run-1')


def test_checkpoints_on_another_machine_are_not_passed_over(tmp_path):
    cfg = linear_cfg(tmp_path, default_hooks__checkpoint__out_dir='s3://bucket/x')
    assert set_resume(cfg, None) == 'Starts from iteration 0.'
    for choice in ('newest', 'auto'):
        with pytest.raises(UserError, match=r'cannot look for checkpoints in s3://bucket/x; copy'):
            set_resume(cfg, choice)


def test_folder_is_that_of_mmengines_hook(tmp_path):
    """What the hook makes of out_dir, for several ways to write it."""
    from mmseg_pan.engine.resume import checkpoint_folder

    for out_dir in (None, str(tmp_path / 'run'), str(tmp_path / 'other'), 'relative'):
        cfg = linear_cfg(tmp_path / 'run', default_hooks__checkpoint__out_dir=out_dir)
        hook = CheckpointHook(out_dir=out_dir)
        hook.before_train(run_stub(tmp_path / 'run'))
        assert checkpoint_folder(cfg)[0] == Path(hook.out_dir)


def run_stub(work_dir):
    from types import SimpleNamespace

    from mmengine.logging import MessageHub, MMLogger

    return SimpleNamespace(
        work_dir=str(work_dir),
        logger=MMLogger.get_instance('stub'),
        message_hub=MessageHub.get_instance('stub'),
    )
