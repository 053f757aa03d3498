"""Options that make a training step cheaper: memory format and bfloat16."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS, OPTIM_WRAPPERS

from mmseg_pan.devices import has_bfloat16
from mmseg_pan.evaluation.memory_format import use_channels_last


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep weights and feature maps in channels-last format, in training and testing.

    Convolutions of oneDNN and cuDNN then need no reordering before and after each layer.
    Results differ from the usual format by rounding only. Checkpoints load either way. Dilated
    grouped convolutions keep the usual format in bfloat16 on a CPU.
    """

    def before_train(self, runner: Runner) -> None:
        """Change the model before the first step."""
        use_channels_last(segmentor(runner))

    def before_test(self, runner: Runner) -> None:
        """Change the model before the first image."""
        use_channels_last(segmentor(runner))


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Steps under autocast to bfloat16, on a CPU or a GPU; weights stay float32.

    bfloat16 has float32's range, and needs none of the loss scaling of float16.
    """

    @contextmanager
    def optim_context(self, model: torch.nn.Module) -> Iterator[None]:
        """Run the forward pass and the loss under autocast."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield


def step_options(runner: Runner) -> dict[str, str]:
    """Say how a training step is computed: optimizer, precision and memory format, as in effect."""
    wrapper = runner.optim_wrapper
    parts = list(getattr(wrapper, 'optim_wrappers', {'': wrapper}).values())
    last = any(isinstance(hook, ChannelsLastHook) for hook in runner.hooks)
    return {
        'optimizer': ', '.join(map(_optimizer_name, parts)),
        'precision': ', '.join(dict.fromkeys(map(_precision_of, parts))),
        'memory format': 'channels-last' if last else 'channels-first',
    }


def _optimizer_name(wrapper: OptimWrapper) -> str:
    optimizer = getattr(wrapper, 'optimizer', wrapper)
    groups = getattr(optimizer, 'param_groups', [])
    fused = groups and all(group.get('fused') for group in groups)
    return f'{type(optimizer).__name__}, fused' if fused else type(optimizer).__name__


def _precision_of(wrapper: OptimWrapper) -> str:
    if isinstance(wrapper, BFloat16OptimWrapper):
        return 'bfloat16'
    if isinstance(wrapper, AmpOptimWrapper):
        return str(wrapper.cast_dtype or torch.float16).removeprefix('torch.')
    return 'float32' if has_bfloat16() else 'float32 (the device has no bfloat16)'


def segmentor(runner: Runner) -> torch.nn.Module:
    """Return the runner's segmentor, without the wrapper for several processes."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
