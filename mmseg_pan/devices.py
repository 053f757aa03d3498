"""Choosing and naming the device of a run, and its clock."""

import platform
import time

import torch

from mmseg_pan.errors import UserError


def default_device() -> str:
    """Return the name of the processor or GPU."""
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def device_name() -> str:
    """Return the device that this process uses."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f'CPU, {threads} thread{"s" * (threads != 1)}'


def has_bfloat16() -> bool:
    """Whether the device computes in bfloat16 itself; to emulate it takes many times as long."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return cpu_has_bfloat16()


def cpu_has_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16."""
    if platform.machine() in ('x86_64', 'AMD64'):
        # oneDNN's own answer is yes for any AVX-512, which computes bfloat16 in float32.
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def now() -> float:
    """The time in seconds, after the GPU has finished all work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def check_device(name: str | None) -> None:
    """Check that torch can use a device.

    Args:
        name: As torch names it; None is always fine.

    Raises:
        UserError: If it cannot.
    """
    try:
        torch.zeros(1, device=name).item()  # the device "meta" can store nothing
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f'--device {name} cannot be used ({reason}); type "--device cpu", or omit the option.'
        ) from None
