"""A resumed run and a config that changed, or did not."""

import copy
from collections import Counter

import pytest
import torch
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import Runner

from mmseg_pan import UserError
from mmseg_pan.engine.run_record import read_runs
from tests.engine.runs import differences, small_cfg, train, trained_state

#: Arguments of every scheduler that mmengine registers, by the end of its name.
ARGUMENTS = {
    'ConstantLR': dict(factor=0.5, end=4),
    'ConstantMomentum': dict(factor=0.5, end=4),
    'ConstantParamScheduler': dict(param_name='lr', factor=0.5, end=4),
    'CosineAnnealingLR': dict(T_max=6, eta_min=1e-4),
    'CosineAnnealingMomentum': dict(T_max=6, eta_min=0.1),
    'CosineAnnealingParamScheduler': dict(param_name='lr', T_max=6, eta_min=1e-4),
    'CosineRestartLR': dict(periods=[2, 4], restart_weights=[1, 0.5], eta_min=1e-4),
    'CosineRestartMomentum': dict(periods=[2, 4], restart_weights=[1, 0.5], eta_min=0.1),
    'CosineRestartParamScheduler': dict(
        param_name='lr', periods=[2, 4], restart_weights=[1, 0.5], eta_min=1e-4
    ),
    'ExponentialLR': dict(gamma=0.9),
    'ExponentialMomentum': dict(gamma=0.9),
    'ExponentialParamScheduler': dict(param_name='lr', gamma=0.9),
    'LinearLR': dict(start_factor=0.1, end=5),
    'LinearMomentum': dict(start_factor=0.1, end=5),
    'LinearParamScheduler': dict(param_name='lr', start_factor=0.1, end=5),
    'MultiStepLR': dict(milestones=[3, 5], gamma=0.1),
    'MultiStepMomentum': dict(milestones=[3, 5], gamma=0.5),
    'MultiStepParamScheduler': dict(param_name='lr', milestones=[3, 5], gamma=0.1),
    'OneCycleLR': dict(eta_max=0.02, total_steps=8),
    'OneCycleParamScheduler': dict(param_name='lr', eta_max=0.02, total_steps=8),
    'PolyLR': dict(power=0.9, end=6),
    'PolyMomentum': dict(power=0.9, end=6),
    'PolyParamScheduler': dict(param_name='lr', power=0.9, end=6),
    'QuadraticWarmupLR': dict(end=5),
    'QuadraticWarmupMomentum': dict(end=5),
    'QuadraticWarmupParamScheduler': dict(param_name='lr', end=5),
    'ReduceOnPlateauLR': dict(monitor='loss', patience=0, factor=0.5),
    'ReduceOnPlateauMomentum': dict(monitor='loss', patience=0, factor=0.5),
    'ReduceOnPlateauParamScheduler': dict(param_name='lr', monitor='loss', patience=0, factor=0.5),
    'StepLR': dict(step_size=2, gamma=0.5),
    'StepMomentum': dict(step_size=2, gamma=0.5),
    'StepParamScheduler': dict(param_name='lr', step_size=2, gamma=0.5),
}


def schedulers():
    """Every registered scheduler of this stack but those that need a library of their own."""
    return sorted(
        name
        for name, kind in PARAM_SCHEDULERS.module_dict.items()
        if kind.__module__.startswith('mmengine.optim.scheduler')
    )


def test_arguments_for_every_scheduler():
    assert len(schedulers()) > 20
    assert set(schedulers()) <= set(ARGUMENTS)


@pytest.mark.parametrize('name', schedulers())
def test_state_of_every_scheduler_survives_a_checkpoint(name, tmp_path):
    """Saved as the hook saves it, and loaded by torch's safe loader."""
    from mmseg_pan.engine.safe_checkpoint import to_plain

    def build():
        weight = torch.nn.Parameter(torch.ones(1))
        optimizer = torch.optim.SGD([weight], lr=0.01, momentum=0.9)
        arguments = dict(copy.deepcopy(ARGUMENTS[name]), type=name, optimizer=optimizer)
        arguments['by_epoch'] = 'ReduceOnPlateau' in name
        return optimizer, PARAM_SCHEDULERS.build(arguments)

    def step(scheduler, number):
        plateau = 'ReduceOnPlateau' in name
        scheduler.step(dict(loss=1.0)) if plateau else scheduler.step()

    optimizer, scheduler = build()
    for number in range(2):
        step(scheduler, number)
    torch.save(to_plain(scheduler.state_dict()), tmp_path / 'state.pth')
    saved = torch.load(tmp_path / 'state.pth', weights_only=True)
    expected = {k: v for k, v in scheduler.state_dict().items() if not callable(v)}
    assert saved == expected
    assert [type(value) for value in saved.values()] == [type(v) for v in expected.values()]
    other, resumed = build()
    other.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(saved)
    for number in range(2, 7):
        step(scheduler, number)
        step(resumed, number)
        assert other.param_groups[0]['lr'] == optimizer.param_groups[0]['lr']
        assert other.param_groups[0]['momentum'] == optimizer.param_groups[0]['momentum']


def test_a_counter_stays_one(tmp_path):
    from mmseg_pan.engine.safe_checkpoint import to_plain

    milestones = Counter([4, 6, 6])
    torch.save(to_plain(dict(milestones=milestones)), tmp_path / 'x.pth')
    found = torch.load(tmp_path / 'x.pth', weights_only=True)['milestones']
    assert (type(found), found) == (Counter, milestones)


