"""Run by torchrun: does the gradient of two processes equal that of one with both batches?

Prints the largest difference over the largest gradient.
"""

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import mmseg_pan  # noqa: F401
from tests.paths import ROOT


def gradient(model, images, labels):
    """Return the gradient of the mean loss over a batch, batch norm as in evaluation."""
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    target = model.module if hasattr(model, 'module') else model
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    model.zero_grad()
    losses = model(images, samples, mode='loss')
    target.parse_losses(losses)[0].backward()
    return torch.cat([p.grad.flatten() for p in target.parameters()])


def main():
    """Compare on rank 0."""
    torch.set_num_threads(1)
    dist.init_process_group('gloo')
    init_default_scope('mmseg')
    torch.manual_seed(0)
    cfg = Config.fromfile(ROOT / 'configs/pan/pan_r18-d16_toy.py')
    cfg.model.decode_head.dropout_ratio = 0
    model = MODELS.build(cfg.model).double()
    model.init_weights()
    images = torch.randn(4, 3, 64, 64, dtype=torch.double)
    labels = torch.randint(7, (4, 1, 64, 64))
    whole = gradient(model, images, labels)
    rank = dist.get_rank()
    part = slice(2 * rank, 2 * rank + 2)
    shared = MMDistributedDataParallel(model, device_ids=None)
    both = gradient(shared, images[part], labels[part])
    if rank == 0:
        print(f'difference {((both - whole).abs().max() / whole.abs().max()).item():.3e}')


if __name__ == '__main__':
    main()
