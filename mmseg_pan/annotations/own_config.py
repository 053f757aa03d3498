"""The config of a converted data set: what it chooses from number, size and balance, and why."""

import math
import textwrap
from dataclasses import dataclass
from pathlib import Path
from pprint import pformat

import numpy as np
import torch

from mmseg_pan.devices import has_bfloat16
from mmseg_pan.outputs import MARK

_TEMPLATE = Path(__file__).with_name('templates') / 'config.txt'

#: The least and most side of a crop, and the most where objects are small: pixels.
_SIDES = dict(small=(129, 321, 513), large=(257, 513, 769))
#: Objects of fewer pixels a side are lost in a map at output stride 16.
_OBJECT = 24
#: Pixels a step: 8 images of 257x257 on a CPU, 16 of 513x513 on a GPU.
_STEP = dict(small=8 * 257**2, large=16 * 513**2)
_BATCHES = dict(small=8, large=16)
_EPOCHS = 60
_ITERATIONS = dict(small=(320, 1000), large=(1000, 20_000))
#: Learning rate of AdamW for a step of 8 images, and of 16.
_RATES = dict(small=1e-3, large=3e-4)
#: Frequencies that differ by more get class weights, and none of these beyond the limits.
_BALANCED = 20
_WEIGHTS = (0.25, 4.0)


@dataclass
class Facts:
    """What a config is derived from.

    Args:
        names: Classes by id.
        palette: RGB, by id.
        sizes: Width and height of each training image.
        pixels: Pixels of each class in each training image, ``(images, classes)``.
        suffixes: Ends of the names of all images.
        has_test: Whether there is a test split.
        network: 'small', 'large' or 'auto', by the machine.
        val_images: Number of images for validation.
    """

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    sizes: list[tuple[int, int]]
    pixels: np.ndarray
    suffixes: list[str]
    has_test: bool
    network: str
    val_images: int

    @property
    def needs_lists(self) -> bool:
        """Whether the images have different suffixes, of which a data set knows one."""
        return len(self.suffixes) > 1


