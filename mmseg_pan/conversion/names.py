"""Names of ResNet's and MobileNetV2's tensors, from torchvision and timm to MMSeg.

Each renaming maps a foreign name to MMSeg's, or to None for what a backbone has not: the
classifier, and MobileNetV2's last 1x1 conv.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

#: Blocks in each stage of MobileNetV2.
MOBILENET_BLOCKS = (1, 2, 3, 4, 3, 3, 1)
#: (Blocks in each stage, whether they are bottlenecks) -> depth of MMSeg's ResNet.
RESNET_DEPTHS = {
    ((2, 2, 2, 2), False): 18,
    ((3, 4, 6, 3), False): 34,
    ((3, 4, 6, 3), True): 50,
    ((3, 4, 23, 3), True): 101,
    ((3, 8, 36, 3), True): 152,
}
#: (Deep stem, pooling in the shortcut) -> MMSeg's name.
RESNET_TYPES = {
    (False, False): 'ResNet',
    (True, False): 'ResNetV1c',
    (True, True): 'ResNetV1d',
}


class Recipe(NamedTuple):
    """The type of a file and the renaming of its tensors."""

    backbone: dict
    rename: Callable[[str], str | None]


def resnet(name: str) -> str | None:
    """Rename a tensor of torchvision's or timm's plain ResNet: only the classifier goes."""
    return None if name.startswith('fc.') else name


def deep_stem_resnet(name: str) -> str | None:
    """Rename a tensor of timm's ResNet "c" or "d": three convs in the stem."""
    if name.startswith('conv1.'):
        return name.replace('conv1.', 'stem.', 1)
    if name.startswith('bn1.'):
        return name.replace('bn1.', 'stem.7.', 1)
    return resnet(name)


def torchvision_mobilenet(name: str) -> str | None:
    """Rename a tensor of torchvision's MobileNetV2: a flat list of 19 ``features``."""
    match = re.match(r'features\.(\d+)\.(.+)', name)
    if not match or match[1] == '18':
        return None
    number, rest = int(match[1]), match[2]
    if number == 0:
        return 'conv1.' + _conv_or_norm(rest)
    stage = 0
    while number > MOBILENET_BLOCKS[stage]:
        number -= MOBILENET_BLOCKS[stage]
        stage += 1
    # conv.0 and conv.1 are pairs of conv and norm; the projection and its norm lie flat.
    parts = rest.split('.')
    last = 1 if stage == 0 else 2
    if int(parts[1]) < last:
        inner = f'{parts[1]}.{_conv_or_norm(".".join(parts[2:]))}'
    else:
        inner = f'{last}.' + _conv_or_norm(f'{int(parts[1]) - last}.{parts[2]}')
    return f'layer{stage + 1}.{number - 1}.conv.{inner}'


def _conv_or_norm(rest: str) -> str:
    index, value = rest.split('.')
    return f'{("conv", "bn")[int(index)]}.{value}'


def timm_mobilenet(name: str) -> str | None:
    """Rename a tensor of timm's ``mobilenetv2_100``."""
    if name.startswith(('conv_stem.', 'bn1.')):
        return 'conv1.' + name.replace('conv_stem.', 'conv.').replace('bn1.', 'bn.')
    match = re.match(r'blocks\.(\d+)\.(\d+)\.(\w+)\.(\w+)$', name)
    if not match:
        return None
    stage, block, part, value = match.groups()
    order = {'conv_pw': 0, 'bn1': 0, 'conv_dw': 1, 'bn2': 1, 'conv_pwl': 2, 'bn3': 2}
    if stage == '0':  # no expansion: depthwise first
        order = {'conv_dw': 0, 'bn1': 0, 'conv_pw': 1, 'bn2': 1}
    if part not in order:  # squeeze and excite, say: not MobileNetV2
        return f'layer{int(stage) + 1}.{block}.{part}.{value}'
    kind = 'bn' if part.startswith('bn') else 'conv'
    return f'layer{int(stage) + 1}.{block}.conv.{order[part]}.{kind}.{value}'


def recognize(state: dict[str, Tensor]) -> Recipe | None:
    """Recognise a state dict by its names; None if unknown.

    Args:
        state: Tensors by name.
    """
    if 'features.0.0.weight' in state and 'features.1.conv.0.0.weight' in state:
        return Recipe(dict(type='MobileNetV2'), torchvision_mobilenet)
    if 'conv_stem.weight' in state and 'blocks.0.0.conv_dw.weight' in state:
        return Recipe(dict(type='MobileNetV2'), timm_mobilenet)
    deep_stem = 'conv1.6.weight' in state
    if (not deep_stem and 'conv1.weight' not in state) or 'layer4.0.conv1.weight' not in state:
        return None
    stages = [{n.split('.')[1] for n in state if n.startswith(f'layer{i}.')} for i in range(1, 5)]
    depth = RESNET_DEPTHS.get((tuple(map(len, stages)), 'layer1.0.conv3.weight' in state))
    shortcut = state.get('layer2.0.downsample.1.weight')
    kind = RESNET_TYPES.get((deep_stem, shortcut is not None and shortcut.ndim == 4))
    if depth is None or kind is None:
        return None
    return Recipe(dict(type=kind, depth=depth), deep_stem_resnet if deep_stem else resnet)
