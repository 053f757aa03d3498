"""Check whether a config fits the resumed run: which changes are followed or refused."""

import json
from collections.abc import Iterator

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import EarlyStoppingHook, EMAHook, Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmseg.registry import HOOKS

from mmseg_pan.errors import UserError
from mmseg_pan.weights.plain_values import to_plain
from mmseg_pan.weights.published import read_values

from .loop import ResumableTrainLoop
from .schedule import (
    copy_hyperparameters,
    follow_schedule,
    hyperparameters,
    live_settings,
    rate_is_zero,
    scheduler_states,
    stays_zero,
)

#: Properties of a run that must not change, and their names in error messages.
FIXED = {
    'optimizer': 'optimizer',
    'batch_size': 'batch size per process',
    'processes': 'number of processes',
    'loop': 'training loop',
}
# In a checkpoint's meta.
_KEY = 'run_facts'
_PATIENCE = 'early_stopping'
_SCHEDULE = ('optim_wrapper', 'param_scheduler', 'auto_scale_lr')


@HOOKS.register_module()
class ContinuationHook(Hook):
    """Compare config and checkpoint when a run is resumed.

    Another learning rate, schedule or length is followed: rates and momenta are those that the
    config would have given from the first step on. mmengine keeps the checkpoint's, so that a
    run whose schedule had ended continues with a learning rate of 0 (mmengine issue 1565). Another
    optimizer, batch size, number of processes, loop or network is refused.

    A checkpoint that is saved within a validation, as that of a new best score is, holds the
    state before it: the resumed run validates again, and ReduceOnPlateauLR and EarlyStoppingHook
    count the score once.

    ``tools/train.py`` registers it for any config.
    """

    priority = 'LOWEST'  # after SafeCheckpointHook has put the checkpoint's objects back

    def __init__(self):
        self._before_validation: dict | None = None
        self._told_of_zero = False

    def before_train(self, runner: Runner) -> None:
        """Forget an earlier training of this process."""
        self._before_validation, self._told_of_zero = None, False

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Warn once when a schedule ends before the run does."""
        if not self._told_of_zero and rate_is_zero(runner):
            self._told_of_zero = True
            runner.logger.warning(
                f'The learning rate is 0 at iteration {runner.iter + 1} of {runner.max_iters}: '
                'the weights no longer change; set "end" of param_scheduler to the length of '
                'the training.'
            )

    def before_val_epoch(self, runner: Runner) -> None:
        """Note the state that a validation changes."""
        if runner._train_loop is not None and isinstance(runner.optim_wrapper, OptimWrapper):
            self._before_validation = dict(
                optimizer=hyperparameters(runner.optim_wrapper),
                param_schedulers=scheduler_states(runner),
                patience=_patience(runner),
            )

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Forget it."""
        self._before_validation = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Write the facts of this run into the checkpoint."""
        if runner._train_loop is None:
            return
        checkpoint['meta'][_KEY] = run_facts(runner)
        before = self._before_validation
        checkpoint['meta'][_PATIENCE] = before['patience'] if before else _patience(runner)
        if before and isinstance(runner.train_loop, ResumableTrainLoop):
            if 'param_schedulers' in checkpoint:
                checkpoint['param_schedulers'] = before['param_schedulers']
            if 'optimizer' in checkpoint:
                copy_hyperparameters(before['optimizer'], checkpoint['optimizer'])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the facts, before anything of the checkpoint is used.

        Raises:
            UserError: If the config does not fit the checkpoint.
        """
        if not runner._resume or runner._train_loop is None:
            return
        if 'optimizer' not in checkpoint or 'iter' not in checkpoint.get('meta', {}):
            raise UserError(
                f'{runner._load_from} contains weights but no training state, and cannot be '
                'resumed; start from its weights with "--cfg-options load_from=FILE" instead of '
                '--resume.'
            )
        _check_weights(runner, checkpoint['state_dict'])
        now, before = run_facts(runner), facts_of(checkpoint['meta'], runner)
        for key, name in FIXED.items():
            if before.get(key) is not None and before[key] != now[key]:
                raise UserError(
                    f'{runner._load_from} was trained with {name} {before[key]}, but this run has '
                    f'{now[key]}; set it back, or start a new run from its weights with '
                    '"--cfg-options load_from=FILE" instead of --resume.'
                )
        _check_groups(runner, live_settings(runner.optim_wrapper), checkpoint['optimizer'])
        _check_averages(runner, checkpoint)
        _check_reached(runner, checkpoint['meta'])
        unsaved = runner.param_schedulers and not checkpoint.get('param_schedulers')
        if unsaved or before.get('schedule') != now['schedule']:
            follow_schedule(runner, checkpoint)
        if stays_zero(runner, checkpoint):
            raise UserError(
                f'After {runner._load_from}, the learning rate of the config is 0 until the end of '
                'the training; set "end" of param_scheduler to the length of the training and '
                'type the same command again.'
            )
        for hook, state in zip(
            _early_stopping(runner), checkpoint['meta'].get(_PATIENCE, []), strict=False
        ):
            hook.best_score, hook.wait_count = state


def run_facts(runner: Runner) -> dict:
    """Collect what decides whether another run continues this one."""
    return dict(
        optimizer=', '.join(_optimizers(runner.optim_wrapper)),
        batch_size=runner.train_dataloader.batch_size,
        processes=get_world_size(),
        loop=type(runner.train_loop).__name__,
        schedule=_schedule_text(runner.cfg),
    )


