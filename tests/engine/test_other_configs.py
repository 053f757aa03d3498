"""Our loop and hooks in other people's configs: names, types and parts that ours do not use."""

import re
import signal
from importlib.metadata import PackageNotFoundError, version

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmseg.registry import MODELS
from torch.utils.data import DataLoader

from mmseg_pan import UserError, cli
from mmseg_pan.engine import (
    ContinuationHook,
    ResumableTrainLoop,
    RunSummaryHook,
    SafeCheckpointHook,
    StopSignalHook,
)
from tests.engine.linear_runs import (
    PlaneData,
    PlaneModel,
    ScriptedMetric,
    linear_cfg,
    run_linear,
    scalars,
)
from tests.engine.runs import end_workers
from tests.processes import send_signal

CHECKPOINT = 'default_hooks__checkpoint__'
#: The class, its name, and its name in other scopes and modules.
INFINITE = [
    InfiniteSampler,
    'InfiniteSampler',
    'mmengine.InfiniteSampler',
    'mmengine.dataset.InfiniteSampler',
]
EPOCHS = [
    EpochBasedTrainLoop,
    'EpochBasedTrainLoop',
    'mmengine.EpochBasedTrainLoop',
    'mmengine.runner.EpochBasedTrainLoop',
]

try:
    version('onedl-mmengine')
    NO_CLASSES = ''
except PackageNotFoundError:
    NO_CLASSES = 'this mmengine cannot write a config that holds a class'


def skip_classes(given) -> None:
    if NO_CLASSES and (isinstance(given, type) or given == 'classes'):
        pytest.skip(NO_CLASSES)


STOP = [StopSignalHook, 'StopSignalHook', 'mmseg.StopSignalHook', 'mmseg_pan.engine.StopSignalHook']


def files(folder):
    ends = ('.json', '.py', '.txt', '.log')
    paths = (path for path in folder.rglob('*') if path.is_file() and path.suffix not in ends)
    return {
        str(path.relative_to(folder))
        for path in paths
        if path.name not in ('last_checkpoint', '.lock') and 'vis_data' not in path.parts
    }


@pytest.mark.parametrize(
    ('template', 'best'),
    [
        ('iter_{:06d}.pth', 'best_score_iter_000006.pth'),
        ('it{}.ckpt', 'best_score_it6.ckpt'),
        ('{0}.pth', 'best_score_6.pth'),
        ('best_{}.pth', 'best_score_best_6.pth'),
        ('steps/{}.pth', 'best_score_steps_6.pth'),
        ('newest.pth', 'best_score_newest.pth'),
    ],
)
@pytest.mark.parametrize('record', [True, False], ids=['with runs.json', 'without'])
def test_names_of_checkpoints(tmp_path, monkeypatch, template, best, record):
    """Resumed from the newest one; one of each kind is kept, through a stop and a resume."""
    monkeypatch.setattr(ScriptedMetric, 'scores', {2: 1.0, 4: 2.0, 6: 3.0})
    hook = dict(filename_tmpl=template, max_keep_ckpts=1, save_best='score', rule='greater')
    changes = {CHECKPOINT + key: value for key, value in hook.items()}
    cfg = linear_cfg(tmp_path, validate=2, **changes)
    run_linear(cfg, stop_after=4)
    if not record:
        (tmp_path / 'runs.json').unlink()
    runner = run_linear(cfg, 'newest')
    assert str(runner._load_from) == str(tmp_path / template.format(4))
    assert len(scalars(runner)) == 6  # of which four were there
    assert files(tmp_path) == {template.format(6), best}


@pytest.mark.parametrize('backend', [None, dict(backend='local')])
@pytest.mark.parametrize('elsewhere', [True, False])
def test_back_end_and_folder_of_checkpoints(tmp_path, backend, elsewhere):
    changes = {CHECKPOINT + 'backend_args': backend, CHECKPOINT + 'max_keep_ckpts': 1}
    if elsewhere:
        changes[CHECKPOINT + 'out_dir'] = str(tmp_path / 'other')
    cfg = linear_cfg(tmp_path / 'run', **changes)
    run_linear(cfg, stop_after=4)
    assert run_linear(cfg, 'newest').iter == 6
    folder = tmp_path / 'other/run' if elsewhere else tmp_path / 'run'
    assert files(folder) == {'iter_6.pth'}


@MODELS.register_module()
class NotedModel(PlaneModel):
    """Has something beside tensors in its state_dict."""

    note = dict(note='hello', steps=[3, None])

    def get_extra_state(self):
        return self.note

    def set_extra_state(self, state):
        self.found = state


@pytest.mark.parametrize('note', [NotedModel.note, 'text', None, torch.tensor(float('nan'))])
def test_extra_state_of_a_model_comes_back(tmp_path, monkeypatch, note):
    monkeypatch.setattr(NotedModel, 'note', note)
    cfg = linear_cfg(tmp_path, model__type='NotedModel')
    run_linear(cfg, stop_after=4)
    runner = run_linear(cfg, 'newest')
    assert runner.iter == 6
    assert str(runner.model.found) == str(note)


