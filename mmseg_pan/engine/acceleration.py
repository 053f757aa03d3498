"""Options that make a training step cheaper: memory format and bfloat16."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS, OPTIM_WRAPPERS

from mmseg_pan.evaluation.fast_inference import use_channels_last


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep weights and feature maps in channels-last format, in training and testing.

    Convolutions of oneDNN and cuDNN then need no reordering before and after each layer.
    Results differ from the usual format by rounding only. Checkpoints load either way.
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


def segmentor(runner: Runner) -> torch.nn.Module:
    """Return the runner's segmentor, without the wrapper for several processes."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
