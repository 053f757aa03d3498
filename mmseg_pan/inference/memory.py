"""Check that the prediction of an image fits into memory, before it is decoded."""

import os
import re
from pathlib import Path

import torch
from rich import filesize

from mmseg_pan.errors import UserError

_ROOT = Path('/')


def prediction_bytes(classes: int, size: tuple[int, int], seen: tuple[int, int] = (0, 0)) -> int:
    """Estimate what an image's prediction holds at once, without the network's own maps.

    Args:
        classes: Number of classes.
        size: Height and width of the image, at which the largest logit is searched.
        seen: Height and width at which the network sees it, where known.

    Returns:
        Bytes: float32 logits at both sizes; the largest logit and its int64 class; the image,
        the label map and the picture.
    """
    pixels, seen_pixels = size[0] * size[1], seen[0] * seen[1]
    return 4 * classes * (pixels + seen_pixels) + (4 + 8 + 12) * pixels


def available_memory(device: torch.device | str = 'cpu', root: Path = _ROOT) -> int | None:
    """Bytes that are available on a device; None if unknown.

    On a CPU the least of what the system has and what a container's control group leaves.

    Args:
        device: As torch names it.
        root: Where ``proc`` and ``sys`` are; another for tests.
    """
    device = torch.device(device)
    if device.type == 'cuda':
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    limits = [_system(root), *_control_groups(root)]
    return min((limit for limit in limits if limit is not None), default=None)


def _system(root: Path) -> int | None:
    try:
        return 1024 * int(re.search(r'MemAvailable:\s+(\d+)', _text(root, 'proc/meminfo'))[1])
    except (OSError, TypeError):
        pass
    try:
        return os.sysconf('SC_AVPHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    except (AttributeError, ValueError, OSError):
        return None


def _control_groups(root: Path):
    """What version 2 and version 1 leave; files that were read can be dropped again."""
    for folder, limit, usage, cache in (
        ('sys/fs/cgroup', 'memory.max', 'memory.current', 'inactive_file'),
        ('sys/fs/cgroup/memory', 'memory.limit_in_bytes', 'memory.usage_in_bytes',
         'total_inactive_file'),
    ):  # fmt: skip
        try:
            most = int(_text(root, f'{folder}/{limit}'))
            used = int(_text(root, f'{folder}/{usage}'))
            droppable = re.search(rf'^{cache} (\d+)', _text(root, f'{folder}/memory.stat'), re.M)
        except (OSError, ValueError):  # no such version, or "max": no limit
            continue
        yield max(most - used + (int(droppable[1]) if droppable else 0), 0)


def _text(root: Path, name: str) -> str:
    return (root / name).read_text()


def check_memory(
    classes: int,
    size: tuple[int, int],
    seen: tuple[int, int] = (0, 0),
    device: torch.device | str = 'cpu',
) -> None:
    """Refuse an image whose prediction does not fit into memory; see :func:`prediction_bytes`.

    Raises:
        UserError: If it does not fit.
    """
    needed, there = prediction_bytes(classes, size, seen), available_memory(device)
    if there is not None and needed > there:
        raise UserError(
            f'{size[1]}x{size[0]} pixels and {classes} classes need {filesize.decimal(needed)} of '
            f'memory, but {filesize.decimal(there)} are free; split the image.'
        )
