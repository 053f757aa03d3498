"""Does the config still fit the run that is resumed: what is followed, what is refused."""

import json
from collections.abc import Iterator

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmseg.registry import HOOKS

from mmseg_pan.errors import UserError

#: Facts of a run that must not change, and how a sentence calls them.
FIXED = {
    'optimizer': 'optimizer',
    'batch_size': 'batch size per process',
    'processes': 'number of processes',
    'loop': 'training loop',
}
_KEY = 'run_facts'  # in a checkpoint's meta


@HOOKS.register_module()
class ContinuationHook(Hook):
    """Compare config and checkpoint when a run is resumed.

    Another learning rate, schedule or length is followed: rates and momenta are those that the
    config would have given from the first step on. mmengine keeps the checkpoint's, so that a
    run whose schedule had ended goes on with a learning rate of 0 (mmengine issue 1565). Another
    optimizer, batch size, number of processes, loop or network is refused.

    ``tools/train.py`` registers it for any config.
    """

    priority = 'LOWEST'  # after SafeCheckpointHook has put the checkpoint's objects back

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Write the facts of this run into the checkpoint."""
        if runner._train_loop is not None:
            checkpoint['meta'][_KEY] = run_facts(runner)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the facts, before anything of the checkpoint is used.

        Raises:
            UserError: If the config does not fit the checkpoint.
        """
        if not runner._resume or runner._train_loop is None:
            return
        if 'optimizer' not in checkpoint or 'iter' not in checkpoint.get('meta', {}):
            raise UserError(
                f'{runner._load_from} holds weights and no state of a training, and cannot be '
                'resumed; start from its weights with "--cfg-options load_from=FILE" instead of '
                '--resume.'
            )
        _check_weights(runner, checkpoint['state_dict'])
        now, before = run_facts(runner), checkpoint['meta'].get(_KEY, {})
        for key, name in FIXED.items():
            if key in before and before[key] != now[key]:
                raise UserError(
                    f'{runner._load_from} was trained with {name} {before[key]}, and this run has '
                    f'{now[key]}; set it back, or start afresh from its weights with '
                    '"--cfg-options load_from=FILE" instead of --resume.'
                )
        _check_reached(runner, checkpoint['meta'])
        if before and before['schedule'] != now['schedule']:
            _follow_schedule(runner, checkpoint)


def run_facts(runner: Runner) -> dict:
    """Collect what decides whether another run continues this one."""
    cfg = runner.cfg
    keys = ('optim_wrapper', 'param_scheduler', 'auto_scale_lr')
    schedule = {key: _plain(cfg.get(key)) for key in keys}
    return dict(
        optimizer=', '.join(_optimizers(runner.optim_wrapper)),
        batch_size=runner.train_dataloader.batch_size,
        processes=get_world_size(),
        loop=type(runner.train_loop).__name__,
        schedule=json.dumps(schedule, sort_keys=True, default=str),
    )


def _plain(value):
    return value.to_dict() if hasattr(value, 'to_dict') else value


def _optimizers(wrapper) -> Iterator[str]:
    """Names of the optimizers' classes; a multi-optimizer wrapper has several."""
    wrappers = getattr(wrapper, 'optim_wrappers', {'': wrapper})
    for one in wrappers.values():
        yield type(getattr(one, 'optimizer', one)).__name__


def _check_weights(runner: Runner, found: dict) -> None:
    """Refuse weights of another network, which mmengine would load in part."""
    model = getattr(runner.model, 'module', runner.model)
    own = model.state_dict()
    found = {key.removeprefix('module.'): value for key, value in found.items()}
    for key, value in own.items():
        shape = getattr(found.get(key), 'shape', None)
        if key not in found or shape != getattr(value, 'shape', None):
            there = 'no such weight' if key not in found else f'shape {[*shape]}'
            raise UserError(
                f'{runner._load_from} has {there} where the network of the config has {key} of '
                f'shape {[*value.shape]}: it is of another network (other classes or channels); '
                'set the config back, or start afresh.'
            )
    if extra := sorted(set(found) - set(own)):
        raise UserError(
            f'{runner._load_from} has the weight {extra[0]}, which the network of the config '
            'lacks: it is of another network; set the config back, or start afresh.'
        )


def _check_reached(runner: Runner, meta: dict) -> None:
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    name, unit = ('max_epochs', 'epoch') if by_epoch else ('max_iters', 'iter')
    end = getattr(runner.train_loop, name)
    if meta[unit] > end:
        raise UserError(
            f'{runner._load_from} is of {unit} {meta[unit]}, and the config ends at {name}={end}; '
            f'raise train_cfg.{name}.'
        )


def _follow_schedule(runner: Runner, checkpoint: dict) -> None:
    """Put the config's rates at the checkpoint's position into the checkpoint.

    The schedulers take as many steps as the run has done: what they compute does not depend on
    the weights.
    """
    schedulers = runner.param_schedulers or []
    groups = schedulers.values() if isinstance(schedulers, dict) else [schedulers]
    everyone = [scheduler for group in groups for scheduler in group]
    for scheduler in everyone:
        if type(scheduler).__name__.startswith('ReduceOnPlateau'):
            raise UserError(
                f"The schedule of {runner._load_from} differs from the config's, and "
                f'{type(scheduler).__name__} follows metrics that are not kept; set the schedule '
                'back to resume.'
            )
    epochs, iterations = checkpoint['meta']['epoch'], checkpoint['meta']['iter']
    for scheduler in everyone:
        for _ in range(epochs if scheduler.by_epoch else iterations):
            scheduler.step()
    state = [[scheduler.state_dict() for scheduler in group] for group in groups]
    if isinstance(schedulers, dict):
        checkpoint['param_schedulers'] = dict(zip(schedulers, state, strict=True))
    else:
        checkpoint['param_schedulers'] = state[0]
    _copy_hyperparameters(runner.optim_wrapper.state_dict(), checkpoint['optimizer'])


def _copy_hyperparameters(fresh: dict, kept: dict) -> None:
    """Copy learning rates, momenta and so on, and leave the optimizer's averages as they are."""
    if 'param_groups' not in fresh:  # several optimizers, by name
        for name in fresh.keys() & kept.keys():
            if isinstance(fresh[name], dict):
                _copy_hyperparameters(fresh[name], kept[name])
        return
    for new, old in zip(fresh['param_groups'], kept['param_groups'], strict=True):
        old.update({key: value for key, value in new.items() if key != 'params'})
