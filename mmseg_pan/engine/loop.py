"""The training loop: exact resume, and no steps with non-finite losses."""

from functools import partial

import torch
from mmengine.dataset import InfiniteSampler
from mmengine.dist import all_reduce, broadcast_object_list, get_dist_info
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import IterBasedTrainLoop, Runner
from mmseg.registry import DATA_SAMPLERS, LOOPS

from mmseg_pan.errors import UserError

from .stream import seed_everything

_SKIPPED = 'skipped_steps'  # in the message hub, which checkpoints keep


@LOOPS.register_module()
class ResumableTrainLoop(IterBasedTrainLoop):
    """mmengine's iteration-based loop, with exact resume after any iteration.

    On a CPU the weights after N steps are the same, bit for bit, whether the run was
    stopped and resumed or not: every sample follows from the seed and its position in the
    stream (:class:`StreamSampler`), every step's random numbers (dropout, ...) from the
    seed, the iteration and the rank. Nothing that was trained on is loaded again. A run
    that is resumed at an iteration which ends with a validation validates first, since
    the checkpoint is older than it.

    Args:
        runner: The runner.
        dataloader: Config of the training loader, with the sampler ``InfiniteSampler``.
        max_nonfinite_steps: How many steps with a loss of inf or NaN are left out before
            the run stops, over the whole run. 0: the first one stops it.
        **kwargs: As for mmengine's IterBasedTrainLoop: max_iters, val_begin, val_interval.

    Raises:
        UserError: If the sampler is another one, and, in :meth:`run`, when there are more
            non-finite losses than allowed.
    """

    def __init__(self, runner: Runner, dataloader: dict, max_nonfinite_steps: int = 0, **kwargs):
        super().__init__(runner, streamed(dataloader), **kwargs)
        # OpenMMLab's loop has opened the loader by now. Persistent workers would stay as they
        # were forked: before StopSignalHook, which they have to inherit.
        self.dataloader_iterator = self.dataloader._iterator = None
        # And that has drawn from torch's generator, from which the weights come next.
        seed_everything(runner.seed, 2)
        self.max_nonfinite_steps = max_nonfinite_steps

    def run(self) -> torch.nn.Module:
        """Train from the iteration that was resumed, or from 0."""
        runner = self.runner
        runner.call_hook('before_train')
        runner.call_hook('before_train_epoch')
        rank, processes = get_dist_info()
        # With diff_rank_seed every process has its own seed, and the stream still but one.
        seeds = [runner.seed]
        broadcast_object_list(seeds)
        seed = seeds[0]
        self.dataloader.sampler.start(seed, self._iter * self.dataloader.batch_size * processes)
        self.dataloader_iterator = iter(self.dataloader)
        if self._iter > 0:
            self._validate_if_due()
        while self._iter < self._max_iters and not self.stop_training:
            runner.model.train()
            data_batch = next(self.dataloader_iterator)
            seed_everything(seed, 1, self._iter, rank)
            self.run_iter(data_batch)
            self._validate_if_due()
        runner.call_hook('after_train_epoch')
        runner.call_hook('after_train')
        return runner.model

    def run_iter(self, data_batch: dict) -> None:
        """Take one step, unless its loss is not finite in one of the processes."""
        runner = self.runner
        runner.call_hook('before_train_iter', batch_idx=self._iter, data_batch=data_batch)
        buffers = self._copy_buffers() if self.max_nonfinite_steps else {}
        with FiniteLossGuard(runner.optim_wrapper) as guard:
            outputs = runner.model.train_step(data_batch, optim_wrapper=runner.optim_wrapper)
        if guard.skipped:
            self._count_skipped(data_batch, outputs)
            for name, buffer in runner.model.named_buffers():
                buffer.copy_(buffers[name])  # batch norm has already used this batch
        runner.call_hook(
            'after_train_iter', batch_idx=self._iter, data_batch=data_batch, outputs=outputs
        )
        self._iter += 1

    def _validate_if_due(self) -> None:
        self._decide_current_val_interval()
        if (
            self.runner.val_loop is not None
            and self._iter >= self.val_begin
            and (self._iter % self.val_interval == 0 or self._iter == self._max_iters)
        ):
            self.runner.val_loop.run()

    def _copy_buffers(self) -> dict[str, torch.Tensor]:
        return {name: b.detach().clone() for name, b in self.runner.model.named_buffers()}

    def _count_skipped(self, data_batch: dict, outputs: dict) -> None:
        hub = self.runner.message_hub
        count = hub.runtime_info.get(_SKIPPED, 0) + 1
        hub.update_info(_SKIPPED, count)
        # Iterations are counted as the log counts them, from 1.
        found = (
            f'The loss is not finite at iteration {self._iter + 1} '
            f'(learning rate {learning_rates(self.runner)}; {describe_losses(outputs)}'
            f'images {", ".join(image_paths(data_batch)) or "?"})'
        )
        if count > self.max_nonfinite_steps:
            raise UserError(
                f'{found}, and {self.max_nonfinite_steps} such steps are allowed: check these '
                'images and masks, lower the learning rate, or skip up to 10 such steps with '
                '"--resume auto --cfg-options train_cfg.max_nonfinite_steps=10".'
            )
        self.runner.logger.warning(
            f'{found}; the step is skipped ({count} of {self.max_nonfinite_steps} allowed).'
        )


