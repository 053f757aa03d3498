"""The training loop: exact resume, and no steps with non-finite losses."""

import torch
from mmengine.dist import all_reduce, broadcast_object_list, get_dist_info
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from mmseg.registry import LOOPS

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
        guard = FiniteLossGuard(runner.optim_wrapper)
        outputs = runner.model.train_step(data_batch, optim_wrapper=guard)
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

    def _learning_rate(self) -> float:
        # Of several optimizers the first: the keys are 'lr', or 'NAME.lr'.
        rates = self.runner.optim_wrapper.get_lr()
        return next(values[0] for key, values in rates.items() if key.split('.')[-1] == 'lr')

    def _count_skipped(self, data_batch: dict, outputs: dict) -> None:
        hub = self.runner.message_hub
        count = hub.runtime_info.get(_SKIPPED, 0) + 1
        hub.update_info(_SKIPPED, count)
        # Iterations are counted as the log counts them, from 1.
        found = (
            f'The loss is not finite at iteration {self._iter + 1} '
            f'(learning rate {self._learning_rate():g}; '
            f'{describe_losses(outputs)}; images {", ".join(image_paths(data_batch))})'
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
    """An optimizer wrapper for one step, which it takes only with a finite loss.

    All processes agree: if the loss of one is not finite, none takes the step.

    Args:
        optim_wrapper: The real one. All other attributes are delegated to it.
        outer: The guard of the ``OptimWrapperDict`` that this one is a part of.
    """

    def __init__(self, optim_wrapper: OptimWrapper, outer: 'FiniteLossGuard | None' = None):
        self.optim_wrapper = optim_wrapper
        self.outer = outer
        self.skipped = False

    def update_params(self, loss: torch.Tensor, **kwargs) -> None:
        """Take the step, or set ``skipped``."""
        finite = torch.isfinite(loss.detach()).all().float()
        all_reduce(finite, 'min')
        if finite.item():
            self.optim_wrapper.update_params(loss, **kwargs)
            return
        self.skipped = True
        if self.outer is not None:
            self.outer.skipped = True

    def __getitem__(self, name: str) -> 'FiniteLossGuard':
        """Guard one of several optimizers."""
        return FiniteLossGuard(self.optim_wrapper[name], self)

    def __getattr__(self, name: str):
        """Delegate all other attributes."""
        return getattr(self.optim_wrapper, name)


def streamed(dataloader: dict) -> dict:
    """Return the config of a loader that takes its samples from the stream.

    Raises:
        UserError: If its sampler is not ``InfiniteSampler``.
    """
    sampler = dict(dataloader.get('sampler') or {})
    if sampler.pop('type', None) != 'InfiniteSampler' or dataloader.get('batch_sampler'):
        raise UserError(
            'ResumableTrainLoop takes train_dataloader.sampler=dict(type="InfiniteSampler"), which '
            'it can jump in, and no batch_sampler; the config has '
            f'{dataloader.get("batch_sampler") or dataloader.get("sampler")}.'
        )
    return dict(
        dataloader,
        sampler=dict(sampler, type='StreamSampler'),
        dataset=dict(type='StreamDataset', dataset=dataloader['dataset']),
    )


def describe_losses(losses: dict) -> str:
    """Write logged values as 'loss nan, decode.loss_ce nan'."""
    return ', '.join(f'{k} {float(v):.4g}' for k, v in losses.items() if 'loss' in k)


def image_paths(data_batch) -> list[str]:
    """Name the images of a batch; '?' where it does not tell, as a batch of other samples."""
    batch = data_batch if isinstance(data_batch, dict) else {}
    samples = batch.get('data_samples', [])
    return [str(getattr(s, 'metainfo', {}).get('img_path', '?')) for s in samples]
