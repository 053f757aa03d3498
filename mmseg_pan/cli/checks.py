"""Checks before a run: files, pretrained weights, data, class counts."""

import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from urllib.error import URLError

from mmengine.config import Config
from mmengine.dataset import InfiniteSampler
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader, EpochBasedTrainLoop
from mmseg.registry import DATA_SAMPLERS, DATASETS, LOOPS, MODELS

from mmseg_pan.engine import StopSignalHook
from mmseg_pan.engine.loop import ResumableTrainLoop, streamed
from mmseg_pan.engine.resume import checkpoints
from mmseg_pan.engine.stream import StreamSampler
from mmseg_pan.errors import UserError
from mmseg_pan.evaluation.label_map_files import dataset_folders, single_datasets
from mmseg_pan.models import FPAHead
from mmseg_pan.models.levels import backbone_levels
from mmseg_pan.outputs import check_folder
from mmseg_pan.weights.exported import open_exported
from mmseg_pan.weights.fit import check_class_names
from mmseg_pan.weights.trust import check_readable
from mmseg_pan.weights.zoo import find_download

from .labels import as_list, check_ignore_index, has_hook, heads, is_a, registered
from .values import check_loading


def check_entries(cfg: Config, *keys: str) -> None:
    """Check that a config has what a tool works on.

    Args:
        cfg: Config.
        *keys: Of its top level: 'model', 'train_dataloader' ...

    Raises:
        UserError: Naming the first that is missing.
    """
    for key in keys:
        if not cfg.get(key):
            raise UserError(
                f'{cfg.filename} has no {key}, which this tool needs; add it, or inherit from a '
                'config that has it with _base_.'
            )


def check_channels(cfg: Config) -> None:
    """Check ``in_channels`` of our heads against the feature maps that they will get.

    The backbone is built; nothing is computed.

    Raises:
        UserError: Naming the head.
    """
    model = cfg.model
    ours = {name: head for name, head in heads(cfg) if is_a(head.get('type'), MODELS, FPAHead)}
    if not ours or not isinstance(model.get('backbone'), dict):
        return
    levels = backbone_levels(model.backbone, model.get('neck'))
    channels = dict(zip(levels.in_index, levels.in_channels, strict=True))
    for name, head in ours.items():
        chosen, asked = as_list(head.get('in_index', -1)), as_list(head.get('in_channels'))
        found = [channels.get(index % len(channels)) for index in chosen]
        if asked != found and head.get('input_transform') != 'resize_concat':
            raise UserError(
                f'{name} has in_channels={asked}, but the backbone gives {found} at '
                f'in_index={chosen}; set in_channels={found if len(found) > 1 else found[0]} in '
                'the config.'
            )


