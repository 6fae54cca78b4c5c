"""Networks that a user may have written in a file of their own."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hdlif.nn import BatchNorm2d, Scope, Sequential, State, Temporal

NOT_A_NETWORK = 7


def tiny(*, in_channels: int, classes: int, neuron: Callable[[int], nn.Module], width: int = 4) -> nn.Module:
    """A plain sequence of torch's, with a sequence in it."""
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
        BatchNorm2d(width),
        nn.Sequential(neuron(width), nn.MaxPool2d(2)),
        nn.Flatten(),
        nn.Linear(width * 16, classes),
    )


class Branched(Temporal):
    """Branches that are added, concatenated, scaled and cut."""

    paths = (("stem", "act1", "left", "act2", "out"), ("stem", "act1", "right", "act2", "out"))

    def __init__(
        self,
        in_channels: int,
        classes: int,
        neuron: Callable[[int], nn.Module],
        conv: Callable[..., nn.Module],
        norm: Callable[[int], nn.Module],
        width: int = 4,
    ) -> None:
        super().__init__()
        self.stem = Sequential(nn.Conv2d(in_channels, width, 3, padding=1), norm(width))
        self.act1 = neuron(width)
        self.left = Sequential(conv(width, width, 3, padding=1), norm(width))
        self.right = Sequential(conv(width, width, 1), norm(width))
        self.act2 = neuron(2 * width)
        self.out = nn.Linear(2 * width * 64, classes)

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        run = Scope(self, state, steps)
        h = run("act1", run("stem", x))
        left, right = run("left", h), run("right", h)
        both = torch.cat([0.5 * left + right, left - right / 2 + 0.25], 2)
        h = run("act2", both)
        return run("out", h[:, :, :].flatten(2)), run.state


def a_tensor(**_: Any) -> Tensor:
    return torch.zeros(1)


def other_classes(*, in_channels: int, neuron: Callable[[int], nn.Module]) -> nn.Module:
    return nn.Sequential(nn.Conv2d(in_channels, 3, 3), neuron(3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def no_logits(*, in_channels: int, neuron: Callable[[int], nn.Module]) -> nn.Module:
    return nn.Sequential(nn.Conv2d(in_channels, 3, 3), neuron(3))


def needs_more(*, classes: int, depth: int) -> nn.Module:
    raise AssertionError("never called")


class Residual(nn.Sequential):
    """A sequence of torch's with a forward pass of its own."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + super().forward(x)
        return y


def residual(*, in_channels: int, classes: int, neuron: Callable[[int], nn.Module]) -> nn.Module:
    return nn.Sequential(Residual(nn.Conv2d(in_channels, 1, 1), neuron(1)), nn.Flatten(), nn.Linear(64, classes))


def shared(*, in_channels: int, classes: int, neuron: Callable[[int], nn.Module]) -> nn.Module:
    act = neuron(2)
    return nn.Sequential(
        nn.Conv2d(in_channels, 2, 1), act, nn.Conv2d(2, 2, 1), act, nn.Flatten(), nn.Linear(128, classes)
    )


class Forgets(Branched):
    """Gives no state back."""

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        return super().forward(x, None, steps)[0], None


class Nothing(Branched):
    def forward(self, x: Tensor, state: State | None, steps: range) -> Any:
        return None


class Typo(Branched):
    def forward(self, x: Tensor, state: State | None, steps: range) -> Any:
        run = Scope(self, state, steps)
        return run("stemm", x), run.state


class _Mixed(nn.Linear):
    """A synapse with a forward pass of its own, whose gradient from a trace is not known."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).abs()


class Untraceable(Temporal):
    """Rules with traces cannot learn from it."""

    def __init__(self, in_channels: int, classes: int, neuron: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.flat, self.mix, self.act = nn.Flatten(), _Mixed(in_channels * 64, 8), neuron(8)
        self.out = nn.Linear(8, classes)

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        run = Scope(self, state, steps)
        return run("out", run("act", run("mix", run("flat", x)))), run.state
