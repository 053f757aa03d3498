"""Choosing and naming the device of a run."""

import torch

from mmseg_pan.errors import UserError


def default_device() -> str:
    """Return the name of the processor or GPU."""
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def device_name() -> str:
    """Return the device that this process uses."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f'CPU, {torch.get_num_threads()} threads'


def has_bfloat16() -> bool:
    """Whether the device computes in bfloat16 itself; to emulate it takes many times as long."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def check_device(name: str | None) -> None:
    """Check that torch can use a device.

    Args:
        name: As torch names it; None is always fine.

    Raises:
        UserError: If it cannot.
    """
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f'--device {name} cannot be used ({reason}); type "--device cpu", or omit the option.'
        ) from None
