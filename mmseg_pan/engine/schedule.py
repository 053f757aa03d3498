"""The schedule of a config: its settings at a position, and whether it has ended."""

import re
import warnings
from copy import deepcopy
from itertools import chain

from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmseg_pan.errors import UserError
from mmseg_pan.weights.plain_values import to_plain


def all_schedulers(runner: Runner) -> list:
    """List the schedulers of all optimizers."""
    schedulers = runner.param_schedulers or []
    return list(chain(*schedulers.values()) if isinstance(schedulers, dict) else schedulers)


def scheduler_states(runner: Runner) -> list | dict:
    """Return the schedulers' states as a checkpoint holds them."""
    schedulers = runner.param_schedulers or []
    if isinstance(schedulers, dict):
        return {name: [_state(one) for one in some] for name, some in schedulers.items()}
    return [_state(one) for one in schedulers]


def _state(scheduler) -> dict:
    return deepcopy(to_plain(scheduler.state_dict()))


def hyperparameters(wrapper: OptimWrapper) -> dict:
    """Return a copy of learning rates, momenta and so on, in the form of a checkpoint."""
    if isinstance(wrapper, OptimWrapperDict):
        return {name: hyperparameters(one) for name, one in wrapper.items()}
    found = live_settings(wrapper)
    groups = [_without_parameters(group) for group in found['param_groups']]
    if 'base_param_settings' not in found:
        return deepcopy(dict(param_groups=groups))
    base = _without_parameters(found['base_param_settings'])
    return deepcopy(dict(param_groups=groups, base_param_settings=base))


def live_settings(wrapper: OptimWrapper) -> dict:
    """Return the dicts of a wrapper that hold its settings, themselves."""
    if isinstance(wrapper, OptimWrapperDict):
        return {name: live_settings(one) for name, one in wrapper.items()}
    found = dict(param_groups=wrapper.optimizer.param_groups)
    # The rate that logs call base_lr, which is scheduled with those of the groups.
    base = getattr(wrapper, 'base_param_settings', None)
    return dict(found, base_param_settings=base) if base else found


def _without_parameters(group: dict) -> dict:
    return {key: value for key, value in group.items() if key != 'params'}


def copy_hyperparameters(fresh: dict, kept: dict) -> None:
    """Copy learning rates, momenta and so on, and leave parameters and averages as they are."""
    if 'param_groups' not in fresh:  # several optimizers, by name
        for name in fresh.keys() & kept.keys():
            copy_hyperparameters(fresh[name], kept[name])
        return
    pairs = list(zip(fresh['param_groups'], kept['param_groups'], strict=True))
    if fresh.get('base_param_settings') and kept.get('base_param_settings'):
        pairs.append((fresh['base_param_settings'], kept['base_param_settings']))
    for new, old in pairs:
        old.update(_without_parameters(new))


def follow_schedule(runner: Runner, checkpoint: dict) -> None:
    """Put the config's rates at the checkpoint's position into the checkpoint.

    The schedulers take as many steps as the run has done: what they compute does not depend on
    the weights.

    Raises:
        UserError: If a scheduler follows metrics, which are not kept.
    """
    for scheduler in all_schedulers(runner):
        if getattr(scheduler, 'need_val_args', False):
            raise UserError(
                f"The schedule of {runner._load_from} differs from the config's, and "
                f'{type(scheduler).__name__} follows metrics that are not kept; set the schedule '
                'back to resume.'
            )
    _step(runner, checkpoint['meta']['epoch'], checkpoint['meta']['iter'])
    checkpoint['param_schedulers'] = scheduler_states(runner)
    copy_hyperparameters(hyperparameters(runner.optim_wrapper), checkpoint['optimizer'])


def _step(runner: Runner, epochs: int, iterations: int) -> None:
    """Step the schedulers in the same order as training does."""
    schedulers = all_schedulers(runner)
    by_epoch = [s for s in schedulers if s.by_epoch and not getattr(s, 'need_val_args', False)]
    by_iteration = [s for s in schedulers if not s.by_epoch]
    length = iterations // epochs if epochs else 0  # of an epoch
    with warnings.catch_warnings():
        # They miss the optimizer's steps between theirs.
        for text in ('Seems like `optimizer.step', 'Detected call of `scheduler.step'):
            warnings.filterwarnings('ignore', re.escape(text), UserWarning)
        for number in range(1, iterations + 1):
            for scheduler in by_iteration:
                scheduler.step()
            if length and number % length == 0 and number // length <= epochs:
                for scheduler in by_epoch:
                    scheduler.step()


def all_zero(settings: dict) -> bool:
    """Whether no parameter has a learning rate other than 0.

    Args:
        settings: As :func:`hyperparameters` gives them.
    """
    if 'param_groups' not in settings:
        return all(all_zero(one) for one in settings.values() if isinstance(one, dict))
    return not any(float(group.get('lr', 1)) for group in settings['param_groups'])


def rate_is_zero(runner: Runner) -> bool:
    """Whether the step to come has a learning rate of 0, and is not the run's last.

    The last one (by epochs: the last epoch) does not count: PolyLR reaches its end there.
    """
    return _left(runner, runner.epoch, runner.iter) > 1 and all_zero(
        live_settings(runner.optim_wrapper)
    )


def stays_zero(runner: Runner, checkpoint: dict) -> bool:
    """Whether a run that continues from a checkpoint would have a learning rate of 0 to its end.

    Uses up the runner's schedulers: they are to be loaded from the checkpoint afterwards.
    """
    epoch, iteration = checkpoint['meta']['epoch'], checkpoint['meta']['iter']
    left = _left(runner, epoch, iteration)
    if left < 2 or not all_zero(checkpoint['optimizer']):
        return False
    settings = live_settings(runner.optim_wrapper)
    copy_hyperparameters(checkpoint['optimizer'], settings)
    states = checkpoint.get('param_schedulers', [])
    states = chain(*states.values()) if isinstance(states, dict) else states
    for scheduler, state in zip(all_schedulers(runner), states, strict=False):
        scheduler.load_state_dict(deepcopy(state))
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    length = len(runner.train_dataloader) if by_epoch else 1
    for _ in range(left - 1):
        if not all_zero(settings):
            return False
        _step(runner, int(by_epoch), length)
    return True


def _left(runner: Runner, epoch: int, iteration: int) -> int:
    """Count the epochs or iterations that are to come."""
    if isinstance(runner.train_loop, EpochBasedTrainLoop):
        return runner.max_epochs - epoch
    return runner.max_iters - iteration
