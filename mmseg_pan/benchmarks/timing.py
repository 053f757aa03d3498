"""Time several networks and the machine's limits in one run."""

import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from mmseg_pan.devices import default_device

from .contenders import Contender
from .peak_memory import peak_memory


def interleave(
    actions: dict[str, Callable[[], dict[str, float]]], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Let actions take turns within every round.

    Whatever else the machine does then meets all of them alike: read ratios, not seconds.

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
    """Something of which the machine can do only so much a second."""

    amount: float
    action: Callable[[], dict[str, float]]


def limits(bfloat16: bool = False) -> dict[str, Limit]:
    """Return the operations that limit networks on this machine.

    Matrix products in float32 and bfloat16 (operations), and a copy (bytes read and written).

    Args:
        bfloat16: Whether bfloat16 is of interest.
    """
    found = {}
    dtypes = dict(float32=torch.float32, **(dict(bfloat16=torch.bfloat16) if bfloat16 else {}))
    for name, dtype in dtypes.items():
        # Machines without bfloat16 units take minutes for what others do in a moment.
        for side in (256, 512, 1024, 2048):
            a, b = (torch.randn(side, side, device=default_device(), dtype=dtype) for _ in range(2))
            action = partial(_seconds, partial(torch.matmul, a, b))
            action()
            if action()['whole'] > 0.02:
                break
        found[name] = Limit(2 * side**3, action)
    source = torch.zeros(2**26, device=default_device())
    target = torch.empty_like(source)
    found['copy'] = Limit(2 * 4 * 2**26, partial(_seconds, partial(target.copy_, source)))
    return found


def _seconds(work: Callable) -> dict[str, float]:
    start = now()
    work()
    return dict(whole=now() - start)


def now() -> float:
    """Seconds, when everything that was asked of the device is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


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
