"""Time several models against each other in one run."""

import statistics
import time
from collections.abc import Callable

import torch
from mmseg.registry import MODELS
from torch import Tensor


def time_parts(
    models: dict[str, dict], height: int, width: int, rounds: int = 10
) -> dict[str, dict[str, list[float]]]:
    """Time backbone and decode head of each model, one image at a time.

    The models take turns within every round, so that whatever else the machine does
    meets all of them alike: read ratios, not seconds.

    Args:
        models: Name -> config of an MMSeg segmentor (without a neck).
        height: Image height in pixels.
        width: Image width in pixels.
        rounds: How often each is measured, after one round to warm up.

    Returns:
        Name -> {'backbone': seconds, 'decode_head': seconds}, a list of ``rounds`` each.
    """
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    built = {name: MODELS.build(cfg).eval().to(device) for name, cfg in models.items()}
    image = torch.rand(1, 3, height, width, device=device)
    times = {name: {'backbone': [], 'decode_head': []} for name in models}
    with torch.inference_mode():
        for number in range(rounds + 1):
            for name, model in built.items():
                first, maps = _timed(model.backbone, image)
                second, _ = _timed(model.decode_head, maps)
                if number:
                    times[name]['backbone'].append(first)
                    times[name]['decode_head'].append(second)
    return times


def _timed(module: Callable, x) -> tuple[float, Tensor]:
    start = _now()
    y = module(x)
    return _now() - start, y


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def spread(times: list[float]) -> str:
    """Median and interquartile range in milliseconds."""
    low, middle, high = statistics.quantiles(times, n=4)
    return f'{1e3 * middle:.0f} ({1e3 * low:.0f}-{1e3 * high:.0f})'
