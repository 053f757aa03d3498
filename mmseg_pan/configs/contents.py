"""What a config says about inference: test pipeline, class names and palette."""

import sysconfig
from collections.abc import Iterator
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.utils import import_modules_from_strings
from mmseg.models.segmentors.base import BaseSegmentor

from mmseg_pan.errors import UserError

from .faults import FAULTS, SUFFIXES, describe_conflict, describe_fault, import_failed
from .type_names import find_registered, plain_types

#: Loaders that describe test images, the best one first.
_TESTS = ('test_dataloader', 'val_dataloader')


def read_config(path: str | Path) -> Config:
    """Read a config file of MMSegmentation 1.x and import its ``custom_imports``.

    Raises:
        UserError: If it or a file that it inherits from does not exist or is no Python, if it is of
            MMSegmentation 0.x, imports what does not exist, or reads an environment variable that
            has no value.
    """
    path = Path(path)
    if not path.is_file():
        names = [p.name for p in path.parent.glob('*.py')] if path.parent.is_dir() else []
        close = get_close_matches(path.name, names, n=1)
        hint = f'did you mean {path.parent / close[0]}?' if close else 'see configs/pan for names.'
        raise UserError(f'The config {path} does not exist; {hint}')
    if path.suffix not in SUFFIXES:
        raise UserError(f'The config {path} must end in {", ".join(SUFFIXES)}; type another.')
    try:
        cfg = Config.fromfile(path)
        values = cfg.to_dict()
    except ImportError as error:
        raise UserError(import_failed(path, error)) from None
    except FAULTS as error:
        raise UserError(describe_fault(path, error)) from None
    except (KeyError, TypeError, ValueError) as error:
        described = describe_conflict(path, error)
        if described is None:
            raise
        raise UserError(described) from None
    data = values.get('data')
    if isinstance(data, dict) and {'train', 'val', 'test', 'samples_per_gpu'} & set(data):
        if not any(values.get(key) for key in ('train_dataloader', *_TESTS)):
            raise UserError(
                f'{path} is a config of MMSegmentation 0.x (data=dict(...)), and this needs one of '
                '1.x; write train_dataloader, val_dataloader and test_dataloader, see '
                'mmsegmentation.readthedocs.io, "Migration".'
            )
    return cfg


def import_custom_modules(cfg: Config, path: str | Path, every: bool) -> None:
    """Import the ``custom_imports`` of a checkpoint's config, which runs their code.

    Args:
        cfg: The config.
        path: Of the checkpoint, for messages.
        every: Whether also modules that are not of an installed package, which may have come
            together with the checkpoint.

    Raises:
        UserError: If a module cannot be imported.
    """
    options = dict(cfg.get('custom_imports') or dict(imports=[]))
    names = options.pop('imports', None) or []
    names = [names] if isinstance(names, str) else names
    try:
        import_modules_from_strings(
            [name for name in names if every or _is_installed(name)], **options
        )
    except ImportError as error:
        raise UserError(import_failed(path, error)) from None


def _is_installed(module: str) -> bool:
    """Whether a module is of this package, or of one that pip has installed."""
    package = module.split('.')[0]
    if package == 'mmseg_pan':
        return True
    found = find_spec(package)
    if found is None or found.origin is None:
        return False
    places = [Path(sysconfig.get_path(name)).resolve() for name in ('purelib', 'platlib')]
    return any(Path(found.origin).resolve().is_relative_to(place) for place in places)


def single_entries(name: str, dataset: dict) -> Iterator[tuple[str, dict]]:
    """The entries of the data sets inside a wrapper's, with their places in the config."""
    if 'datasets' in dataset:
        for index, part in enumerate(dataset['datasets']):
            yield from single_entries(f'{name}.datasets[{index}]', part)
    elif 'dataset' in dataset:
        yield from single_entries(f'{name}.dataset', dataset['dataset'])
    elif dataset:
        yield name, dataset


def inner_dataset(dataset) -> dict:
    """Descend to the first data set within ConcatDataset, RepeatDataset and other wrappers."""
    while isinstance(dataset, list) or 'dataset' in dataset or 'datasets' in dataset:
        if isinstance(dataset, list):
            dataset = dataset[0]
        else:
            dataset = dataset.get('dataset') or dataset['datasets']
    return dataset


def find_dataset(values: dict, *loaders: str) -> dict:
    """Return the first data set of the first loader that a config has; empty without any."""
    for key in loaders or _TESTS:
        loader = values.get(key)
        loader = loader[0] if isinstance(loader, (list, tuple)) and loader else loader
        if loader and loader.get('dataset'):
            return inner_dataset(loader['dataset'])
    return {}