def check_pretrained(cfg: Config) -> None:
    """Load every pretrained file of the model once, before anything is written.

    Downloads go to torch's cache, where the model finds them later.

    Raises:
        UserError: If a file does not exist and cannot be downloaded.
    """
    if int(os.environ.get('RANK', 0)):
        return  # the first rank downloads for all
    for key, checkpoint in pretrained_files(cfg.get('model', {})):
        try:
            CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu')
        except pickle.UnpicklingError:
            raise UserError(
                f'The pretrained weights {checkpoint} hold more than tensors and plain values and '
                'could run code when loaded; if you trust their source, type the same command '
                'with "--unsafe-load".'
            ) from None
        except (URLError, OSError, KeyError) as error:
            download = find_download(checkpoint)
            place = (
                f'download {download.url} on another machine, put it at {download.path} and '
                'type the same command again; or '
                if download
                else ''
            )
            raise UserError(
                f'The pretrained weights {checkpoint} could not be loaded ({error}); {place}put '
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
    """Check that a checkpoint exists, is intact and safe to load.

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
        hint = f'the newest one is {there[0]}.' if there else 'train one with tools/train.py.'
        raise UserError(f'The checkpoint {path} does not exist; {hint}')
    check_readable(path, unsafe)


def check_test_set(cfg: Config) -> None:
    """Check that a config names images to test on.

    Raises:
        UserError: If ``test_dataloader`` is missing or empty.
    """
    if not cfg.get('test_dataloader'):
        raise UserError(
            f'{cfg.filename} has no test_dataloader; add "test_dataloader = val_dataloader", '
            '"test_evaluator = val_evaluator" and "test_cfg = dict(type=\'TestLoop\')" to it.'
        )


def check_data(cfg: Config, *splits: str, first_image: bool = False) -> None:
    """Build the data sets once, so that missing files are reported before anything else.

    Args:
        cfg: Config.
        *splits: Which loaders: 'train', 'val', 'test'.
        first_image: Load an image of each by its pipeline, too.

    Raises:
        UserError: If folder, list, image or mask is missing, the network has other classes, data
            set, heads and metric ignore different ids, or a pipeline does not take its values.
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
                f'{error.filename or error} of {split}_dataloader does not exist; set data_root in '
                'the config to the folder that holds it.'
            ) from None
        except ValueError as error:
            if 'meta information' not in str(error):  # of ConcatDataset
                raise
            raise UserError(
                f'The parts of {split}_dataloader have different classes, colours or '
                'reduce_zero_label; give them the same metainfo, or use them separately.'
            ) from None
        for part in single_datasets(dataset):
            check_ignore_index(cfg, part, split)
            _check_classes(cfg, getattr(part, 'metainfo', {}).get('classes') or ())
        if first_image:
            check_loading(split, dataset)


def check_shown(cfg: Config, folder: str | None) -> None:
    """Check that painted images can be written, and not into the test set's folders.

    Args:
        cfg: Config of a test; its data must be there.
        folder: What ``--show-dir`` names; None: nothing is painted.

    Raises:
        UserError: Naming the folder.
    """
    if folder is not None:
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        check_folder(folder, dataset_folders(dataset), '--show-dir')


def _check_classes(cfg: Config, names: Sequence[str]) -> None:
    """Check that the network has an output for each class of the data set."""
    classes = len(names)
    model = cfg.get('model', {})
    model = model.get('module') or model
    if model.get('type') == 'ExportedSegmentor':
        check_class_names(open_exported(model['file'])[1].classes, names, model['file'])
    for name, head in heads(cfg):
        if classes > head.get('num_classes', classes):
            key = name.replace('.module', '').replace('[', '.').replace(']', '')
            raise UserError(
                f'The data set has {classes} classes, and {key.removeprefix("model.")} of '
                f'{cfg.filename} has num_classes={head["num_classes"]}; type "--cfg-options '
                f'{key}.num_classes={classes}".'
            )


def check_loop(cfg: Config) -> None:
    """Refuse epochs that never end, hooks that only count iterations, and samplers without a seek.

    Raises:
        UserError: Naming both settings.
    """
    loop = cfg.get('train_cfg') or {}
    kind = loop.get('type')
    if is_a(kind, LOOPS, ResumableTrainLoop):
        streamed(cfg.get('train_dataloader') or {})
        return
    by_epoch = registered(kind, LOOPS) is None and loop.get('by_epoch')
    if not (by_epoch or is_a(kind, LOOPS, EpochBasedTrainLoop)):
        return
    sampler = registered(
        ((cfg.get('train_dataloader') or {}).get('sampler') or {}).get('type'), DATA_SAMPLERS
    )
    if sampler in (InfiniteSampler, StreamSampler):
        raise UserError(
            f'EpochBasedTrainLoop needs a finite sampler, but {sampler.__name__} is endless; set '
            'train_dataloader.sampler.type=DefaultSampler, or train_cfg.type=ResumableTrainLoop '
            'with max_iters.'
        )
    if has_hook(cfg, StopSignalHook):
        raise UserError(
            'StopSignalHook resumes by iterations, and EpochBasedTrainLoop only at the end of an '
            'epoch; take the hook out of custom_hooks, or set train_cfg.type=ResumableTrainLoop '
            'with max_iters.'
        )
