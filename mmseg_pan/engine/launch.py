"""From a config and flags to a Runner: resume, devices, pretrained weights."""

import os
import pickle
import re
from pathlib import Path
from urllib.error import URLError

import torch
import torch.distributed
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader, Runner
from mmseg.registry import DATASETS, RUNNERS

from mmseg_pan.errors import UserError
from mmseg_pan.weights.trust import check_readable, check_trusted, find_damage
from mmseg_pan.weights.zoo import find_download


def checkpoints(work_dir: str | Path) -> list[Path]:
    """List a folder's checkpoints, the latest iteration (or epoch) first.

    Their names say it, so that neither a moved work dir nor a stale pointer matters.
    """
    found = [
        (int(match[1]), path)
        for path in Path(work_dir).glob('*.pth')
        if (match := re.fullmatch(r'(?:iter|epoch)_(\d+)\.pth', path.name))
    ]
    return [path for _, path in sorted(found, reverse=True)]


def set_resume(cfg: Config, choice: str | None, unsafe: bool = False) -> str:
    """Settle from which checkpoint a training run goes on.

    Args:
        cfg: Config, changed in place.
        choice: None: start afresh. 'newest': the newest checkpoint of the work dir.
            'auto': the same, or a fresh start where there is none. Else a file.
        unsafe: Whether the checkpoint may run code.

    Returns:
        What it starts from, and which damaged checkpoints were left out, in sentences.

    Raises:
        UserError: If the checkpoint is not there, or there are damaged ones only.
    """
    cfg.resume = False
    if choice is None:
        return 'Starts from iteration 0.'
    reports = []
    if choice in ('newest', 'auto'):
        checkpoint = None
        for candidate in checkpoints(cfg.work_dir):
            damage = find_damage(candidate)
            if damage is None:
                checkpoint = candidate
                break
            reports.append(f'The checkpoint {candidate} is damaged ({damage}) and left out.')
        if checkpoint is None and choice == 'auto' and not reports:
            return f'Starts from iteration 0: no checkpoint in {cfg.work_dir} to resume.'
        if checkpoint is None:
            raise UserError(
                f'There is no {"whole " if reports else ""}checkpoint in {cfg.work_dir} to resume; '
                + (' '.join(reports) + ' Remove them' if reports else 'leave --resume out')
                + ', or type "--resume auto" to start afresh where there is none.'
            )
        check_trusted(checkpoint, unsafe)  # it was read for damage above
    else:
        checkpoint = Path(choice)
        if not checkpoint.is_file():
            raise UserError(
                f'The checkpoint {checkpoint} to resume is not there; give a .pth file, or type '
                '"--resume" alone for the newest one of the work dir.'
            )
        check_readable(checkpoint, unsafe)
    cfg.resume = True
    cfg.load_from = str(checkpoint)
    return ' '.join([*reports, f'Resumes {checkpoint}.'])


def set_amp(cfg: Config) -> None:
    """Turn on automatic mixed precision: bfloat16, or float16 on a GPU without it.

    Raises:
        UserError: If the config has another optimizer wrapper, or the CPU would emulate
            bfloat16, which takes many times as long as float32.
    """
    if not torch.cuda.is_available() and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        raise UserError(
            '--amp needs a GPU or a CPU with bfloat16 instructions, and this one would take many '
            'times as long as without; leave --amp out, or insist with '
            '"--cfg-options optim_wrapper.type=BFloat16OptimWrapper".'
        )
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper', 'BFloat16OptimWrapper'):
        raise UserError(f'--amp works with optim_wrapper type OptimWrapper, not {kind}.')
    if torch.cuda.is_available() and not torch.cuda.is_bf16_supported():
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    elif kind == 'OptimWrapper':
        cfg.optim_wrapper.type = 'BFloat16OptimWrapper'


def set_auto_scale_lr(cfg: Config) -> None:
    """Scale the learning rate by batch size over the config's base batch size.

    Raises:
        UserError: If the config does not say for which batch size its rate is meant.
    """
    if not cfg.get('auto_scale_lr', {}).get('base_batch_size'):
        raise UserError(
            '--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config, and '
            f'{cfg.filename} has none; add "--cfg-options auto_scale_lr.base_batch_size=16".'
        )
    cfg.auto_scale_lr.enable = True


