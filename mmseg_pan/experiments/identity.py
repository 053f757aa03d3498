"""The identity of a run: its resolved config, and the files that it reads."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config

from mmseg_pan.datasets.lists import read_ids, walk_files
from mmseg_pan.datasets.toy import RECIPE
from mmseg_pan.errors import UserError

#: Parts of a config that say where and how loudly, not what.
_NOT_DECIDING = {
    *('work_dir', 'resume', 'launcher', 'log_level', 'experiment_name'),
    *('visualizer', 'vis_backends'),
}
_WEIGHTS = ('.pth', '.pt', '.ckpt', '.safetensors', '.pkl', '.bin')


def identify(cfg: Config) -> dict:
    """Hash what decides on the result of a run, its seed aside.

    Folders of this machine are taken out of the config, so that two machines agree: ``data_root``,
    ``work_dir``, and what stands before the last part of any other absolute path.

    Args:
        cfg: The config, with its base configs merged and all changes applied.

    Returns:
        'config_sha256' of the config; 'lists', from the name of each list that the training and
        test sets read to the SHA-256 of its ids; 'weights', from the place of each local file in
        the config to the SHA-256 of its content. A file that does not exist has None.
    """
    weights: dict[str, str | None] = {}
    content = {key: value for key, value in cfg.to_dict().items() if key not in _NOT_DECIDING}
    content['randomness'] = {**content.get('randomness', {}), 'seed': None}
    text = json.dumps(_portable(content, '', '', weights), sort_keys=True)
    return dict(config_sha256=_digest(text.encode()), lists=_lists(content), weights=weights)


def is_known(identity: dict) -> bool:
    """Whether every hash of an identity is there."""
    lists, weights = identity.get('lists'), identity.get('weights')
    if not identity.get('config_sha256') or lists is None or weights is None:
        return False
    return all([*lists.values(), *weights.values()])


def differences(recorded: dict, now: dict) -> list[str]:
    """Describe how a run on record differs from the requested one.

    Args:
        recorded: A line of a results file.
        now: The identity of the requested run.
    """
    found = [] if recorded.get('config') == now['config'] else ['config has another name']
    found += _change('resolved config', recorded.get('config_sha256'), now['config_sha256'])
    for kind in ('lists', 'weights'):
        old = recorded.get(kind)
        if old is None:
            found.append(f'its {kind} are not on record')
            continue
        for name in sorted(old.keys() | now[kind].keys()):
            if name not in old or name not in now[kind]:
                found.append(f'{name} is {"new" if name not in old else "no longer read"}')
            else:
                found += _change(name.rpartition('/')[2], old[name], now[kind][name])
    return found


def _change(name: str, old: str | None, new: str | None) -> list[str]:
    if new is None:
        return [f'{name} does not exist']
    if old is None:
        return [f'the hash of its {name} is not on record']
    return [] if old == new else [f'{name} changed: recorded {old[:12]}, now {new[:12]}']


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _portable(value, place: str, root: str, weights: dict):
    """Take folders of this machine out of a value, and note the local files that it names."""
    if isinstance(value, dict):
        root = value.get('data_root') or root
        return {
            str(key): _portable(one, f'{place}.{key}'.lstrip('.'), root, weights)
            for key, one in value.items()
            if key != 'data_root'
        }
    if isinstance(value, list | tuple):
        return [_portable(one, f'{place}.{i}', root, weights) for i, one in enumerate(value)]
    if isinstance(value, str):
        return _portable_text(value, place, root, weights)
    if value is None or isinstance(value, bool | int | float):
        return value
    # A class or function has a name that two processes agree on; its repr holds an address.
    names = (getattr(value, '__module__', ''), getattr(value, '__qualname__', ''))
    return '.'.join(names) if all(names) else repr(value)


def _portable_text(text: str, place: str, root: str, weights: dict) -> str:
    named = text.endswith(_WEIGHTS) and '{' not in text and '://' not in text
    if not place.endswith('ann_file') and (named or os.path.isfile(text)):
        weights[place] = _digest(Path(text).read_bytes()) if os.path.isfile(text) else None
        return 'a local file'
    if not os.path.isabs(text):
        return text
    below = os.path.relpath(text, os.path.abspath(root)) if root else '..'
    return os.path.basename(text.rstrip('/')) if below.startswith('..') else below


def _lists(content: dict) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for split in ('train', 'test'):
        for dataset in _described_sets(content.get(f'{split}_dataloader')):
            for name, digest in _sources(dataset):
                if found.get(name, digest) != digest:  # two data sets, each with a list of a name
                    name = f'{split}: {name}'
                found[name] = digest
    return found


def _described_sets(value) -> Iterator[dict]:
    """Descriptions of data sets, inside wrappers as well."""
    if isinstance(value, dict):
        if value.get('ann_file') or 'data_prefix' in value:
            yield value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from _described_sets(one)


def _sources(dataset: dict) -> Iterator[tuple[str, str | None]]:
    """Name and hash of a data set's list, or of the names in its folder, and of a toy recipe."""
    root = dataset.get('data_root') or ''
    recipe = Path(root, RECIPE)  # the ids of a toy set do not tell its images
    if recipe.is_file():
        yield RECIPE, _digest(recipe.read_bytes())
    name = dataset.get('ann_file') or dataset['data_prefix'].get('img_path', '')
    path = Path(root, name)
    yield _portable_text(str(name), 'ann_file', root, {}), _hash_names(path)


def _hash_names(path: Path) -> str | None:
    if path.is_dir():
        names = [str(file.relative_to(path)) for file in walk_files(path)]
    elif path.is_file():
        try:
            names = read_ids(path)
        except UserError:  # not text
            return _digest(path.read_bytes())
    else:
        return None
    return _digest(''.join(f'{name}\n' for name in names).encode())
