"""Convert backbones of torchvision and timm to MMSegmentation's."""

from pathlib import Path

from mmseg.registry import MODELS
from torch import Tensor

from mmseg_pan.errors import UserError
from mmseg_pan.weights.tensors import name_weights, read_weights, write_weights

from .names import recognize

KNOWN = (
    'torchvision\'s and timm\'s ResNet-18, -34, -50, -101, -152, timm\'s "c" and "d" variants '
    'of them, and MobileNetV2 of width 1'
)


def convert_state(state: dict[str, Tensor], source: str = 'The state dict') -> tuple[dict, dict]:
    """Rename the tensors of a backbone, and check that MMSeg's takes every one.

    Args:
        state: Tensors by name, of torchvision or timm.
        source: What to call it in an error.

    Returns:
        The renamed tensors, and the config of MMSeg's backbone.

    Raises:
        UserError: If it is no such backbone, or a tensor is missing, left over or of another
            shape.
    """
    recipe = recognize(state)
    if recipe is None:
        first = next(iter(state), 'nothing')[:40]
        raise UserError(
            f'{source} holds {first} and is not a backbone that can be converted: {KNOWN}; give '
            'one of these.'
        )
    renamed = {recipe.rename(name): value for name, value in state.items()}
    renamed.pop(None, None)
    backbone = ' '.join(map(str, recipe.backbone.values()))
    expected = MODELS.build(recipe.backbone).state_dict()
    for name, value in renamed.items():
        if name not in expected:
            raise UserError(
                f"{source} looks like {backbone}, but MMSeg's has no {name}; give the weights of "
                'a model without additions.'
            )
        if value.shape != expected[name].shape:
            raise UserError(
                f'{source} looks like {backbone}, but {name} has shape {tuple(value.shape)} '
                f"where MMSeg's has {tuple(expected[name].shape)}; give the weights of the "
                'ordinary width.'
            )
    # Old files lack the counters, and nothing reads them at a fixed momentum.
    missing = [n for n in expected if n not in renamed and not n.endswith('num_batches_tracked')]
    if missing:
        raise UserError(
            f'{source} looks like {backbone}, but {len(missing)} of its tensors are missing, '
            f'{missing[0]} among them; give the weights of the whole backbone.'
        )
    return renamed, recipe.backbone


def convert_file(source: str | Path, destination: str | Path) -> dict:
    """Convert a local file of torchvision's or timm's weights.

    Args:
        source: A .pth or .safetensors file.
        destination: The .pth file to write; appears when it is whole.

    Returns:
        Config of the MMSeg backbone that takes it.

    Raises:
        UserError: If the file cannot be read or converted, or would overwrite itself.
    """
    source = Path(source)
    destination = name_weights(destination, inputs=[source])
    state, backbone = convert_state(read_weights(source), str(source))
    write_weights(state, destination, meta=dict(backbone=backbone, source=source.name))
    return backbone