class FiniteLossGuard:
    """Within its ``with`` block, an optimizer wrapper takes a step only with a finite loss.

    The wrapper stays what it is, an ``OptimWrapperDict`` with all that a model asks of one. All
    processes agree: if the loss of one is not finite, none takes the step. Of several
    optimizers each is guarded by itself.

    Args:
        optim_wrapper: The wrapper.
    """

    def __init__(self, optim_wrapper: OptimWrapper):
        several = isinstance(optim_wrapper, OptimWrapperDict)
        self._parts = list(optim_wrapper.values()) if several else [optim_wrapper]
        self._spoilt: list[OptimWrapper] = []
        self._before: list[tuple[OptimWrapper, dict]] = []

    @property
    def skipped(self) -> bool:
        """Whether a step was not taken."""
        return bool(self._spoilt)

    def __enter__(self) -> 'FiniteLossGuard':
        """Put the guard before ``backward``, ``step`` and ``zero_grad``."""
        for part in self._parts:
            self._before.append((part, dict(vars(part))))
            part.backward = partial(self._backward, part, part.backward)
            part.step = partial(self._unless_spoilt, part, part.step)
            part.zero_grad = partial(self._unless_spoilt, part, part.zero_grad)
        return self

    def __exit__(self, *_) -> None:
        """Take it away."""
        for part, before in self._before:
            for name in ('backward', 'step', 'zero_grad'):
                vars(part).pop(name)
                if name in before:  # somebody else's
                    vars(part)[name] = before[name]

    def _backward(self, part: OptimWrapper, backward, loss: torch.Tensor, **kwargs) -> None:
        if part in self._spoilt:
            return
        finite = torch.isfinite(loss.detach()).all().float()
        all_reduce(finite, 'min')
        if finite.item():
            backward(loss, **kwargs)
        else:
            self._spoilt.append(part)

    def _unless_spoilt(self, part: OptimWrapper, function, *args, **kwargs) -> None:
        if part not in self._spoilt:
            function(*args, **kwargs)


def streamed(dataloader: dict) -> dict:
    """Return the config of a loader that takes its samples from the stream.

    Raises:
        UserError: If its sampler is not ``InfiniteSampler``.
    """
    sampler = dataloader.get('sampler') if isinstance(dataloader, dict) else None
    kind = sampler.get('type') if isinstance(sampler, dict) else None
    kind = DATA_SAMPLERS.get(kind) if isinstance(kind, str) else kind  # with or without a scope
    if kind is not InfiniteSampler or dataloader.get('batch_sampler'):
        found = dataloader
        if isinstance(dataloader, dict):
            found = dataloader.get('batch_sampler') or sampler
        raise UserError(
            'ResumableTrainLoop takes train_dataloader.sampler=dict(type="InfiniteSampler"), which '
            f'it can jump in, and no batch_sampler; the config has {str(found)[:100]}.'
        )
    options = {key: value for key, value in sampler.items() if key != '_scope_'}
    return dict(
        dataloader,
        sampler=dict(options, type='StreamSampler'),
        dataset=dict(type='StreamDataset', dataset=dataloader['dataset']),
    )


def learning_rates(runner: Runner) -> str:
    """The learning rate, or the lowest and the highest where groups of parameters differ."""
    rates = runner.optim_wrapper.get_lr()  # the keys are 'lr', or 'NAME.lr' of several optimizers
    values = [x for key, group in rates.items() if key.split('.')[-1] == 'lr' for x in group]
    low, high = f'{min(values):g}', f'{max(values):g}'
    return low if low == high else f'{low} to {high}'


def describe_losses(outputs) -> str:
    """Write the numbers among a model's outputs as 'loss nan, decode.loss_ce nan; '."""
    numbers = (
        f'{key} {float(torch.as_tensor(value).detach()):.4g}'
        for key, value in (outputs if isinstance(outputs, dict) else {}).items()
        if 'loss' in key and _is_number(value)
    )
    text = ', '.join(numbers)
    return f'{text}; ' if text else ''


def _is_number(value) -> bool:
    if isinstance(value, torch.Tensor):
        return value.numel() == 1
    return isinstance(value, (int, float))


def image_paths(data_batch) -> list[str]:
    """Name the images of a batch; '?' where it does not tell, as a batch of other samples."""
    samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
    infos = (getattr(sample, 'metainfo', None) for sample in (() if samples is None else samples))
    return [str(info.get('img_path', '?')) if isinstance(info, dict) else '?' for info in infos]
