"""Small ordinary networks, as a user may have them."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """A residual block that runs one ReLU twice, as torchvision's do."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1)), nn.BatchNorm2d(channels, 1e-3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x
        return self.relu(out)


class Residual(nn.Module):
    def __init__(self, num_classes: int = 5, width: int = 4, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 3, stride=2, padding=1)
        self.bn = nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(Block(width), Block(width))
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn(self.stem(x))), 2)
        x = self.blocks(x)
        x = F.adaptive_avg_pool2d(x, (1, 1))
        x = torch.flatten(x, 1)
        return self.fc(F.dropout(x, 0.1, training=self.training))


class Dense(nn.Module):
    """Values that are read more than once, cut, joined and scaled, by functions and methods."""

    def __init__(self, num_classes: int = 5) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 1)
        self.layers = nn.ModuleList([nn.Conv2d(6 + 2 * n, 2, 3, padding=1, groups=2) for n in range(2)])
        self.act = nn.ReLU6()
        self.hidden = nn.Linear(6 * 16, 8)
        self.out = nn.Linear(8, num_classes)

    def forward(self, x: Tensor, scale: float = 0.5) -> Tensor:
        features = [self.act(self.first(x))]
        for layer in self.layers:
            features.append(self.act(layer(torch.cat(features, 1))))
        x = torch.cat(features, dim=1)[:, 4:] * scale
        x = (1 - x).sub(0.25) + x[:, :6] / 4
        x = F.avg_pool2d(x, 2).view(x.size(0), -1)
        return self.out(F.hardtanh(self.hidden(x), 0.0, 6.0).contiguous())


class Taking(nn.Module):
    """A convolution, and then what a test says."""

    def __init__(self, then: Any, **children: nn.Module) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 4, 1), nn.ReLU()
        for name, child in children.items():
            self.add_module(name, child)
        self.then = then

    def forward(self, x: Tensor) -> Any:
        return self.then(self, self.act(self.conv(x)))
