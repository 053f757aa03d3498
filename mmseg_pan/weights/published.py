"""Checkpoints that explain themselves: weights with config, classes and metrics inside."""

import ast
import hashlib
import io
import json
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from torch import Tensor

from mmseg_pan.errors import UserError
from mmseg_pan.files import write_whole

from .tensors import in_float32, named_tensors, read_weights
from .trust import check_readable

#: PAN on MobileNetV2 with VOC's classes, as :func:`publish` writes
#: it: config, classes, metrics and provenance are inside. What it is trained on and how good
#: it is stands in the model card, configs/pan/README.md.
SHIPPED = Path(__file__).with_name('pan_mobilenet-v2_voc-102eb253.safetensors')


class Checkpoint(NamedTuple):
    """What a file holds for inference."""

    state_dict: dict[str, Tensor]
    cfg: Config | None
    classes: tuple[str, ...] | None
    palette: list[list[int]] | None
    metrics: dict
    provenance: dict  # such as data, command, licence: texts


def for_inference(cfg: Config) -> dict:
    """Keep of a config what inference needs, without paths of the machine."""
    dataset = cfg.test_dataloader.dataset
    model = _without_pretrained(cfg.model)
    if cfg.get('data_preprocessor'):  # mmengine's Runner gives it to a model that has none
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    kept = dict(
        default_scope=cfg.get('default_scope', 'mmseg'),
        custom_imports=cfg.get('custom_imports'),
        model=model,
        test_pipeline=dataset.pipeline,
        test_dataloader=dict(batch_size=1, dataset=dict(type=dataset.type)),
    )
    found = {key: value for key, value in Config(kept).to_dict().items() if value is not None}
    found['test_dataloader']['dataset']['pipeline'] = found['test_pipeline']
    return found


def with_tuples(value):
    """Undo what JSON does to sizes: mmcv's Resize takes a scale as a tuple only."""
    if isinstance(value, dict):
        return {key: with_tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        numbers = value and all(isinstance(item, (int, float)) for item in value)
        return tuple(value) if numbers else [with_tuples(item) for item in value]
    return value


def _without_pretrained(model: dict) -> dict:
    found = {}
    for key, value in model.items():
        if key == 'pretrained' or (key == 'init_cfg' and value and 'checkpoint' in value):
            continue
        found[key] = _without_pretrained(value) if isinstance(value, dict) else value
    return found


def open_checkpoint(path: str | Path, unsafe: bool = False) -> Checkpoint:
    """Read weights and what the file says about them, without running code from it.

    Args:
        path: A published file (.safetensors or .pth), or a checkpoint of a training run.
        unsafe: Whether a .pth file may run the code it holds.

    Returns:
        Weights and what is known; None or empty where a file does not say it.

    Raises:
        UserError: If the file is not there, damaged, or holds no weights.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f'The checkpoint {path} is not there; train one with tools/train.py.')
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
        about.get('palette'),
        about.get('metrics', {}),
        about.get('provenance', {}),
    )


def publish(checkpoint: Checkpoint, out: Path, half: bool = False) -> Path:
    """Write a checkpoint's weights with what belongs to them; the name ends in the hash.

    Args:
        checkpoint: Weights with config, classes, palette, metrics and provenance.
        out: 'NAME.safetensors' or 'NAME.pth'.
        half: Whether to write weights in float16. Loading turns them into float32 again.

    Returns:
        'NAME-XXXXXXXX.SUFFIX' with the first eight digits of the file's SHA-256.

    Raises:
        UserError: If the config is not known.
    """
    if checkpoint.cfg is None:
        raise UserError(
            'The checkpoint holds no config; type "--config FILE" with the one it was trained with.'
        )
    # Integers, like batch norm's counters, keep their type.
    state = {
        key: (value.half() if half and value.is_floating_point() else value).contiguous()
        for key, value in checkpoint.state_dict.items()
    }
    about = dict(
        config=for_inference(checkpoint.cfg),
        classes=checkpoint.classes,
        palette=checkpoint.palette,
        metrics=checkpoint.metrics,
        provenance=checkpoint.provenance,
    )
    if out.suffix == '.safetensors':
        from safetensors.torch import save

        # mmseg_pan: the key that says that all is JSON; format: what other readers look for.
        data = _sorted_header(save(state, {'format': 'pt', 'mmseg_pan': json.dumps(about)}))
    else:
        text = Config(about['config']).pretty_text
        meta = dict(cfg=text, metrics=checkpoint.metrics, provenance=checkpoint.provenance)
        meta['dataset_meta'] = dict(classes=checkpoint.classes, palette=checkpoint.palette)
        buffer = io.BytesIO()
        torch.save(dict(meta=meta, state_dict=state), buffer)
        data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    final = out.with_name(f'{out.stem}-{digest[:8]}{out.suffix}')
    final.parent.mkdir(parents=True, exist_ok=True)
    write_whole(final, data)
    return final


def _sorted_header(data: bytes) -> bytes:
    """Put the header of a .safetensors file in order: the library writes metadata in any."""
    end = 8 + int.from_bytes(data[:8], 'little')
    header = json.dumps(json.loads(data[8:end]), sort_keys=True).encode()
    header += b' ' * (-len(header) % 8)  # the format wants tensors at multiples of eight
    return len(header).to_bytes(8, 'little') + header + data[end:]


def read_metadata(path: Path) -> dict:
    """Read what :func:`publish` wrote about a .safetensors file; empty for other files."""
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
        if node.args:
            raise ValueError('dict() of something')
        return {keyword.arg: _value(keyword.value) for keyword in node.keywords}
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
