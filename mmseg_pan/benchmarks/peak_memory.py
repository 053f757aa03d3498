"""Peak memory of a piece of work."""

import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path

import torch

_STATUS = Path('/proc/self/status')


def peak_memory(work: Callable) -> float | None:
    """Return the bytes that some work needs at most, beside what is held before.

    On a GPU torch's allocator counts. On a CPU the kernel does, for the whole process, by
    pages; memory that the C library kept for later is given back before.

    Args:
        work: Called once.

    Returns:
        Bytes; None on a CPU without Linux.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    if not _STATUS.is_file():
        return None
    try:
        ctypes.CDLL('libc.so.6').malloc_trim(0)
    except (OSError, AttributeError):
        pass  # another C library: what it keeps counts as there before
    Path('/proc/self/clear_refs').write_text('5')  # the peak starts again at what is held now
    before = _kilobytes('VmRSS')
    work()
    return 1024 * (_kilobytes('VmHWM') - before)


def _kilobytes(name: str) -> int:
    return int(re.search(rf'{name}:\s+(\d+)', _STATUS.read_text())[1])