@pytest.mark.parametrize(
    ('kinds', 'words'),
    [
        (('PlaneModel', 'NotedModel'), 'no such weight where .* has _extra_state of no shape'),
        (('NotedModel', 'PlaneModel'), 'has the weight _extra_state, which the network .* lacks'),
    ],
)
def test_extra_state_of_one_side_alone(tmp_path, kinds, words):
    cfg = linear_cfg(tmp_path, model__type=kinds[0])
    run_linear(cfg, stop_after=4)
    cfg.model.type = kinds[1]
    with pytest.raises(UserError, match=words):
        run_linear(cfg, 'newest')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class OneEach:
    """An optimizer for the weight, another for the bias."""

    counts = dict(weight=1, bias=1)

    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, model):
        return OptimWrapperDict(
            **{
                name: OptimWrapper(
                    torch.optim.SGD([getattr(model.layer, name)], 0.01),
                    accumulative_counts=count,
                )
                for name, count in self.counts.items()
            }
        )


@MODELS.register_module()
class TurnsModel(PlaneModel):
    """Trains the weight and then the bias, as mmengine's guide on several optimizers does."""

    spoilt = 0

    def train_step(self, data, optim_wrapper):
        assert isinstance(optim_wrapper, OptimWrapperDict) and 'weight' in optim_wrapper
        data = self.data_preprocessor(data)
        self.zero_grad()  # the bias' loss has given the weight a gradient, too
        for name, one in optim_wrapper.items():
            with one.optim_context(self):
                loss = self(**data, mode='loss')['loss']
            if self.spoilt and name == 'bias':
                loss = loss * float('nan')
            one.update_params(loss)
        return dict(loss=loss.detach())


def turns_cfg(folder, **changes):
    return linear_cfg(
        folder, model__type='TurnsModel', optim_wrapper=dict(constructor='OneEach'), **changes
    )


def test_several_optimizers_train_and_resume(tmp_path, capsys):
    """With every hook that tools/train.py registers."""
    hooks = [dict(type='StopSignalHook')]
    run_linear(
        turns_cfg(tmp_path / 'a', custom_hooks=hooks), stop_after=4, hooks=[RunSummaryHook()]
    )
    assert re.search(r'learning rate +0\.01\n', capsys.readouterr().out)
    resumed = run_linear(turns_cfg(tmp_path / 'a', custom_hooks=hooks), 'newest')
    whole = run_linear(turns_cfg(tmp_path / 'b', custom_hooks=hooks))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value)


def test_several_optimizers_and_a_loss_that_is_not_finite(tmp_path, monkeypatch):
    monkeypatch.setattr(TurnsModel, 'spoilt', 1)
    with pytest.raises(UserError, match=r'not finite at iteration 1 \(learning rate 0\.01; loss'):
        run_linear(turns_cfg(tmp_path))


def test_a_stop_waits_for_the_gradients_of_every_optimizer(tmp_path, monkeypatch):
    monkeypatch.setattr(OneEach, 'counts', dict(weight=2, bias=3))
    hook = StopSignalHook()
    monkeypatch.setattr(hook, '_agreed', lambda: True)
    with pytest.raises(SystemExit, match='75'):
        run_linear(turns_cfg(tmp_path, steps=12), hooks=[hook])
    assert 'iter_6.pth' in files(tmp_path) and 'iter_8.pth' not in files(tmp_path)


@pytest.mark.parametrize('kind', INFINITE, ids=str)
def test_samplers_given_in_any_way(tmp_path, kind):
    skip_classes(kind)
    cfg = linear_cfg(tmp_path)
    cfg.train_dataloader.sampler = dict(type=kind, shuffle=True)
    cli.check_loop(cfg)
    found = scalars(run_linear(cfg), 'train/loss')
    assert found == scalars(run_linear(linear_cfg(tmp_path / 'b')), 'train/loss')


def test_a_scope_of_the_sampler(tmp_path):
    cfg = linear_cfg(tmp_path)
    cfg.train_dataloader.sampler._scope_ = 'mmengine'
    assert run_linear(cfg).iter == 6


@pytest.mark.parametrize('loop', [ResumableTrainLoop, 'ResumableTrainLoop'], ids=str)
@pytest.mark.parametrize(
    'loader',
    [
        dict(sampler=dict(type='DefaultSampler', shuffle=True)),
        dict(sampler=dict(type=DefaultSampler, shuffle=True)),
        dict(sampler=dict(type='InfiniteSampler'), batch_sampler=dict(type='Any')),
        dict(sampler=None),
        dict(),
    ],
    ids=str,
)
def test_samplers_that_the_loop_cannot_take_are_refused_before_the_run(tmp_path, loader, loop):
    cfg = linear_cfg(tmp_path / 'run')
    cfg.train_cfg.type = loop
    cfg.train_dataloader.pop('sampler')
    cfg.train_dataloader.update(loader)
    with pytest.raises(UserError, match=r'takes train_dataloader\.sampler=.*InfiniteSampler'):
        cli.check_loop(cfg)
    assert not (tmp_path / 'run').exists()


