"""Checkpoints that are whole or absent, and an old one that waits for the new one."""

import re
from pathlib import Path

import torch
from mmengine.dist import is_main_process, master_only
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_pan.errors import UserError
from mmseg_pan.files import disk_errors_explained, remove_leftovers, write_whole
from mmseg_pan.weights.trust import find_damage


@register_backend('whole_files')
class WholeFilesBackend(LocalBackend):
    """mmengine's files on this machine, each of them written whole or not at all."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file: beside its name, to the disk, and then to its name."""
        path = Path(filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        with disk_errors_explained(path.parent):
            write_whole(path, obj)


@HOOKS.register_module()
class VerifiedCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, safe against kills, full disks and moved folders.

    - A checkpoint appears under its name when all of it is on the disk.
    - It is read back before ``last_checkpoint`` names it and before older ones go.
    - ``last_checkpoint`` is put right when the work dir was moved.
    - Weights that are not finite are never written.

    Takes the arguments of CheckpointHook; ``backend_args`` and ``out_dir`` on other
    machines keep mmengine's behaviour.
    """

    def __init__(self, *args, backend_args: dict | None = None, **kwargs):
        backend_args = backend_args or dict(backend='whole_files')
        super().__init__(*args, backend_args=backend_args, **kwargs)

    def before_train(self, runner: Runner) -> None:
        """Clear up after a kill or a move of the work dir."""
        # mmengine would delete by its own list here, before a checkpoint is verified.
        runner.message_hub.runtime_info.pop('keep_ckpt_ids', None)
        super().before_train(runner)
        resumed = Path(self.out_dir, self.filename_tmpl.format(runner.iter))
        if resumed.is_file():
            self.last_ckpt = str(resumed)
        if not is_main_process():
            return
        remove_leftovers(Path(self.out_dir))
        pointer = Path(runner.work_dir, 'last_checkpoint')
        if pointer.is_file():
            named = Path(pointer.read_text().strip())
            here = Path(self.out_dir, named.name)
            if not named.is_file() and here.is_file():
                write_whole(pointer, str(here).encode())

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse weights that are not finite."""
        for part in ('state_dict', 'ema_state_dict'):
            for name, value in checkpoint.get(part, {}).items():
                if value.is_floating_point() and not torch.isfinite(value).all():
                    raise UserError(
                        f'{part} {name} is not finite after {runner.iter} iterations, and '
                        f'no checkpoint is written; those in {self.out_dir} are as they were: '
                        'lower the learning rate and type the same command with "--resume".'
                    )

    def save_now(self, runner: Runner, step: int) -> Path:
        """Save a checkpoint outside of the schedule, unless it is there already.

        Args:
            runner: The runner.
            step: The number of iterations that are done.
        """
        path = Path(self.out_dir, self.filename_tmpl.format(step))
        if self.last_ckpt is None or Path(self.last_ckpt) != path:
            self._save_checkpoint_with_step(runner, step, dict(epoch=runner.epoch, iter=step))
        return path

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Save, read back, point to it, and only then remove old ones."""
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        self._verify(self.last_ckpt)
        self._point_to_last(runner)
        if self.max_keep_ckpts > 0:
            head, tail = self.filename_tmpl.split('{}')
            self._remove_older(head, step, tail, self.max_keep_ckpts)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        """Save the best one, read it back, and only then remove the ones before it."""
        if not self.save_best:
            return
        # mmengine removes what stands in its attribute before it saves.
        several = len(self.key_indicators) > 1
        attribute = 'best_ckpt_path_dict' if several else 'best_ckpt_path'
        before = getattr(self, attribute)
        setattr(self, attribute, dict.fromkeys(before) if several else None)
        super()._save_best_checkpoint(runner, metrics)
        after = getattr(self, attribute)
        saved = after.values() if several else [after]
        for path in filter(None, saved):
            self._verify(path)
            best = re.fullmatch(r'(.*_)(\d+)(\.pth)', Path(path).name)
            if best:
                self._remove_older(best[1], int(best[2]), best[3], keep=1)
        # Where this validation was not better, the one before it still is the best.
        setattr(
            self,
            attribute,
            {k: after[k] or before[k] for k in before} if several else after or before,
        )

    @master_only
    def _verify(self, path: str) -> None:
        if self.backend_args['backend'] != 'whole_files':
            return
        damage = find_damage(path)
        if damage:
            raise UserError(
                f'{path} was written and reads back damaged ({damage}); the older checkpoints are '
                'as they were: look after the disk and type the same command with "--resume".'
            )

    @master_only
    def _point_to_last(self, runner: Runner) -> None:
        pointer = Path(runner.work_dir, 'last_checkpoint')
        with disk_errors_explained(pointer.parent):
            write_whole(pointer, str(self.last_ckpt).encode())

    @master_only
    def _remove_older(self, head: str, step: int, tail: str, keep: int) -> None:
        """Keep the newest of those up to this step; what a later step left is not ours."""
        found = []
        for path in Path(self.out_dir).glob(f'{head}*{tail}'):
            number = path.name.removeprefix(head).removesuffix(tail)
            if number.isdigit() and int(number) <= step:
                found.append((int(number), path))
        for _, path in sorted(found)[:-keep]:
            path.unlink()