def find_test_pipeline(values: dict, name: str = 'The config') -> list:
    """Return the pipeline of a config's first test set.

    Raises:
        UserError: If nothing in the config says how a test image is prepared.
    """
    found = find_dataset(values).get('pipeline') or values.get('test_pipeline')
    if not found:
        raise UserError(
            f'{name} has no test_dataloader, no val_dataloader and no test_pipeline, one of which '
            'must say how an image is prepared; add test_pipeline=[...] to it.'
        )
    return found


def without_pretrained(model: dict) -> dict:
    """Copy a model's config without the weights that it starts its training from."""
    found = {}
    for key, value in model.items():
        if key == 'pretrained' or (key == 'init_cfg' and value and 'checkpoint' in value):
            continue
        found[key] = without_pretrained(value) if isinstance(value, dict) else value
    return found


def for_inference(cfg: Config, name: str = 'The config') -> dict:
    """Keep of a config what inference needs: plain values, no paths of the machine.

    Raises:
        UserError: If it has no model or no test pipeline.
    """
    values = plain_types(cfg.to_dict())
    if not values.get('model'):
        raise UserError(f'{name} has no model; give the config that the network was trained with.')
    model = without_pretrained(values['model'])
    if values.get('data_preprocessor'):  # mmengine's Runner gives it to a model that has none
        model.setdefault('data_preprocessor', values['data_preprocessor'])
    pipeline = find_test_pipeline(values, name)
    dataset = dict(type=find_dataset(values).get('type', 'BaseSegDataset'), pipeline=pipeline)
    kept = dict(
        default_scope=values.get('default_scope') or 'mmseg',
        custom_imports=values.get('custom_imports'),
        model=model,
        test_pipeline=pipeline,
        test_dataloader=dict(batch_size=1, dataset=dataset),
    )
    return {key: value for key, value in kept.items() if value is not None}


def dataset_names(cfg: Config) -> tuple[list | None, list | None]:
    """Class names and palette of a config's first test set, as the data set itself has them.

    ``metainfo`` comes before the METAINFO of the data set's class. Without a palette the
    colours are those that ``BaseSegDataset`` draws.

    Returns:
        Names and RGB colours; None where the config does not say them.

    Raises:
        UserError: If ``metainfo`` names a file that does not exist.
    """
    dataset = find_dataset(cfg, *_TESTS, 'train_dataloader')
    kind = dataset.get('type')
    kind = find_registered(kind.rpartition('.')[2]) if isinstance(kind, str) else kind
    known = getattr(kind, 'METAINFO', {})
    meta = {**known, **(dataset.get('metainfo') or {})}
    classes = meta.get('classes')
    if isinstance(classes, str):
        if not Path(classes).is_file():
            raise UserError(
                f'metainfo of the config names the file {classes} for its classes, and it is not '
                'there; put it there or list the classes.'
            )
        classes = Path(classes).read_text(encoding='utf-8').split('\n')
        classes = [line.rstrip('\r') for line in classes if line.strip()]
    if not classes:
        return None, None
    palette = meta.get('palette')
    if palette is None or len(palette) == 0:
        # The colours of BaseSegDataset._update_palette, which a training would have kept.
        colours = np.random.RandomState(42).randint(0, 255, size=(len(classes), 3))
        return list(classes), colours.tolist()
    by_name = dict(zip(known.get('classes') or (), known.get('palette') or (), strict=False))
    if len(palette) != len(classes):
        palette = [by_name[name] for name in classes] if set(classes) <= set(by_name) else None
    return list(classes), palette


def settle_names(model: BaseSegmentor, classes, palette, cfg: Config) -> dict:
    """Choose the class names of a model: the checkpoint's, else the config's, else numbers.

    Names are taken where there are as many as the model has classes.

    Args:
        model: With ``num_classes``.
        classes: Names that the checkpoint holds, or None.
        palette: Colours that the checkpoint holds, or None.
        cfg: The whole config, with its data sets.

    Returns:
        ``classes``, and ``palette`` or None.
    """
    count = getattr(model, 'num_classes', None) or len(classes or ())
    counts = {count, 2} if getattr(model, 'out_channels', count) == 1 else {count}
    if classes and palette and len(classes) == len(palette) and len(classes) in counts:
        return dict(classes=tuple(classes), palette=palette)
    names, colours = dataset_names(cfg)
    if not classes or len(classes) not in counts:
        if names and len(names) in counts:
            return dict(classes=tuple(names), palette=colours)
        return dict(classes=tuple(f'class {number}' for number in range(count)), palette=palette)
    if not palette and names and [*names] == [*classes]:
        palette = colours
    return dict(classes=tuple(classes), palette=palette)