def facts_of(meta: dict, runner: Runner) -> dict:
    """Return the facts of the run that wrote a checkpoint.

    Checkpoints of 0.1.0 and of mmengine alone state no facts, but hold the text of their config.
    Where it cannot be read, the facts are empty, so that the schedule counts as another one.
    """
    if _KEY in meta:
        return meta[_KEY]
    text = meta.get('cfg')
    values = (read_values(text) if isinstance(text, str) else None) or {}
    if 'optim_wrapper' not in values:
        return {}
    kind = (values['optim_wrapper'].get('optimizer') or {}).get('type')
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    loop = values.get('train_cfg') or {}
    name = str(loop.get('type')).rpartition('.')[2]
    was_by_epoch = name == 'EpochBasedTrainLoop' or bool(loop.get('by_epoch'))
    return dict(
        optimizer=kind.rpartition('.')[2] if isinstance(kind, str) else None,
        batch_size=(values.get('train_dataloader') or {}).get('batch_size'),
        # Our loop may continue a run of mmengine's iteration-based loop.
        loop=loop.get('type') or 'of another kind' if was_by_epoch != by_epoch else None,
        schedule=_schedule_text(values),
    )


def _schedule_text(cfg: dict) -> str:
    values = {key: _plain(cfg.get(key)) for key in _SCHEDULE}
    return json.dumps(values, sort_keys=True, default=str)


def _plain(value):
    return value.to_dict() if hasattr(value, 'to_dict') else value


def _optimizers(wrapper) -> Iterator[str]:
    """Names of the optimizers' classes; a multi-optimizer wrapper has several."""
    wrappers = getattr(wrapper, 'optim_wrappers', {'': wrapper})
    for one in wrappers.values():
        yield type(getattr(one, 'optimizer', one)).__name__


def _early_stopping(runner: Runner) -> list[EarlyStoppingHook]:
    return [hook for hook in runner.hooks if isinstance(hook, EarlyStoppingHook)]


def _patience(runner: Runner) -> list[tuple]:
    """Return best score and count of validations without a better one, which mmengine drops."""
    return [to_plain((hook.best_score, hook.wait_count)) for hook in _early_stopping(runner)]


def _check_weights(runner: Runner, found: dict) -> None:
    """Refuse weights of another network, which mmengine would load in part."""
    model = getattr(runner.model, 'module', runner.model)
    own = model.state_dict()
    found = {key.removeprefix('module.'): value for key, value in found.items()}
    for key, value in own.items():
        if key not in found or _describe_shape(found[key]) != _describe_shape(value):
            there = _describe_shape(found[key]) if key in found else 'no such weight'
            raise UserError(
                f'{runner._load_from} has {there} where the network of the config has {key} of '
                f'{_describe_shape(value)}: it is of another network (other classes or channels); '
                'set the config back, or start from scratch.'
            )
    if extra := sorted(set(found) - set(own)):
        raise UserError(
            f'{runner._load_from} has the weight {extra[0]}, which the network of the config '
            'lacks: it is of another network; set the config back, or start from scratch.'
        )


def _describe_shape(value) -> str:
    """Describe a weight; what a module's get_extra_state() gives may be anything."""
    return f'shape {[*value.shape]}' if isinstance(value, torch.Tensor) else 'no shape'


def _check_reached(runner: Runner, meta: dict) -> None:
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    name, unit = ('max_epochs', 'epoch') if by_epoch else ('max_iters', 'iter')
    end = getattr(runner.train_loop, name)
    if meta[unit] > end:
        raise UserError(
            f'{runner._load_from} is at {unit} {meta[unit]}, but the config ends at {name}={end}; '
            f'raise train_cfg.{name}.'
        )


def _check_groups(runner: Runner, now: dict, before: dict) -> None:
    """Refuse parameters in other groups, whose rates and averages would be mixed up."""
    if 'param_groups' not in now:  # several optimizers, by name
        for key in now:
            _check_groups(runner, now[key], before.get(key) or {})
        return
    sizes = [[len(g['params']) for g in state.get('param_groups', [])] for state in (before, now)]
    counts = dict(groups=[len(groups) for groups in sizes])
    for number, pair in enumerate(zip(*sizes, strict=False), 1):
        counts[f'parameters in group {number}'] = list(pair)
    for what, (then, here) in counts.items():
        if then != here:
            raise UserError(
                f'The optimizer of {runner._load_from} has another number of {what} ({then}) than '
                f'this run ({here}); set paramwise_cfg of optim_wrapper back, or start a new '
                'run from its weights with "--cfg-options load_from=FILE" instead of --resume.'
            )


def _check_averages(runner: Runner, checkpoint: dict) -> None:
    """Refuse to train on the averaged weights, which EMAHook exchanges in a checkpoint."""
    if 'ema_state_dict' in checkpoint and not any(isinstance(h, EMAHook) for h in runner.hooks):
        raise UserError(
            f'{runner._load_from} contains averaged weights, but the config has no EMAHook; put it '
            'back into custom_hooks, or start a new run from the averages with "--cfg-options '
            'load_from=FILE" instead of --resume.'
        )
