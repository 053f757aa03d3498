"""Print the convolutions whose gradients are wrong in bfloat16 and channels-last format.

    MALLOC_PERTURB_=128 python tests/engine/bfloat16_gradients.py CONFIG HEIGHT WIDTH BATCH

The variable has the C library fill fresh memory with huge numbers, so that a kernel which reads
what was never written shows itself.
"""

import sys

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

import mmseg_pan  # noqa: F401  registers what configs name
from mmseg_pan.evaluation.memory_format import use_channels_last


def inputs_of(network: nn.Module, images: torch.Tensor) -> dict[str, torch.Size]:
    """Shape of what each convolution is given; of equal ones, the first."""
    shapes, kinds = {}, set()

    def note(name, conv, args):
        kind = str(conv), conv.weight.shape, args[0].shape
        if kind not in kinds:
            kinds.add(kind)
            shapes[name] = args[0].shape

    hooks = [
        module.register_forward_pre_hook(lambda conv, args, name=name: note(name, conv, args))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.no_grad():
        network.decode_head(network.extract_feat(images))
    for hook in hooks:
        hook.remove()
    return shapes


def gradients(conv: nn.Conv2d, shape: torch.Size, bfloat16: bool) -> list[torch.Tensor]:
    """Gradients of weight and input, of values that bfloat16 can hold."""
    generator = torch.Generator().manual_seed(0)
    conv.weight.data = conv.weight.data.bfloat16().float()
    x = torch.randn(shape, generator=generator).bfloat16().float()
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    conv.weight.grad = None
    with torch.autocast('cpu', torch.bfloat16, enabled=bfloat16):
        y = conv(x)
    weights = torch.randn(y.shape, generator=generator).to(y.dtype)
    y.backward(weights.to(memory_format=torch.channels_last))
    return [conv.weight.grad.clone(), x.grad]


def main() -> None:
    """Compare each kind of convolution of a network with itself in float32."""
    config, *size = sys.argv[1:]
    height, width, batch = map(int, size)
    init_default_scope('mmseg')
    torch.manual_seed(0)
    cfg = Config.fromfile(config)
    cfg.model.backbone.init_cfg = None
    network = MODELS.build(cfg.model)
    use_channels_last(network)
    shapes = inputs_of(network, torch.randn(batch, 3, height, width))
    print(len(shapes), 'convolutions')
    for name, shape in shapes.items():
        conv = network.get_submodule(name)
        pairs = zip(gradients(conv, shape, True), gradients(conv, shape, False), strict=True)
        errors = [float((half - full).abs().max() / full.abs().max()) for half, full in pairs]
        if not max(errors) < 0.1:
            print(f'wrong: {name}, input {tuple(shape)}, relative errors {errors}')


if __name__ == '__main__':
    main()
