"""A resume on a linear model: rates, averages, validations that are done again."""

import copy

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import MMLogger

from mmseg_pan import UserError
from tests.engine.linear_runs import ScriptedMetric, linear_cfg, run_linear, scalars
from tests.engine.runs import differences, trained_state


def poly(end, **more):
    return [dict(type='PolyLR', power=0.9, begin=0, end=end, by_epoch=False, eta_min=0.0, **more)]


@pytest.fixture
def warnings_of_runs(monkeypatch):
    told = []
    monkeypatch.setattr(MMLogger, 'warning', lambda self, text, *args: told.append(str(text)))
    return told


def forget(path, *keys, cfg=None):
    """Take from a checkpoint's meta what 0.1.0 did not write."""
    checkpoint = torch.load(path, weights_only=True)
    for key in keys:
        del checkpoint['meta'][key]
    if cfg is not None:
        checkpoint['meta']['cfg'] = cfg
    torch.save(checkpoint, path)


# Two groups, so that mmengine logs a base_lr beside the groups' rates.
GROUPS = dict(custom_keys={'bias': dict(lr_mult=2.0)})


@pytest.mark.parametrize('scheduler', [[], poly(6)], ids=['constant', 'poly'])
def test_base_rate_follows_another_learning_rate(tmp_path, scheduler):
    def cfg(folder, lr):
        changes = dict(optim_wrapper__paramwise_cfg=GROUPS, optim_wrapper__optimizer__lr=lr)
        return linear_cfg(tmp_path / folder, param_scheduler=scheduler, **changes)

    run_linear(cfg('a', 0.1), stop_after=2)
    resumed = run_linear(cfg('a', 0.01), 'newest')
    whole = run_linear(cfg('b', 0.01))
    for name in ('train/lr', 'train/base_lr'):
        assert scalars(resumed, name)[2:] == scalars(whole, name)[2:]
    (saved, expected) = (
        torch.load(tmp_path / f'{run}/iter_6.pth', weights_only=True)['optimizer'] for run in 'ab'
    )
    assert saved['base_param_settings'] == expected['base_param_settings']


def test_schedulers_that_overlap_are_followed_in_their_order(tmp_path):
    """A warm-up over a decay that does not end at 0: the order of their steps matters."""
    warm_up = dict(type='LinearLR', start_factor=0.1, begin=0, end=6, by_epoch=False)

    def cfg(folder, end):
        decay = dict(poly(end)[0], eta_min=0.03)
        return linear_cfg(tmp_path / folder, end, param_scheduler=[warm_up, decay])

    run_linear(cfg('a', 4))
    resumed, whole = run_linear(cfg('a', 12), 'newest'), run_linear(cfg('b', 12))
    assert scalars(resumed)[4:] == scalars(whole)[4:]


def test_a_longer_schedule_by_epochs_is_followed(tmp_path):
    """Warm-up by iterations, decay by epochs of four iterations, stepped as in training."""
    warm_up = dict(type='LinearLR', start_factor=0.1, begin=0, end=14, by_epoch=False)

    def cfg(folder, epochs):
        decay = dict(poly(epochs)[0], eta_min=0.03, by_epoch=True)
        loop = dict(type='EpochBasedTrainLoop', max_epochs=epochs)
        hook = dict(type='VerifiedCheckpointHook', interval=1, by_epoch=True)
        cfg = linear_cfg(tmp_path / folder, train_cfg=loop, param_scheduler=[warm_up, decay])
        cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)
        cfg.default_hooks.checkpoint = hook
        return cfg

    run_linear(cfg('a', 2))
    resumed, whole = run_linear(cfg('a', 5), 'newest'), run_linear(cfg('b', 5))
    assert len(scalars(whole)) == 20
    assert scalars(resumed)[8:] == scalars(whole)[8:]


def test_a_checkpoint_without_schedulers_gets_those_of_the_config(tmp_path):
    options = dict(default_hooks__checkpoint__save_param_scheduler=False, param_scheduler=poly(8))
    run_linear(linear_cfg(tmp_path / 'a', 8, **options), stop_after=4)
    resumed = run_linear(linear_cfg(tmp_path / 'a', 8, **options), 'newest')
    whole = run_linear(linear_cfg(tmp_path / 'b', 8, **options))
    assert scalars(resumed)[4:] == scalars(whole)[4:]
    paths = [tmp_path / run / 'iter_8.pth' for run in 'ab']
    weights = [torch.load(path, weights_only=True)['state_dict'] for path in paths]
    assert differences(*weights) == {}


# 0.1.0 wrote no facts of the run, but the text of its config.