def drop_validation(cfg: Config) -> None:
    """Train without validation: only the end of the run is tested, with tools/test.py."""
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.default_hooks.get('checkpoint', {}).pop('save_best', None)


def set_devices(cfg: Config, launcher: str, local_rank: int = 0) -> None:
    """Make one config run on a CPU, on one GPU and on many.

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
        cfg.setdefault('sync_bn', 'torch')
        return
    if launcher != 'pytorch':
        raise UserError(f'--launcher {launcher} needs GPUs; on CPUs use "--launcher pytorch".')
    if 'RANK' not in os.environ:
        raise UserError(
            '--launcher pytorch is for torchrun; type "bash tools/dist_train.sh CONFIG 2" '
            'or leave --launcher out.'
        )
    torch.distributed.init_process_group('gloo')
    cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None)


def check_pretrained(cfg: Config) -> None:
    """Load every pretrained file of the model once, before anything is written.

    Downloads land in torch's cache, where the model finds them later.

    Raises:
        UserError: If a file is neither there nor to be downloaded.
    """
    if int(os.environ.get('RANK', 0)):
        return  # the first rank downloads for all
    for key, checkpoint in pretrained_files(cfg.get('model', {})):
        try:
            CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu')
        except pickle.UnpicklingError:
            raise UserError(
                f'The pretrained weights {checkpoint} hold more than tensors and plain values and '
                'would run code to be read; if you trust who made them, type the same command '
                'with "--unsafe-load".'
            ) from None
        except (URLError, OSError, KeyError) as error:
            download = find_download(checkpoint)
            place = (
                f'download {download.url} where there is a network, put it at {download.path} and '
                'type the same command again; or '
                if download
                else ''
            )
            raise UserError(
                f'The pretrained weights {checkpoint} could not be had ({error}); {place}put '
                'a file on this machine and type "--cfg-options '
                f'model.{key}=FILE" (tools/model_converters/backbone2mmseg.py makes one of '
                "torchvision's or timm's weights), or train from scratch with "
                f'"model.{key.removesuffix(".checkpoint")}=None".'
            ) from None


def pretrained_files(model: dict, prefix: str = '') -> list[tuple[str, str]]:
    """List (config key, file) of every pretrained checkpoint in a model config."""
    found = []
    for key, value in model.items():
        name = f'{prefix}{key}'
        if key == 'init_cfg' and isinstance(value, dict) and value.get('type') == 'Pretrained':
            found.append((f'{name}.checkpoint', value['checkpoint']))
        elif key == 'pretrained' and isinstance(value, str):
            found.append((name, value))
        elif isinstance(value, dict):
            found += pretrained_files(value, f'{name}.')
    return found


def check_checkpoint(path: str, unsafe: bool = False) -> None:
    """Stop where a checkpoint that is to be loaded is not there, damaged or dangerous.

    Args:
        path: A file; addresses with a scheme are left to mmengine.
        unsafe: Whether it may run code.

    Raises:
        UserError: Naming the file.
    """
    if '://' in path:
        return
    if not Path(path).is_file():
        folder = Path(path).parent
        there = checkpoints(folder) if folder.is_dir() else []
        hint = f'the newest one there is {there[0]}.' if there else 'train one with tools/train.py.'
        raise UserError(f'The checkpoint {path} is not there; {hint}')
    check_readable(path, unsafe)


def check_data(cfg: Config, *splits: str) -> None:
    """Build the data sets once, so that what is missing is told before anything else.

    Args:
        cfg: Config.
        *splits: Which loaders: 'train', 'val', 'test'.

    Raises:
        UserError: If folder, list, image or mask is missing, or the head has too few classes.
    """
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        if not loader:
            continue
        try:
            dataset = DATASETS.build(loader.dataset)
        except FileNotFoundError as error:  # from data sets that are not ours
            raise UserError(
                f'{error.filename or error} of {split}_dataloader is not there; set data_root in '
                'the config to the folder that holds it.'
            ) from None
        _check_classes(cfg, len(getattr(dataset, 'metainfo', {}).get('classes') or ()))


def _check_classes(cfg: Config, classes: int) -> None:
    """Stop where the data set has classes that the head has no output for."""
    model = cfg.get('model', {})
    head = (model.get('module') or model).get('decode_head') or {}
    for one in head if isinstance(head, list) else [head]:
        if classes > one.get('num_classes', classes):
            raise UserError(
                f'The data set has {classes} classes, and decode_head of {cfg.filename} has '
                f'num_classes={one["num_classes"]}; type "--cfg-options '
                f'model.decode_head.num_classes={classes}".'
            )


def draw_predictions(cfg: Config, show: bool, show_dir: str | None, wait_time: float) -> None:
    """Paint predictions while testing.

    Raises:
        UserError: If the config has no visualization hook to do it.
    """
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise UserError(
            f'--show and --show-dir need a SegVisualizationHook, and {cfg.filename} has none; add '
            '"--cfg-options default_hooks.visualization.type=SegVisualizationHook".'
        )
    # OpenMMLab's release draws every 50th image unless told otherwise.
    hook.update(draw=True, show=show, wait_time=wait_time, interval=1)
    if show_dir:
        cfg.visualizer.save_dir = show_dir


def set_tta(cfg: Config) -> None:
    """Wrap the model and its pipeline for test-time augmentation.

    Raises:
        UserError: If the config does not define it.
    """
    missing = [key for key in ('tta_model', 'tta_pipeline') if not cfg.get(key)]
    if missing:
        raise UserError(f'--tta needs {" and ".join(missing)} in {cfg.filename}.')
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = dict(cfg.tta_model, module=cfg.model)


def is_exported(path: str) -> bool:
    """Whether a file is one of tools/deployment/export.py."""
    return Path(path).suffix in ('.onnx', '.xml')


def set_exported(cfg: Config, file: str, fast: bool = False, amp: bool = False) -> None:
    """Test an exported network in the place of the config's.

    Raises:
        UserError: If options ask for changes of a network that is finished.
    """
    if fast or amp:
        raise UserError(f'{file} is tested as it is; leave out --fast and --amp.')
    cfg.model = dict(type='ExportedSegmentor', file=file)
    cfg.load_from = None


def use_test_pipeline(dataset: dict, pipeline: list) -> None:
    """Give a data set's config, wrapped or not, another pipeline."""
    if 'pipeline' in dataset:
        dataset.pipeline = pipeline
    for part in dataset.get('datasets', [dataset['dataset']] if 'dataset' in dataset else []):
        use_test_pipeline(part, pipeline)


