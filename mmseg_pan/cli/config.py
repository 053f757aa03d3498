"""From a config file to a Runner."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.registry import RUNNERS

from mmseg_pan.configs.contents import for_inference, read_config
from mmseg_pan.engine import ContinuationHook, SafeCheckpointHook
from mmseg_pan.errors import UserError
from mmseg_pan.files import disk_errors_explained, exclusive
from mmseg_pan.outputs import check_writable
from mmseg_pan.weights.start import NewClassifierHook

from .fitting import check_fitting, without_workers
from .labels import has_hook, registered, settle_ignore_index
from .parts import apply_options, check_parts
from .screen import with_clear_screen
from .testing import count_fast
from .values import check_values

#: Metrics for which mmengine does not know whether higher is better.
_GREATER = ('mFscore', 'mPrecision', 'mRecall', 'mIoU_selected')


def load_config(path: str, options: dict | None = None, work_dir: str | None = None) -> Config:
    """Read a config file, and set its work dir and the ``ignore_index`` of all parts.

    Args:
        path: Config file.
        options: Changes, as ``--cfg-options`` gives them.
        work_dir: Overrides the config; without either, ``work_dirs/<config stem>``.

    Raises:
        UserError: If there is no such file, if it is for MMSegmentation 0.x or imports missing
            modules, if its types, arguments and numbers do not fit, or if its parts ignore
            different ids.
    """
    cfg = read_config(path)
    apply_options(cfg, options or {})
    check_parts(cfg)
    check_fitting(cfg)
    check_values(cfg)
    without_workers(cfg)
    settle_ignore_index(cfg)
    cfg.work_dir = work_dir or cfg.get('work_dir') or f'./work_dirs/{Path(path).stem}'
    return cfg


def check_network(path: str | Path | None) -> Config | None:
    """Check what a config file says of network and test pipeline, before they are built.

    Args:
        path: Config file; None: that of a checkpoint, which was checked when it was trained.

    Returns:
        The whole config.

    Raises:
        UserError: As for :func:`load_config`.
    """
    if path is None:
        return None
    whole = read_config(path)
    cfg = Config(for_inference(whole, str(path)))
    check_parts(cfg)
    check_fitting(cfg)
    check_values(cfg)
    return whole


def check_datasets(path: str | Path) -> None:
    """Check what a config file says of its data sets, before they are built.

    Raises:
        UserError: As for :func:`load_config`.
    """
    cfg = read_config(path)
    keys = ('default_scope', 'train_dataloader', 'val_dataloader', 'test_dataloader')
    check_parts(Config({key: cfg[key] for key in keys if cfg.get(key)}))


def set_devices(cfg: Config, launcher: str, local_rank: int = 0) -> None:
    """Adapt a config to a CPU, one GPU or several.

    Several CUDA processes get synchronised batch norm. On CPUs mmengine would ask for
    CUDA devices: the gloo process group is made here, before the Runner, and
    DistributedDataParallel gets no device ids; batch norm stays local, since
    SyncBatchNorm takes no CPU tensors.

    Args:
        cfg: Config, changed in place.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
        local_rank: As the launcher passes it, for launchers that set no LOCAL_RANK.

    Raises:
        UserError: If a launcher does not fit the machine.
    """
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    cfg.launcher = launcher
    if launcher == 'none':
        return
    if torch.cuda.is_available():
        check_cards()
        cfg.setdefault('sync_bn', 'torch')
        return
    if launcher != 'pytorch':
        raise UserError(f'--launcher {launcher} needs GPUs; on CPUs use "--launcher pytorch".')
    if 'RANK' not in os.environ:
        raise UserError(
            '--launcher pytorch is for torchrun; type "bash tools/dist_train.sh CONFIG 2" '
            'or omit --launcher.'
        )
    torch.distributed.init_process_group('gloo')
    cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None)


def check_cards() -> None:
    """Check that each process of this machine, as the launcher counts them, finds a GPU.

    Raises:
        UserError: If there are fewer, and any; on a machine without one they share the CPU.
    """
    processes = int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if 0 < cards < processes:
        raise UserError(
            f'{processes} processes need as many GPUs, and torch finds {cards} here; start '
            f'{cards}, or train on the CPU with CUDA_VISIBLE_DEVICES= before the command.'
        )


def build_runner(cfg: Config) -> Runner:
    """Build mmengine's Runner, or the config's own ``runner_type``.

    Checkpoints are written in the safe form whatever the config says of hooks, and
    MMSegmentation's ``IoUMetric`` is replaced by one that defines the F-score of a class that
    is never predicted. What mmengine reports on its own workings goes to the log file alone.

    Raises:
        UserError: If the config's runner is not registered, or the work dir cannot be written.
    """
    runner_class = registered(cfg.runner_type, RUNNERS) if 'runner_type' in cfg else Runner
    if runner_class is None:
        raise UserError(
            f'{cfg.filename} has runner_type={cfg.runner_type!r}, and no such runner is '
            'registered; name the module that registers it in custom_imports.'
        )
    count_fast(cfg)
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if hook.get('save_best') in _GREATER:
        hook.setdefault('rule', 'greater')
    check_writable(cfg.work_dir, '--work-dir')
    for kind in (SafeCheckpointHook, ContinuationHook, NewClassifierHook):
        if not has_hook(cfg, kind):
            cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type=kind.__name__)]
    return with_clear_screen(runner_class).from_cfg(cfg)


@contextmanager
def training_lock(cfg: Config) -> Iterator[None]:
    """Lock the work dir against a second training run; its other ranks pass.

    Raises:
        BusyError: If another run is training in ``cfg.work_dir``.
    """
    if int(os.environ.get('RANK', 0)):
        yield
        return
    folder = Path(cfg.work_dir)
    with disk_errors_explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / '.lock'
        file.touch()
    with exclusive(file):
        yield