def test_a_loader_that_is_built_already_is_refused(tmp_path):
    model = PlaneModel()
    runner = Runner(
        model,
        str(tmp_path),
        train_dataloader=DataLoader(PlaneData(), batch_size=2),
        optim_wrapper=OptimWrapper(torch.optim.SGD(model.parameters(), 0.1)),
        train_cfg=dict(type='ResumableTrainLoop', max_iters=2),
        default_scope='mmseg',
        experiment_name='built_loader',
    )
    with pytest.raises(UserError, match=r'it can jump in.*DataLoader object'):
        runner.train()


@pytest.mark.parametrize('loop', EPOCHS, ids=str)
@pytest.mark.parametrize('sampler', INFINITE, ids=str)
def test_epochs_that_never_end_are_refused_in_any_spelling(tmp_path, loop, sampler):
    cfg = linear_cfg(tmp_path, train_cfg=dict(type=loop, max_epochs=2))
    cfg.train_dataloader.sampler.type = sampler
    with pytest.raises(UserError, match='finite sampler, but InfiniteSampler is endless'):
        cli.check_loop(cfg)
    cfg.train_dataloader.sampler = dict(type=DefaultSampler, shuffle=True)
    cli.check_loop(cfg)


@pytest.mark.parametrize('hook', STOP, ids=str)
def test_hooks_given_in_any_way(tmp_path, hook):
    skip_classes(hook)
    cfg = linear_cfg(tmp_path, custom_hooks=[dict(type=hook)])
    assert run_linear(cfg).iter == 6
    cfg = linear_cfg(tmp_path, custom_hooks=[dict(type=hook)])
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2)
    cfg.train_dataloader.sampler.type = 'DefaultSampler'
    with pytest.raises(UserError, match='StopSignalHook resumes by iterations'):
        cli.check_loop(cfg)


@pytest.mark.parametrize('given', [None, 'classes', 'scope'])
def test_hooks_of_every_run_are_registered_once(tmp_path, given):
    """Two of SafeCheckpointHook would lose what the first one has noted."""
    skip_classes(given)
    kinds = (SafeCheckpointHook, ContinuationHook)
    cfg = linear_cfg(tmp_path, custom_hooks=None)
    if given:
        names = kinds if given == 'classes' else [f'mmseg.{kind.__name__}' for kind in kinds]
        cfg.custom_hooks = [ConfigDict(type=name) for name in names]
    runner = run_linear(cfg)
    assert [sum(type(hook) is kind for hook in runner.hooks) for kind in kinds] == [1, 1]
    assert run_linear(linear_cfg(tmp_path, steps=8), 'newest').iter == 8


def test_workers_that_are_spawned(tmp_path):
    """They begin anew: what they are handed has to be pickled, the answer to a signal as well."""
    cfg = linear_cfg(tmp_path, train_dataloader__num_workers=1)
    cfg.custom_hooks = [dict(type='StopSignalHook')]
    cfg.train_dataloader.multiprocessing_context = 'spawn'
    signalled = SignalWorkers()
    runner = run_linear(cfg, hooks=[signalled])
    assert signalled.sent
    end_workers(runner)
    expected = run_linear(linear_cfg(tmp_path / 'b'))
    assert scalars(runner, 'train/loss') == scalars(expected, 'train/loss')


class SignalWorkers(Hook):
    """Send SIGTERM to the loader's workers once, as a cluster does to all processes of a job."""

    sent = False

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if batch_idx == 0:
            # By another process: torch has workers leave in peace when their parent says so.
            workers = runner.train_loop.dataloader_iterator._workers
            send_signal(signal.SIGTERM, [worker.pid for worker in workers])
            self.sent = True


def test_a_batch_sampler_by_epochs(tmp_path, capsys):
    cfg = linear_cfg(tmp_path, train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=2))
    cfg.train_dataloader = dict(
        dataset=dict(type='PlaneData'),
        sampler=dict(type='DefaultSampler', shuffle=True),
        batch_sampler=dict(type='torch.utils.data.BatchSampler', batch_size=4, drop_last=False),
        num_workers=0,
    )
    cfg.default_hooks.checkpoint.update(by_epoch=True, interval=1)
    assert run_linear(cfg, hooks=[RunSummaryHook()]).iter == 4
    assert re.search(r'batch +4 \(1 x 4\)\n', capsys.readouterr().out)


def test_outputs_and_samples_of_other_models(tmp_path):
    """A train_step that gives nothing, on samples that are numbers."""

    @MODELS.register_module(force=True)
    class SilentModel(PlaneModel):
        def train_step(self, data, optim_wrapper):
            loss = self(**self.data_preprocessor(data), mode='loss')['loss']
            optim_wrapper.update_params(loss * float('nan'))

    with pytest.raises(UserError, match=r'learning rate 0\.1; images \?, \?\)'):
        run_linear(linear_cfg(tmp_path, model__type='SilentModel'))