@pytest.mark.parametrize('text', [None, 'model = dict(type=Net)\n'], ids=['read', 'cannot be read'])
def test_a_longer_schedule_of_a_checkpoint_of_0_1_0_is_followed(tmp_path, text):
    run_linear(linear_cfg(tmp_path / 'a', 4, param_scheduler=poly(4)))
    forget(tmp_path / 'a/iter_4.pth', 'run_facts', cfg=text)
    resumed = run_linear(linear_cfg(tmp_path / 'a', 8, param_scheduler=poly(8)), 'newest')
    whole = run_linear(linear_cfg(tmp_path / 'b', 8, param_scheduler=poly(8)))
    assert scalars(resumed)[4:] == scalars(whole)[4:]
    assert min(scalars(resumed)[4:7]) > 0


def test_the_schedule_of_a_checkpoint_of_0_1_0_goes_on_unchanged(tmp_path):
    """ReduceOnPlateauLR cannot be followed: it must count as unchanged."""
    ScriptedMetric.scores = {2: 0.5, 4: 0.4, 6: 0.3}
    schedule = [dict(type='ReduceOnPlateauLR', monitor='score', patience=0, rule='greater')]
    for run in 'ab':
        cfg = linear_cfg(tmp_path / run, validate=2, param_scheduler=schedule)
        if run == 'b':
            run_linear(cfg, stop_after=5)
            forget(tmp_path / 'b/iter_4.pth', 'run_facts')
        run_linear(cfg, 'auto')
    assert differences(*(trained_state(tmp_path / run / 'iter_6.pth') for run in 'ab')) == {}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            {'optim_wrapper.optimizer': dict(_delete_=True, type='Adam', lr=0.1)},
            'optimizer SGD, but this run has Adam',
        ),
        ({'train_dataloader.batch_size': 4}, 'batch size per process 2, but this run has 4'),
    ],
    ids=['optimizer', 'batch'],
)
def test_what_a_checkpoint_of_0_1_0_was_trained_with_is_read(tmp_path, change, message):
    run_linear(linear_cfg(tmp_path), stop_after=4)
    forget(tmp_path / 'iter_4.pth', 'run_facts')
    cfg = linear_cfg(tmp_path)
    cfg.merge_from_dict(change)
    with pytest.raises(UserError, match=message):
        run_linear(cfg, 'newest')


def test_another_number_of_parameter_groups_is_refused(tmp_path):
    run_linear(linear_cfg(tmp_path), stop_after=4)
    cfg = linear_cfg(tmp_path, optim_wrapper__paramwise_cfg=GROUPS)
    with pytest.raises(UserError, match=r'another number of groups \(1\) than this run \(2\)'):
        run_linear(cfg, 'newest')


def test_groups_of_other_parameters_are_refused(tmp_path):
    cfg = linear_cfg(tmp_path, optim_wrapper__paramwise_cfg=GROUPS)
    run_linear(cfg, stop_after=4)
    checkpoint = torch.load(tmp_path / 'iter_4.pth', weights_only=True)
    first, second = checkpoint['optimizer']['param_groups']
    first['params'].append(second['params'].pop())
    torch.save(checkpoint, tmp_path / 'iter_4.pth')
    with pytest.raises(UserError, match=r'of parameters in group 1 \(2\) than this run \(1\)'):
        run_linear(cfg, 'newest')


# Rates of 0.


def test_a_resume_that_would_train_at_a_rate_of_0_is_refused(tmp_path):
    """A longer max_iters with the schedule's end left as it was."""
    run_linear(linear_cfg(tmp_path, 4, param_scheduler=poly(4)))
    before = (tmp_path / 'iter_4.pth').read_bytes()
    with pytest.raises(UserError, match='learning rate of the config is 0 until the end') as error:
        run_linear(linear_cfg(tmp_path, 12, param_scheduler=poly(4)), 'newest')
    assert len(str(error.value)) <= 300
    assert (tmp_path / 'iter_4.pth').read_bytes() == before


def test_a_rate_that_comes_back_from_0_is_resumed(tmp_path):
    def cfg(folder):
        wave = dict(type='CosineAnnealingLR', T_max=4, eta_min=0.0, by_epoch=False)
        return linear_cfg(tmp_path / folder, 10, param_scheduler=[wave])

    run_linear(cfg('a'), stop_after=4)
    resumed, whole = run_linear(cfg('a'), 'newest'), run_linear(cfg('b'))
    assert scalars(resumed) == scalars(whole)
    assert [rate == 0 for rate in scalars(whole)] == [step == 4 for step in range(10)]
    assert differences(*(trained_state(tmp_path / run / 'iter_10.pth') for run in 'ab')) == {}


def test_a_schedule_that_ends_early_is_told_once(tmp_path, warnings_of_runs):
    run_linear(linear_cfg(tmp_path, 8, param_scheduler=poly(4)))
    (found,) = [text for text in warnings_of_runs if 'learning rate is 0' in text]
    assert found.startswith('The learning rate is 0 at iteration 4 of 8:')


