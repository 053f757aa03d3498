"""Atomic, verified checkpoints; old ones are deleted only after a new one was verified."""

from collections.abc import Callable
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

from .run_record import (
    begin_run,
    claim_name,
    current_name,
    forget_checkpoint,
    new_run_id,
    read_runs,
)

_OWN = 'own_checkpoints'  # in the message hub, which checkpoints keep


@register_backend('whole_files')
class WholeFilesBackend(LocalBackend):
    """mmengine's files on this machine, each of them written atomically."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file: beside its name, to the disk, and then to its name."""
        path = Path(filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        with disk_errors_explained(path.parent):
            write_whole(path, obj)


class _ClaimingRunner:
    """A runner that announces the name of a checkpoint before it saves it.

    mmengine's hook settles the name of a best checkpoint only when it saves it.
    """

    def __init__(self, runner: Runner, claim: Callable[[str], None]):
        self._runner, self._claim = runner, claim

    def save_checkpoint(self, out_dir: str, filename: str, **kwargs) -> None:
        """Claim the name and save."""
        self._claim(filename)
        self._runner.save_checkpoint(out_dir, filename, **kwargs)

    def __getattr__(self, name: str):
        """Delegate all other attributes."""
        return getattr(self._runner, name)


@HOOKS.register_module()
class VerifiedCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, safe against kills, full disks and moved folders.

    - A checkpoint appears under its name when all of it is on the disk.
    - It is read back before ``last_checkpoint`` names it and before older ones go.
    - ``last_checkpoint`` is corrected when the work dir was moved.
    - Weights that are not finite are never written.
    - ``max_keep_ckpts`` and ``save_best`` remove only what this run, or the one that it resumes,
      has written. Another run's checkpoint whose name is needed is renamed, to
      ``iter_4.pth.of-run-ID``.

    Takes the arguments of CheckpointHook; ``backend_args`` and ``out_dir`` on other
    machines keep mmengine's behaviour.
    """

    def __init__(self, *args, backend_args: dict | None = None, **kwargs):
        super().__init__(*args, backend_args=backend_args, **kwargs)
        # An address such as s3://... names its back end itself.
        if backend_args is None and '://' not in str(self.out_dir):
            self.backend_args = dict(backend='whole_files')

    @property
    def _local(self) -> bool:
        return (self.backend_args or {}).get('backend') == 'whole_files'

    def _step(self, runner: Runner) -> int:
        return runner.epoch if self.by_epoch else runner.iter

    def before_train(self, runner: Runner) -> None:
        """Find out which run this is, and clear up after a kill or a move of the work dir."""
        # mmengine would delete by its own list here, before a checkpoint is verified.
        runner.message_hub.runtime_info.pop('keep_ckpt_ids', None)
        if not runner._resume:  # a hub of this name may be left of an earlier run in this process
            runner.message_hub.runtime_info.pop(_OWN, None)
        super().before_train(runner)
        self._identify(runner)
        if self._local and is_main_process():
            self._begin(runner)
        resumed = self.filename_tmpl.format(self._step(runner))
        if resumed in self._own['steps'] and Path(self.out_dir, resumed).is_file():
            self.last_ckpt = str(Path(self.out_dir, resumed))

    def _begin(self, runner: Runner) -> None:
        folder = Path(self.out_dir)
        remove_leftovers(folder)
        with disk_errors_explained(folder):
            own = {**self._own['steps'], **self._own['best']}
            owned = begin_run(folder, self._own['id'], own, self._step(runner))
        for kind in ('steps', 'best'):
            self._own[kind] = {n: step for n, step in self._own[kind].items() if n in owned}
        self._find_best(owned)
        pointer = Path(runner.work_dir, 'last_checkpoint')
        if pointer.is_file():
            named = Path(pointer.read_text().strip())
            here = Path(self.out_dir, named.name)
            if not named.is_file() and here.is_file():
                write_whole(pointer, str(here).encode())

    def _identify(self, runner: Runner) -> None:
        """Take the identity of the resumed run and its list of checkpoints, or begin one.

        Both lie in the message hub, and so in each checkpoint: a run removes only what it wrote.
        """
        own = runner.message_hub.runtime_info.get(_OWN)
        if own is None:
            own = dict(id=new_run_id(), steps={}, best={})
            if runner._resume and self._local:  # of 0.1.0, which kept no list
                step = self._step(runner)
                own['steps'] = self._unlisted(step)
                own['best'] = {
                    path.name: step
                    for path in map(Path, filter(None, self._best.values()))
                    if Path(self.out_dir, path.name).is_file()
                }
        elif self._local and not self._resumed_here(runner, own):  # its list is of another folder
            own = dict(id=own['id'], steps={}, best={})
        # Never the path of an older run in this folder.
        self._own = dict(id=own['id'], steps=dict(own['steps']), best=dict(own['best']))
        runner.message_hub.update_info(_OWN, self._own)

    @property
    def _best(self) -> dict[str | None, str | None]:
        """Path of the best checkpoint for each metric, or for None where there is but one."""
        if not self.save_best:
            return {}
        if len(self.key_indicators) > 1:
            return self.best_ckpt_path_dict
        return {None: self.best_ckpt_path}

    @_best.setter
    def _best(self, paths: dict[str | None, str | None]) -> None:
        if paths and len(self.key_indicators) > 1:
            self.best_ckpt_path_dict = paths
        elif paths:
            self.best_ckpt_path = paths[None]

    def _find_best(self, owned: dict[str, int]) -> None:
        """Follow best checkpoints that were moved with the folder or renamed by another run."""
        found = dict(self._best)
        for key, path in found.items():
            name = current_name(Path(path).name, owned) if path else None
            if name is not None:
                found[key] = str(Path(self.out_dir, name))
            elif path and Path(path).parent == Path(self.out_dir):
                found[key] = None
        self._best = found

    def _resumed_here(self, runner: Runner, own: dict) -> bool:
        if runner._load_from is None:  # mmengine has looked into the work dir
            return True
        resumed, here = Path(runner._load_from).resolve(), Path(self.out_dir).resolve()
        # filename_tmpl may name a folder.
        return resumed.parent == here or resumed in {here / name for name in own['steps']}

    def _unlisted(self, step: int) -> dict[str, int]:
        listed = {name for run in read_runs(self.out_dir) for name in run['checkpoints']}
        names = {self.filename_tmpl.format(n): n for n in range(step + 1)}
        return {
            name: n
            for name, n in names.items()
            if name not in listed and Path(self.out_dir, name).is_file()
        }

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse weights that are not finite."""
        for part in ('state_dict', 'ema_state_dict'):
            for name, value in checkpoint.get(part, {}).items():
                if name.endswith('_extra_state'):  # get_extra_state() may give anything
                    continue
                if not isinstance(value, torch.Tensor) or not value.is_floating_point():
                    continue
                if not torch.isfinite(value).all():
                    raise UserError(
                        f'{part} {name} is not finite after {runner.iter} iterations, and '
                        f'no checkpoint is written; those in {self.out_dir} are as they were: '
                        'lower the learning rate and type the same command with "--resume".'
                    )

    def save_now(self, runner: Runner, step: int) -> Path:
        """Save a checkpoint outside of the schedule, unless it already exists.

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
        self._claim(runner, name, step)
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
            self._remove_older(runner, 'steps', step, self.max_keep_ckpts)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        """Save the best one, read it back, and only then remove the ones before it."""
        if not self.save_best:
            return
        # mmengine removes what stands in its attribute before it saves.
        before = dict(self._best)
        self._best = dict.fromkeys(before)
        step = self._step(runner)
        claiming = _ClaimingRunner(runner, lambda name: self._claim(runner, name, step))
        super()._save_best_checkpoint(claiming, metrics)
        after = self._best
        for path in filter(None, after.values()):
            self._verify(path)
            name = Path(path).name
            prefix = name.removesuffix(self.filename_tmpl.format(step).replace('/', '_'))
            self._remove_older(runner, 'best', step, keep=1, prefix=prefix)
        # Where this validation was not better, the one before it still is the best.
        self._best = {key: after[key] or before[key] for key in before}

    def _claim(self, runner: Runner, name: str, step: int) -> None:
        """Enter a checkpoint in the run's list, ``steps`` or ``best``, before it is written."""
        kind = 'steps' if name == self.filename_tmpl.format(step) else 'best'
        self._own[kind][name] = step
        runner.message_hub.update_info(_OWN, self._own)
        if self._local and is_main_process():
            with disk_errors_explained(Path(self.out_dir)):
                aside = claim_name(Path(self.out_dir), self._own['id'], name, step)
            if aside:
                runner.logger.warning(
                    f'{name} already existed in {self.out_dir}; that file is now called {aside}.'
                )

    @master_only
    def _verify(self, path: str) -> None:
        if not self._local:
            return
        damage = find_damage(path)
        if damage:
            raise UserError(
                f'{path} was damaged when it was read back ({damage}); the older checkpoints are '
                'unchanged: check the disk and type the same command with "--resume".'
            )

    @master_only
    def _point_to_last(self, runner: Runner) -> None:
        pointer = Path(runner.work_dir, 'last_checkpoint')
        with disk_errors_explained(pointer.parent):
            write_whole(pointer, str(self.last_ckpt).encode())

    def _remove_older(
        self, runner: Runner, kind: str, step: int, keep: int, prefix: str = ''
    ) -> None:
        """Keep the newest of this run's up to this step; a later one is of a later start."""
        own = self._own[kind]
        found = sorted(
            (number, name)
            for name, number in own.items()
            if number <= step and name.startswith(prefix)
        )
        for _, name in found[:-keep]:
            del own[name]
            if is_main_process():
                path = self.file_backend.join_path(self.out_dir, name)
                if self.file_backend.isfile(path):
                    self.file_backend.remove(path)
                if self._local:
                    forget_checkpoint(Path(self.out_dir), self._own['id'], name)
        runner.message_hub.update_info(_OWN, self._own)
