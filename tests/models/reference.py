"""DESIGN's equations written down once more, with torch.nn.functional alone.

Nothing of mmseg_pan.models is used: weights come in as a state dict.
"""

import torch
import torch.nn.functional as F


class Reference:
    """Both blocks and the heads, from a state dict.

    Args:
        state: State dict of the module under test.
        training: Whether batch statistics normalise.
        pooling: 'avg' or 'max'.
        align_corners: Of every resize.
    """

    def __init__(self, state, training=False, pooling='avg', align_corners=False):
        self.state = state
        self.training = training
        self.pooling = pooling
        self.align_corners = align_corners

    def has(self, prefix):
        return any(key.startswith(prefix) for key in self.state)

    def conv(self, name, x, relu=True):
        """C_k, or B with relu=False; two of them in a row where separable."""
        if self.has(f'{name}.1.'):
            return self.conv(f'{name}.1', self.conv(f'{name}.0', x))
        weight = self.state[f'{name}.conv.weight']
        groups = x.shape[1] // weight.shape[1]
        x = F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=groups)
        x = self.norm(f'{name}.bn', x)
        return x.clamp(min=0) if relu else x

    def norm(self, name, x):
        mean, var = self.state[f'{name}.running_mean'], self.state[f'{name}.running_var']
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] > 1:
            mean = x.mean((0, 2, 3))
            var = ((x - mean[:, None, None]) ** 2).mean((0, 2, 3))
        scale = self.state[f'{name}.weight'] / (var + 1e-5).sqrt()
        shift = self.state[f'{name}.bias'] - mean * scale
        return x * scale[:, None, None] + shift[:, None, None]

    def resize(self, x, size):
        return F.interpolate(x, tuple(size), mode='bilinear', align_corners=self.align_corners)

    def pool(self, x):
        """2x2 pooling that rounds up: cells outside the map do not count."""
        extra = (0, x.shape[3] % 2, 0, x.shape[2] % 2)
        if self.pooling == 'max':
            return F.max_pool2d(F.pad(x, extra, value=-torch.inf), 2)
        count = F.pad(torch.ones_like(x), extra)
        return F.avg_pool2d(F.pad(x, extra), 2) / F.avg_pool2d(count, 2)

    def fpa(self, name, x):
        y = self.conv(f'{name}main', x)
        levels = sum(self.has(f'{name}down.{i}.') for i in range(9))
        if levels:
            maps, level = [], x
            for i in range(levels):
                level = self.conv(f'{name}down.{i}', self.pool(level))
                maps.append(self.conv(f'{name}lateral.{i}', level))
            merged = maps.pop()
            while maps:
                finer = maps.pop()
                merged = finer + self.resize(merged, finer.shape[2:])
            if self.has(f'{name}project.'):
                merged = self.conv(f'{name}project', merged, relu=False)
            y = y * self.resize(merged, x.shape[2:])
        if self.has(f'{name}global_branch.'):
            y = y + self.conv(f'{name}global_branch', x.mean((2, 3), keepdim=True))
        return y

    def gau(self, name, low, high):
        y = self.conv(f'{name}low', low)
        if self.has(f'{name}gate.'):
            y = y * self.conv(f'{name}gate', high.mean((2, 3), keepdim=True))
        return y + self.resize(high, low.shape[2:])

    def head(self, levels):
        """Whole head in evaluation, levels from shallow to deep."""
        *shallow, deepest = levels
        y = self.fpa('fpa.', deepest)
        for i, low in enumerate(reversed(shallow)):
            y = self.gau(f'gau.{i}.', low, y)
        return F.conv2d(y, self.state['conv_seg.weight'], self.state['conv_seg.bias'])


def randomize(module):
    """Give every weight and statistic a value, so that nothing hides behind 0 and 1.

    Signals keep their size from layer to layer and most ReLUs stay open: otherwise whole
    branches would be zero and any two networks would agree.
    """
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point():  # counters, and Swin's indices
            continue
        if tensor.dim() == 4:
            tensor.normal_(0, tensor[0].numel() ** -0.5)
        elif name.endswith('running_var'):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith('weight'):
            tensor.uniform_(0.5, 1.5)
        else:
            tensor.uniform_(0, 0.5)
    return module
