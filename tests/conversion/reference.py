"""Backbones with torchvision's and timm's names, written plainly for the tests."""

import torch
import torch.nn.functional as F
from torch import nn


def conv(inside, outside, kernel, stride=1, groups=1):
    return nn.Conv2d(inside, outside, kernel, stride, kernel // 2, groups=groups, bias=False)


class Block(nn.Module):
    """Residual block; with pooling before the 1x1 conv of the shortcut for the "d" variant."""

    def __init__(self, inside, width, stride, bottleneck, avg_down):
        super().__init__()
        outside = width * (4 if bottleneck else 1)
        shapes = [(inside, width, 3, stride), (width, width, 3, 1)]
        if bottleneck:
            shapes = [(inside, width, 1, 1), (width, width, 3, stride), (width, outside, 1, 1)]
        self.count = len(shapes)
        for i, (a, b, kernel, step) in enumerate(shapes, 1):
            setattr(self, f'conv{i}', conv(a, b, kernel, step))
            setattr(self, f'bn{i}', nn.BatchNorm2d(b))
        self.downsample = nn.Sequential()
        if stride != 1 or inside != outside:
            pool = [nn.AvgPool2d(2, stride) if stride > 1 else nn.Identity()] if avg_down else []
            shortcut = conv(inside, outside, 1, 1 if avg_down else stride)
            self.downsample = nn.Sequential(*pool, shortcut, nn.BatchNorm2d(outside))

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f'bn{i}')(getattr(self, f'conv{i}')(y))
            y = F.relu(y) if i < self.count else y
        return F.relu(y + self.downsample(x))


class ResNet(nn.Module):
    """``variant``: '' for the 7x7 stem, 'c' for three convs, 'd' with pooled shortcuts."""

    def __init__(self, blocks, bottleneck, variant=''):
        super().__init__()
        self.conv1 = conv(3, 64, 7, 2)
        if variant:
            self.conv1 = nn.Sequential(
                conv(3, 32, 3, 2), nn.BatchNorm2d(32), nn.ReLU(),
                conv(32, 32, 3), nn.BatchNorm2d(32), nn.ReLU(),
                conv(32, 64, 3),
            )  # fmt: skip
        self.bn1 = nn.BatchNorm2d(64)
        inside = 64
        for i, count in enumerate(blocks):
            stage = []
            for j in range(count):
                stride = 2 if i and not j else 1
                stage.append(Block(inside, 64 * 2**i, stride, bottleneck, variant == 'd'))
                inside = 64 * 2**i * (4 if bottleneck else 1)
            setattr(self, f'layer{i + 1}', nn.Sequential(*stage))
        self.fc = nn.Linear(inside, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        maps = []
        for i in range(1, 5):
            x = getattr(self, f'layer{i}')(x)
            maps.append(x)
        return maps


class Inverted(nn.Module):
    """Inverted residual with torchvision's nesting."""

    def __init__(self, inside, outside, stride, expand):
        super().__init__()
        wide = inside * expand
        layers = [[conv(inside, wide, 1), nn.BatchNorm2d(wide), nn.ReLU6()]] if expand > 1 else []
        layers.append([conv(wide, wide, 3, stride, wide), nn.BatchNorm2d(wide), nn.ReLU6()])
        flat = [conv(wide, outside, 1), nn.BatchNorm2d(outside)]
        self.conv = nn.Sequential(*(nn.Sequential(*group) for group in layers), *flat)
        self.add = stride == 1 and inside == outside

    def forward(self, x):
        return x + self.conv(x) if self.add else self.conv(x)


class MobileNetV2(nn.Module):
    """torchvision's 19 features and classifier; gives the maps of stages 2, 3, 5 and 7."""

    def __init__(self):
        super().__init__()
        features = [nn.Sequential(conv(3, 32, 3, 2), nn.BatchNorm2d(32), nn.ReLU6())]
        inside, self.ends = 32, []
        for expand, outside, count, stride in (
            (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
            (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
        ):  # fmt: skip
            for j in range(count):
                features.append(Inverted(inside, outside, 1 if j else stride, expand))
                inside = outside
            self.ends.append(len(features) - 1)
        features.append(nn.Sequential(conv(320, 1280, 1), nn.BatchNorm2d(1280), nn.ReLU6()))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(1280, 10))

    def forward(self, x):
        maps = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in [self.ends[stage] for stage in (1, 2, 4, 6)]:
                maps.append(x)
        return maps


def randomize_norms(model):
    """Give every batch norm statistics and factors that matter."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.uniform_(module.bias, -0.2, 0.2)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model.eval()


def image():
    return torch.rand(2, 3, 64, 96)
