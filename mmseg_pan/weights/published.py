"""Published files: weights with config, classes and metrics."""

import ast
import json
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from torch import Tensor

from mmseg_pan.errors import UserError

from .tensors import in_float32, named_tensors, read_weights
from .trust import check_readable

#: PAN on MobileNetV2 with VOC's classes, as tools/misc/publish_model.py writes it:
#: config, classes, metrics and provenance are inside. What it is trained on and how good
#: it is stands in the model card, configs/pan/README.md.
SHIPPED = Path(__file__).with_name('pan_mobilenet-v2_voc-89258a64.safetensors')


class Checkpoint(NamedTuple):
    """What a file holds for inference."""

    state_dict: dict[str, Tensor]
    cfg: Config | None
    classes: tuple[str, ...] | None
    palette: list[list[int]] | None
    metrics: dict
    provenance: dict  # such as data, command, licence: texts


def with_tuples(value):
    """Undo what JSON does to sizes: mmcv's Resize takes a scale as a tuple only."""
    if isinstance(value, dict):
        return {key: with_tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        numbers = value and all(isinstance(item, (int, float)) for item in value)
        return tuple(value) if numbers else [with_tuples(item) for item in value]
    return value


def open_checkpoint(path: str | Path, unsafe: bool = False) -> Checkpoint:
    """Read weights and what the file says about them, without running code from it.

    Args:
        path: A published file (.safetensors or .pth), or a checkpoint of a training run.
        unsafe: Whether a .pth file may run code.

    Returns:
        Weights and what is known; None or empty where a file does not say it.

    Raises:
        UserError: If the file does not exist, is damaged, or holds no weights.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f'The checkpoint {path} does not exist; train one with tools/train.py.')
    if path.suffix == '.safetensors':
        state, about = read_weights(path), read_metadata(path)
        cfg = Config(with_tuples(about['config'])) if 'config' in about else None
    else:
        check_readable(path, unsafe)
        file = torch.load(path, map_location='cpu', weights_only=not unsafe)
        state, about = named_tensors(file, path), file.get('meta', {})
        about = {**about, **(about.get('dataset_meta') or {})}
        cfg = about.get('cfg')
        if isinstance(cfg, str):
            values = read_values(cfg)
            cfg = Config(values) if values else None
    classes = about.get('classes') or about.get('CLASSES')
    return Checkpoint(
        state,
        cfg,
        tuple(classes) if classes else None,
        about.get('palette') or about.get('PALETTE'),
        about.get('metrics', {}),
        about.get('provenance', {}),
    )


def read_metadata(path: Path) -> dict:
    """Read what a published .safetensors file says about itself; empty for other files."""
    from safetensors import safe_open

    with safe_open(path, 'pt') as file:
        return json.loads((file.metadata() or {}).get('mmseg_pan', '{}'))


def read_values(text: str) -> dict | None:
    """Read the assignments of a config's text, as mmengine writes it, and run nothing.

    Returns:
        Names and values; None where the text is more than literals and calls of dict().
    """
    try:
        return {
            statement.targets[0].id: _value(statement.value)
            for statement in ast.parse(text).body
            if isinstance(statement, ast.Assign)
        }
    except (ValueError, SyntaxError, AttributeError):
        return None


def _value(node: ast.expr):
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        # mmengine writes dict({...}) where a key is no identifier, 'decode_head.conv_seg' for one.
        if len(node.args) > 1 or not all(isinstance(arg, ast.Dict) for arg in node.args):
            raise ValueError('dict() of something')
        items = _value(node.args[0]) if node.args else {}
        return items | {keyword.arg: _value(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Dict):
        keys = [ast.literal_eval(key) for key in node.keys]
        return dict(zip(keys, map(_value, node.values), strict=True))
    if isinstance(node, (ast.List, ast.Tuple)):
        items = [_value(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    return ast.literal_eval(node)


# mmengine matches prefixes as regular expressions, and tries the empty one, for local files, last.
@CheckpointLoader.register_scheme(prefixes=r'(?!\w+://).*\.safetensors$')
def load_from_safetensors(filename: str, map_location=None) -> dict:
    """Let mmengine's loader read local .safetensors files, in float32."""
    state = in_float32(read_weights(filename))  # tells of damage in a sentence
    about = read_metadata(filename)
    dataset = dict(classes=about.get('classes'), palette=about.get('palette'))
    return dict(meta=dict(dataset_meta=dataset) if about else {}, state_dict=state)