def cfg_of(folder, toy_root, iterations=6, lr=0.01, **more):
    cfg = small_cfg(folder, toy_root, iterations, **more)
    cfg.optim_wrapper.optimizer.lr = lr
    cfg.param_scheduler = [
        dict(type='PolyLR', eta_min=0.0, power=0.9, begin=0, end=iterations, by_epoch=False)
    ]
    cfg.custom_hooks.append(dict(type='ContinuationHook'))
    return cfg


def rates(runner: Runner) -> list[float]:
    return [round(value, 12) for value in runner.message_hub.get_scalar('train/lr').data[0]]


def test_longer_schedule_is_followed(tmp_path, toy_root):
    train(cfg_of(tmp_path / 'a', toy_root, 4))
    resumed = train(cfg_of(tmp_path / 'a', toy_root, 8), resume='newest')
    whole = train(cfg_of(tmp_path / 'b', toy_root, 8))
    assert rates(resumed)[-4:] == rates(whole)[4:]
    assert rates(resumed)[-4] > 0


def test_another_learning_rate_is_followed(tmp_path, toy_root):
    train(cfg_of(tmp_path / 'a', toy_root), stop_after=4)
    resumed = train(cfg_of(tmp_path / 'a', toy_root, lr=0.001), resume='newest')
    whole = train(cfg_of(tmp_path / 'b', toy_root, lr=0.001))
    assert rates(resumed)[-2:] == rates(whole)[4:]


def test_the_same_config_changes_nothing(tmp_path, toy_root):
    train(cfg_of(tmp_path / 'a', toy_root), stop_after=4)
    train(cfg_of(tmp_path / 'a', toy_root), resume='newest')
    train(cfg_of(tmp_path / 'b', toy_root))
    states = [trained_state(tmp_path / name / 'iter_6.pth') for name in 'ab']
    assert differences(*states) == {}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            {'optim_wrapper.optimizer': dict(_delete_=True, type='SGD', lr=1e-3)},
            'optimizer AdamW, but this run has SGD',
        ),
        ({'train_dataloader.batch_size': 3}, 'batch size per process 2, but this run has 3'),
        ({'model.decode_head.channels': 8}, r'shape \[.* it is of another network'),
        ({'train_cfg.max_iters': 2}, r'is at iter 4, but the config ends at max_iters=2'),
    ],
    ids=['optimizer', 'batch', 'network', 'length'],
)
def test_what_cannot_be_followed_is_refused(tmp_path, toy_root, change, message):
    train(cfg_of(tmp_path, toy_root), stop_after=4)
    before = (tmp_path / 'iter_4.pth').read_bytes()
    cfg = cfg_of(tmp_path, toy_root)
    cfg.merge_from_dict(change)
    with pytest.raises(UserError, match=message) as error:
        train(cfg, resume='newest')
    assert len(str(error.value).replace(str(tmp_path), '')) <= 300
    assert (tmp_path / 'iter_4.pth').read_bytes() == before


def test_weights_alone_cannot_be_resumed(tmp_path, toy_root):
    train(cfg_of(tmp_path / 'a', toy_root), stop_after=4)
    state = torch.load(tmp_path / 'a/iter_4.pth', weights_only=True)
    torch.save(dict(state_dict=state['state_dict'], meta={}), tmp_path / 'weights.pth')
    with pytest.raises(UserError, match=r'weights\.pth contains weights but no training state'):
        train(cfg_of(tmp_path / 'b', toy_root), resume=str(tmp_path / 'weights.pth'))


def test_newest_run_is_resumed_and_not_the_highest_number(tmp_path, toy_root):
    train(cfg_of(tmp_path, toy_root, 6))
    train(cfg_of(tmp_path, toy_root, 6, lr=0.002), stop_after=2)
    old, new = read_runs(tmp_path)
    assert 'iter_6.pth' in old['checkpoints'] and list(new['checkpoints']) == ['iter_2.pth']
    runner = train(cfg_of(tmp_path, toy_root, 6, lr=0.002), resume='newest')
    assert runner.iter == 6
    first, second = read_runs(tmp_path)
    assert second['id'] == new['id'] != first['id']


def test_a_newest_run_without_checkpoint_is_told(tmp_path, toy_root):
    train(cfg_of(tmp_path, toy_root, 2))
    record = (tmp_path / 'runs.json').read_text().replace('"runs": [', '"runs": [ ', 1)
    record = record.rstrip().removesuffix(']\n}') + ', {"id": "late", "checkpoints": {}}]}'
    (tmp_path / 'runs.json').write_text(record)
    with pytest.raises(UserError, match=r'newest run in .* has saved no checkpoint; iter_2\.pth'):
        train(cfg_of(tmp_path, toy_root, 2), resume='newest')


def test_a_work_dir_of_0_1_0_is_resumed(tmp_path, toy_root):
    """It has no record, and its checkpoints no identity."""
    train(cfg_of(tmp_path, toy_root), stop_after=4)
    (tmp_path / 'runs.json').unlink()
    checkpoint = torch.load(tmp_path / 'iter_4.pth', weights_only=True)
    del (
        checkpoint['message_hub']['runtime_info']['own_checkpoints'],
        checkpoint['meta']['run_facts'],
    )
    torch.save(checkpoint, tmp_path / 'iter_4.pth')
    assert train(cfg_of(tmp_path, toy_root), resume='newest').iter == 6
    (run,) = read_runs(tmp_path)
    assert {'iter_4.pth', 'iter_6.pth'} <= set(run['checkpoints'])
