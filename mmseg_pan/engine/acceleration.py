"""Options that make a training step cheaper: memory format, bfloat16, compilation."""

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
    """Keep weights and maps in channels-last memory format, in training and testing.

    Convolutions of oneDNN and cuDNN then need no reordering before and after each layer.
    Results differ from the usual format by rounding only. Checkpoints load either way.
    """

    def before_train(self, runner: Runner) -> None:
        """Change the model before the first step."""
        use_channels_last(segmentor(runner))

    def before_test(self, runner: Runner) -> None:
        """Change the model before the first image."""
        use_channels_last(segmentor(runner))


@HOOKS.register_module()
class CompileHook(Hook):
    """Compile backbone, neck and decode head for training, each as one graph.

    The rest of a step (preprocessing, the loss, the optimizer) stays as it is. A graph
    break is an error. The first steps take minutes, and other sizes of images are
    compiled again.

    Args:
        backend: As for ``torch.compile``.
    """

    def __init__(self, backend: str = 'inductor'):
        self.backend = backend

    def before_train(self, runner: Runner) -> None:
        """Compile at the first step."""
        model = segmentor(runner)
        for name in ('backbone', 'neck'):
            if getattr(model, name, None) is not None:
                getattr(model, name).compile(fullgraph=True, backend=self.backend)
        # The head's loss calls forward and not the module, so that compile() has no effect.
        head = model.decode_head
        head.forward = torch.compile(head.forward, fullgraph=True, backend=self.backend)


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
