"""Time several networks and the machine's limits in one run."""

import statistics
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_pan.devices import default_device, now

from .contenders import Contender
from .peak_memory import peak_memory


def interleave(
    actions: dict[str, Callable[[], dict[str, float]]], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Measure actions in turns within every round.

    Other work on the machine affects all of them equally: compare ratios, not seconds.

    Args:
        actions: Name -> what measures itself and returns seconds by part.
        rounds: How often each is measured, after one round to warm up.

    Returns:
        Name -> part -> ``rounds`` measurements.
    """
    times: dict[str, dict[str, list[float]]] = {name: {} for name in actions}
    for number in range(rounds + 1):
        for name, action in actions.items():
            for part, seconds in action().items():
                if number:
                    times[name].setdefault(part, []).append(seconds)
    return times


def inference(contender: Contender, image: Tensor, bfloat16: bool = False) -> Callable:
    """Return an action that segments an image, to the logits of the head.

    Args:
        contender: A network in evaluation mode.
        image: Normalised image, ``(N, 3, H, W)``.
        bfloat16: Whether to run under autocast.
    """

    def action() -> dict[str, float]:
        with torch.inference_mode(), _precision(bfloat16):
            start = now()
            maps = contender.backbone(image)
            middle = now()
            contender.head(maps)
            end = now()
        return dict(backbone=middle - start, head=end - middle, whole=end - start)

    return action


def training_step(
    contender: Contender, images: Tensor, labels: Tensor, bfloat16: bool = False, **optimizer
) -> Callable:
    """Return an action that takes one step: forward, loss at full resolution, backward, SGD.

    Args:
        contender: A network in training mode.
        images: Normalised images, ``(N, 3, H, W)``.
        labels: Class ids, ``(N, H, W)``.
        bfloat16: Whether forward and loss run under autocast.
        **optimizer: More arguments of torch's SGD.
    """
    sgd = torch.optim.SGD(contender.model.parameters(), lr=1e-4, momentum=0.9, **optimizer)

    def action() -> dict[str, float]:
        start = now()
        with _precision(bfloat16):
            loss = contender.loss(images, labels)
        sgd.zero_grad(set_to_none=True)
        loss.backward()
        sgd.step()
        return dict(whole=now() - start)

    return action


def _precision(bfloat16: bool):
    return torch.autocast(default_device(), torch.bfloat16) if bfloat16 else nullcontext()


class Limit(NamedTuple):
    """A kernel whose best rate bounds what networks can reach on this machine."""

    unit: str  # 'float32' or 'bfloat16' for arithmetic, 'copy' for memory
    amount: float  # operations, or bytes read and written
    action: Callable[[], dict[str, float]]


def limits(bfloat16: bool = False) -> dict[str, Limit]:
    """Return the kernels that bound networks on this machine, by name.

    Of arithmetic there are several: which of them is the fastest depends on processor and library.

    Args:
        bfloat16: Whether bfloat16 is of interest.
    """
    found = {}
    dtypes = dict(float32=torch.float32, **(dict(bfloat16=torch.bfloat16) if bfloat16 else {}))
    for unit, dtype in dtypes.items():
        for kernel, (size, start) in _KERNELS.items():
            # Machines without bfloat16 units take minutes for what others do in a moment.
            for side in (size // 8, size // 4, size // 2, size):
                amount, work = start(side, dict(device=default_device(), dtype=dtype))
                action = partial(_seconds, work)
                action()
                if action()['whole'] > 0.02:
                    break
            found[f'{kernel} in {unit}'] = Limit(unit, amount, action)
    source = torch.zeros(2**26, device=default_device())
    target = torch.empty_like(source)
    found['copy'] = Limit('copy', 2 * 4 * 2**26, partial(_seconds, partial(target.copy_, source)))
    return found


def _matrix_product(side: int, options: dict) -> tuple[float, Callable]:
    a, b = (torch.randn(side, side, **options) for _ in range(2))
    return 2 * side**3, partial(torch.matmul, a, b)


def _convolution(kernel: int, layout: torch.memory_format, side: int, options: dict):
    """A convolution of 256 channels on a map of ``side`` x ``side``."""
    maps = torch.randn(1, 256, side, side, **options).to(memory_format=layout)
    weight = torch.randn(256, 256, kernel, kernel, **options).to(memory_format=layout)
    work = partial(F.conv2d, maps, weight, padding=kernel // 2)
    return 2 * 256**2 * kernel**2 * side**2, torch.inference_mode()(work)


#: Name -> largest side, and what makes the work of a side: (operations, action).
_KERNELS = {
    'matrix product': (2048, _matrix_product),
    **{
        f'{kernel}x{kernel} convolution{suffix}': (128, partial(_convolution, kernel, layout))
        for kernel in (1, 3)
        for suffix, layout in (
            ('', torch.contiguous_format),
            (', channels-last', torch.channels_last),
        )
    },
}


def _seconds(work: Callable) -> dict[str, float]:
    start = now()
    work()
    return dict(whole=now() - start)


def memory_of(action: Callable) -> float | None:
    """Return the bytes that an action needs at most beside what is there before; None: unknown."""
    action()  # gradients and optimizer state, which stay
    return peak_memory(action)


def quartiles(times: list[float]) -> list[float]:
    """Lower quartile, median and upper quartile; one value stands for all three."""
    return statistics.quantiles(times, n=4) if len(times) > 1 else [times[0]] * 3


def write_spread(times: list[float]) -> str:
    """Median and interquartile range in milliseconds."""
    low, middle, high = quartiles(times)
    return f'{1e3 * middle:.0f} ({1e3 * low:.0f}-{1e3 * high:.0f})'