def test_a_schedule_as_long_as_the_run_is_not_told(tmp_path, warnings_of_runs):
    """PolyLR reaches its end in the last step."""
    assert scalars(run_linear(linear_cfg(tmp_path, 8, param_scheduler=poly(8))))[-1] == 0
    assert not [text for text in warnings_of_runs if 'learning rate is 0' in text]


# Averaged weights.


def test_averaged_weights_are_not_trained_on(tmp_path):
    ema = [dict(type='EMAHook', momentum=0.1)]
    run_linear(linear_cfg(tmp_path, custom_hooks=ema), stop_after=4)
    with pytest.raises(UserError, match='contains averaged weights, but the config has no EMAHook'):
        run_linear(linear_cfg(tmp_path), 'newest')
    assert run_linear(linear_cfg(tmp_path, custom_hooks=copy.deepcopy(ema)), 'newest').iter == 6


# A resumed run validates again what was due at its checkpoint.

SCORES = {2: 0.5, 4: 0.6, 6: 0.4, 8: 0.3, 10: 0.2, 12: 0.1}
BEST = dict(default_hooks__checkpoint__save_best='score', default_hooks__checkpoint__rule='greater')


@pytest.mark.parametrize('best', [BEST, {}], ids=['saved after the validation', 'and before it'])
@pytest.mark.parametrize('stop', [3, 5, 7, 9])
def test_a_score_counts_once_for_the_schedule(tmp_path, best, stop):
    """The checkpoint of a new best score is saved when the scheduler has seen the score."""
    ScriptedMetric.scores = SCORES
    schedule = dict(type='ReduceOnPlateauLR', monitor='score', patience=1, rule='greater')
    runs = []
    for run in 'ab':
        cfg = linear_cfg(tmp_path / run, 12, validate=2, param_scheduler=[schedule], **best)
        if run == 'b':
            run_linear(cfg, stop_after=stop)
        runs.append(scalars(run_linear(cfg, 'auto')))
    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 1
    assert differences(*(trained_state(tmp_path / run / 'iter_12.pth') for run in 'ab')) == {}


@pytest.mark.parametrize('priority', ['LOWEST', 'NORMAL'])
@pytest.mark.parametrize('best', [BEST, {}], ids=['saved after the validation', 'and before it'])
@pytest.mark.parametrize('stop', [3, 5, 7])
def test_patience_goes_on_and_counts_a_score_once(tmp_path, best, stop, priority):
    ScriptedMetric.scores = SCORES
    stopping = dict(type='EarlyStoppingHook', monitor='score', rule='greater', patience=2)
    hooks = [dict(stopping, min_delta=0.0, priority=priority)]
    cfg = linear_cfg(tmp_path, 12, validate=2, custom_hooks=hooks, **best)
    run_linear(cfg, stop_after=stop)
    assert run_linear(cfg, 'newest').iter == 8


@pytest.mark.parametrize('priority', ['LOWEST', 'NORMAL'])
def test_a_best_score_that_is_too_little_better_counts_once(tmp_path, priority):
    """The hook runs before the best checkpoint is saved, or after."""
    ScriptedMetric.scores = {2: 0.50, 4: 0.51, 6: 0.52, 8: 0.53}
    stopping = dict(type='EarlyStoppingHook', monitor='score', rule='greater', patience=2)
    hooks = [dict(stopping, min_delta=0.05, priority=priority)]
    cfg = linear_cfg(tmp_path, 8, validate=2, custom_hooks=hooks, **BEST)
    run_linear(cfg, stop_after=5)
    assert run_linear(cfg, 'newest').iter == 6


def test_a_run_that_stopped_early_stays_stopped(tmp_path):
    ScriptedMetric.scores = SCORES
    stopping = dict(type='EarlyStoppingHook', monitor='score', rule='greater', patience=2)
    cfg = linear_cfg(tmp_path, 12, validate=2, custom_hooks=[dict(stopping, min_delta=0.0)])
    assert run_linear(cfg).iter == 8
    assert run_linear(cfg, 'newest').iter == 8


class Scores(Hook):
    """Count the validations that it sees."""

    def after_val_epoch(self, runner, metrics):
        runner.seen = [*getattr(runner, 'seen', []), metrics['score']]


def test_the_best_score_is_validated_again_all_the_same(tmp_path):
    ScriptedMetric.scores = SCORES
    cfg = linear_cfg(tmp_path, 8, validate=2, **BEST)
    run_linear(cfg, stop_after=5)
    assert run_linear(cfg, 'newest', hooks=[Scores()]).seen == [0.6, 0.4, 0.3]