#: Metrics that read label maps and nothing else of the predictions.
LABEL_METRICS = ('IoUMetric', 'FastIoUMetric', 'SelectedIoUMetric')


def set_fast_test(cfg: Config, fast: bool = False, amp: bool = False) -> None:
    """Make testing faster.

    What gives the same results bit for bit is always done: pixels are counted in one
    pass, and logits at full resolution are not kept where no metric reads them.

    Args:
        cfg: Config, changed in place.
        fast: Fold batch norms and use channels-last format too: differs by rounding.
        amp: Run the network in bfloat16.
    """
    evaluators = cfg.get('test_evaluator') or []
    evaluators = evaluators if isinstance(evaluators, list) else [evaluators]
    labels_only = all(e.get('type') in LABEL_METRICS for e in evaluators)
    for evaluator in evaluators:
        if evaluator.get('type') == 'IoUMetric':
            evaluator.type = 'FastIoUMetric'
    hook = dict(type='FastTestHook', fast=fast, amp=amp, labels_only=labels_only)
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), hook]


def build_runner(cfg: Config) -> Runner:
    """Build mmengine's Runner, or the config's own ``runner_type``.

    Checkpoints are written in the safe form whatever the config says of hooks.
    """
    hooks = cfg.setdefault('custom_hooks', [])
    if not any(hook['type'] == 'SafeCheckpointHook' for hook in hooks):
        hooks.append(dict(type='SafeCheckpointHook'))
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
