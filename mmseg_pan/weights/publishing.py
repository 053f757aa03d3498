"""Publish a checkpoint: one file for inference, compared with its source."""

import hashlib
import io
import json
import tempfile
from pathlib import Path

import torch
from mmengine.config import Config
from mmseg.models.segmentors.base import BaseSegmentor
from torch import Tensor

from mmseg_pan.errors import UserError
from mmseg_pan.files import disk_errors_explained, write_whole

from .agreement import (
    HALF_ROUNDING,
    ROUNDING,
    input_channels,
    segment_image,
    share_changed,
    synthetic_images,
)
from .fit import without_prefixes
from .loading import load_segmentor
from .published import open_checkpoint, with_tuples

#: Share of pixels that float16 weights may change beyond rounding.
TOLERANCE = 0.01
#: Heights and widths in pixels of the images that are compared.
_SIZES = ((128, 160), (97, 141))
#: Half a step of float16, relative to values of 6.1e-5 and more, is 2 ** -11.
_HALF_STEP = 2**-10


def publish(
    checkpoint: str | Path,
    out: Path,
    half: bool = False,
    config: str | Path | None = None,
    metrics: dict | None = None,
    provenance: dict | None = None,
    unsafe: bool = False,
) -> Path:
    """Write a checkpoint's weights with what belongs to them; the name ends in the hash.

    The file is loaded again, and segments synthetic images as the checkpoint does, before it
    gets its name.

    Args:
        checkpoint: What :func:`load_segmentor` reads.
        out: 'NAME.safetensors' or 'NAME.pth'.
        half: Whether to write weights in float16, but for tensors that would suffer, see
            :func:`survives_half`. Loading turns them into float32 again.
        config: Config file; None: the config that the checkpoint holds.
        metrics: Numbers by name to keep inside, beside those that the checkpoint holds.
        provenance: Texts by name to keep inside, beside those that the checkpoint holds.
        unsafe: Whether the checkpoint may run code.

    Returns:
        'NAME-XXXXXXXX.SUFFIX' with the first eight digits of the file's SHA-256.

    Raises:
        UserError: If the config is not known or does not fit the weights, if the weights are
            not finite, or if the file would not segment as the checkpoint does.
    """
    opened = open_checkpoint(checkpoint, unsafe)
    if opened.cfg is None and config is None:
        raise UserError(
            f'{checkpoint} holds no config; type "--config FILE" with the one it was trained with.'
        )
    model = load_segmentor(checkpoint, config, 'cpu', unsafe)
    weights = without_prefixes(opened.state_dict, model.state_dict())
    broken = [key for key, value in weights.items() if not value.isfinite().all()]
    if broken:
        raise UserError(
            f'{checkpoint} holds NaN or infinity in {len(broken)} tensors, {broken[0]} among them; '
            'publish an earlier checkpoint.'
        )
    state = {
        # Integers, like batch norm's counters, keep their type.
        key: (value.half() if half and survives_half(value) else value).contiguous()
        for key, value in weights.items()
    }
    about = dict(
        config=model.cfg.to_dict(),
        classes=model.dataset_meta['classes'],
        palette=model.dataset_meta['palette'],
        metrics={**opened.metrics, **(metrics or {})},
        provenance={**opened.provenance, **(provenance or {})},
    )
    data = _encode(state, about, out.suffix)
    digest = hashlib.sha256(data).hexdigest()
    final = out.with_name(f'{out.stem}-{digest[:8]}{out.suffix}')
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder, final.name)
        draft.write_bytes(data)
        _check_same_network(model, load_segmentor(draft, device='cpu'), checkpoint, half)
    with disk_errors_explained(final.parent):
        final.parent.mkdir(parents=True, exist_ok=True)
        write_whole(final, data)
    return final


def survives_half(value: Tensor) -> bool:
    """Whether a tensor keeps its meaning in float16.

    Values above 65504 become infinite there, and values below 6.1e-5 lose digits or become
    zero. Single values of a kernel may, beside larger ones that hide them; the kernels of
    an output or input channel, and the values of a vector, such as a batch norm's variances,
    must each be kept to a thousandth: the layers around them may scale them up again.

    Args:
        value: A weight of any shape; integers do not survive.
    """
    if not value.is_floating_point():
        return False
    full = value.double()
    error = value.half().double() - full
    if not error.isfinite().all():
        return False
    for dim in range(min(full.dim(), 2)):
        size, lost = (_norms(part, dim) for part in (full, error))
        if (lost > _HALF_STEP * size).any():
            return False
    return full.dim() > 0 or bool(error.abs() <= _HALF_STEP * full.abs())


def _norms(value: Tensor, dim: int) -> Tensor:
    return value.movedim(dim, 0).flatten(1).norm(dim=1) if value.dim() > 1 else value.abs()


def _check_same_network(
    model: BaseSegmentor, written: BaseSegmentor, checkpoint: str | Path, half: bool
) -> None:
    """Refuse a file whose predictions differ from its checkpoint's.

    Raises:
        UserError: If classes, pipeline or outputs differ.
    """
    for image in synthetic_images(*_SIZES, channels=input_channels(model)):
        expected, found = (segment_image(one, image) for one in (model, written))
        if not expected.isfinite().all():
            raise UserError(
                f'The network of {checkpoint} gives NaN or infinity on a synthetic image; publish '
                'another checkpoint.'
            )
        rounding = HALF_ROUNDING if half else ROUNDING
        changed = share_changed(expected, found, rounding=rounding)
        if changed > (TOLERANCE if half else 0):
            hint = 'publish it without --half' if half else 'publish it as .pth with its own config'
            raise UserError(
                f'The file would segment {changed:.1%} of the pixels of a synthetic image '
                f'differently from {checkpoint}, and is not written; {hint}.'
            )
    kept = [[with_tuples(m.cfg.test_pipeline), m.dataset_meta] for m in (model, written)]
    first, second = (json.dumps(item, sort_keys=True) for item in kept)
    if first != second:
        raise UserError(
            f'The test pipeline, classes or palette of {checkpoint} are more than plain values and '
            'cannot be written; write them as numbers, texts and lists.'
        )


def _encode(state: dict[str, Tensor], about: dict, suffix: str) -> bytes:
    if suffix == '.safetensors':
        from safetensors.torch import save

        # mmseg_pan: the key that says that all is JSON; format: what other readers look for.
        return _sorted_header(save(state, {'format': 'pt', 'mmseg_pan': json.dumps(about)}))
    meta = dict(
        cfg=Config(about['config']).pretty_text,
        metrics=about['metrics'],
        provenance=about['provenance'],
        dataset_meta=dict(classes=about['classes'], palette=about['palette']),
    )
    buffer = io.BytesIO()
    torch.save(dict(meta=meta, state_dict=state), buffer)
    return buffer.getvalue()


def _sorted_header(data: bytes) -> bytes:
    """Put the header of a .safetensors file in order: the library writes metadata in any."""
    end = 8 + int.from_bytes(data[:8], 'little')
    header = json.dumps(json.loads(data[8:end]), sort_keys=True).encode()
    header += b' ' * (-len(header) % 8)  # the format wants tensors at multiples of eight
    return len(header).to_bytes(8, 'little') + header + data[end:]