def write_config(facts: Facts) -> str:
    """The text of the config: complete, and independent of where data and repository lie."""
    network = facts.network
    if network == 'auto':
        network = 'large' if torch.cuda.is_available() else 'small'
    side, why_side = _choose_side(facts, network)
    images = len(facts.sizes)
    batch = max(2, min(_BATCHES[network], _STEP[network] // side**2, images))
    least, most = _ITERATIONS[network]
    iterations = min(max(_EPOCHS * images // batch, least), most)
    weights, why_weights = _choose_weights(facts)
    rate = float(f'{_RATES[network] * math.sqrt(batch / _BATCHES[network]):.1g}')
    machine = 'a CPU' if network == 'small' else 'a GPU'
    times = iterations * batch / images
    interval = max(iterations // 4, 1) if facts.val_images <= 100 else iterations
    reasons = dict(
        network=_NETWORKS[network],
        side=why_side,
        batch=(
            f'{batch} images of this size a step: as many as {machine} takes without waiting long'
            + (', and as there are.' if batch == images else '.')
        ),
        iterations=(
            f'{images} training images, {times:.0f} times each: {_EPOCHS} times, but '
            f'{least} iterations at least and {most:,} at most on {machine}.'
        ),
        rate=(
            'AdamW, with a tenth of the learning rate in the backbone, which knows its features: '
            'the recipe on record for runs of this length (configs/_base_/schedules/'
            f'schedule_1k.py). {_RATES[network]:g} is for {_BATCHES[network]} images a step, and '
            'goes with the root of their number.'
        ),
        weights=why_weights,
    )
    values = dict(
        mark=MARK,
        names=_literal(list(facts.names)),
        palette=_literal([list(colour) for colour in facts.palette]),
        suffix=repr(facts.suffixes[0]),
        side=side,
        long_side=4 * side,
        batch=batch,
        iterations=iterations,
        interval=interval,
        warm_up=min(20, iterations // 4),
        rate=f'{rate:g}',
        weights=_literal(weights),
        workers=2 if network == 'small' else 4,
        test='test' if facts.has_test else 'val',
        wrapper='BFloat16OptimWrapper' if network == 'large' and has_bfloat16() else 'OptimWrapper',
        model=_MODELS[network],
        hook=_HOOKS[network],
        start=_STARTS[network],
    )
    test = 'test' if facts.has_test else 'val'
    for part, split in (('train', 'train'), ('val', 'val'), ('test', test)):
        values[f'{part}_list'] = f'{split}.txt' if facts.needs_lists else ''
    text = _TEMPLATE.read_text(encoding='utf-8')
    for name, reason in reasons.items():
        comment = '\n'.join(textwrap.wrap(reason, 97, initial_indent='# ', subsequent_indent='# '))
        text = text.replace(f'# <why {name}>', comment)
    for name, value in values.items():
        text = text.replace(f'<{name}>', str(value))
    return text


def _literal(value) -> str:
    return pformat(value, width=92, compact=True)


def _choose_side(facts: Facts, network: str) -> tuple[int, str]:
    """A side of 16k + 1 near the images' shorter side, larger where objects are small."""
    least, usual, most = _SIDES[network]
    shorter = float(np.median([min(size) for size in facts.sizes]))
    fitting = 16 * max(round((shorter - 1) / 16), 1) + 1
    side = min(max(fitting, least), usual)
    why = f'Shorter side of images and crops. The median image has {shorter:.0f} pixels'
    why += f', and {usual} is the usual limit of this machine' if fitting > usual else ''
    extent, name = _smallest(facts)
    if extent * side < _OBJECT and side < min(most, fitting):
        wanted = 16 * math.ceil(_OBJECT / max(extent, 1e-6) / 16) + 1
        side = min(wanted, most, fitting)
        why += (
            f'; {name!r} is small ({100 * extent:.1f} % of the side in a typical image), so more '
            'than usual'
        )
    return side, f'{why}. 16k + 1 fits align_corners=True at output stride 16.'


def _smallest(facts: Facts) -> tuple[float, str]:
    """The root of the share of an image that the smallest class typically has, and its name."""
    areas = np.array([width * height for width, height in facts.sizes])
    found = [(1.0, '')]
    for index, name in enumerate(facts.names):
        present = facts.pixels[:, index] > 0
        if present.any():
            share = np.median(facts.pixels[present, index] / areas[present])
            found.append((math.sqrt(share), name))
    return min(found)


def _choose_weights(facts: Facts) -> tuple[list[float] | None, str]:
    """Roots of median frequency over frequency, where frequencies differ much."""
    totals = facts.pixels.sum(0).astype(float)
    frequency = totals / max(totals.sum(), 1)
    there = frequency > 0
    ratio = frequency[there].max() / frequency[there].min()
    name = facts.names[int(np.argmin(np.where(there, frequency, np.inf)))]
    found = f'The most frequent class has {ratio:,.0f} times as many pixels as the rarest, {name!r}'
    if ratio <= _BALANCED:
        return None, f'{found}: no class weights below {_BALANCED} times.'
    raw = np.ones(len(facts.names))
    raw[there] = np.clip(np.sqrt(np.median(frequency[there]) / frequency[there]), *_WEIGHTS)
    weights = raw / (raw * frequency).sum()
    return [round(float(weight), 3) for weight in weights], (
        f'{found}: the root of median over own frequency, scaled so that the mean over all pixels '
        'is 1 and the learning rate keeps its meaning.'
    )


_NETWORKS = dict(
    small='PAN on MobileNetV2, the network of the model in the package: made on a machine without '
    'a GPU ("--network large" chooses ResNet-50).',
    large='PAN on ResNet-50: made on a machine with a GPU, or for one ("--network small" chooses '
    'MobileNetV2).',
)
_STARTS = dict(
    small="""# The start: the model in the package, with the 21 classes of PASCAL VOC. Backbone and
# decoder are loaded; the classifier is new unless it has as many classes.
load_from = 'mmseg_pan://pan_mobilenet-v2_voc'""",
    large="""# The start: ResNet-50 from ImageNet, downloaded once.
load_from = None""",
)
_HOOKS = dict(
    small="\n    # The start's norm of this layer has no statistics of real data.\n"
    "    dict(type='FrozenNormHook', modules=['decode_head.fpa.main']),",
    large='',
)
_MODELS = dict(
    small="""    backbone=dict(
        type='DilatedMobileNetV2',
        strides=(1, 2, 2, 2, 1, 1, 1),
        dilations=(1, 1, 1, 1, 1, 2, 2),
        out_indices=(1, 2, 4, 6),
        norm_cfg=norm_cfg,
        norm_eval=True,  # the start's norms are part of its convs
        act_cfg=dict(type='ReLU6', inplace=False),
    ),
    neck=dict(type='ImagePoolingNeck', in_channels=(24, 32, 96, 320), channels=256),
    decode_head=dict(
        type='PANHead',
        in_channels=(24, 32, 96, 256),
        in_index=(0, 1, 2, 3),
        channels=64,
        pyramid_channels=32,
        dropout_ratio=0,""",
    large="""    backbone=dict(
        type='ResNetV1c',
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        dilations=(1, 1, 1, 2),
        strides=(1, 2, 2, 1),
        norm_cfg=norm_cfg,
        norm_eval=False,
        style='pytorch',
        contract_dilation=True,
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnet50_v1c'),
    ),
    decode_head=dict(
        type='PANHead',
        in_channels=(256, 512, 1024, 2048),
        in_index=(0, 1, 2, 3),
        channels=128,
        pyramid_channels=64,
        dropout_ratio=0.1,""",
)
