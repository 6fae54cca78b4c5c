"""Small networks of LIF neurons, with weights on a dyadic grid, where sums are exact in any order."""

import numpy as np
import torch
from torch import Tensor, nn

from hdlif.functional import HardReset, Reset
from hdlif.graph.artefact import InputRecord
from hdlif.nn import LIF, BatchNorm2d, Scope, Sequential, State, Temporal

T = 8


def dyadic(*shape: int, seed: int, low: int = -8, high: int = 12, of: int = 16) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randint(low, high, shape, generator=g).float() / of


def on_grid(network: nn.Module, *, high: int = 12) -> nn.Module:
    """Weights and biases that are multiples of 1/16, from -1/2 to below `high` of them."""
    with torch.no_grad():
        for seed, parameter in enumerate(network.parameters()):
            parameter.copy_(dyadic(*parameter.shape, seed=seed, high=high))
    return network.eval()


def lif(*, leak: float = 0.5, threshold: float = 1.0, reset: Reset = HardReset()) -> LIF:  # noqa: B008
    return LIF(T, leak=leak, threshold=threshold, reset=reset, per_step=False)


def mlp(*, leak: float = 0.5, threshold: float = 0.5) -> nn.Module:
    """[K, B, 6, 1, 1] to spikes of 4 neurons."""
    layers = (
        nn.Flatten(),
        nn.Linear(6, 12),
        lif(leak=leak, threshold=threshold),
        nn.Linear(12, 4, bias=False),
        lif(leak=leak, threshold=threshold),
    )
    return on_grid(Sequential(*layers), high=24)


def convolutions() -> nn.Module:
    """[K, B, 2, 8, 8] to 3 logits, with an average pool of spikes."""
    return on_grid(
        Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            lif(threshold=0.5),
            nn.AvgPool2d(2),
            nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False),
            lif(),
            nn.Flatten(),
            nn.Linear(24, 3),
        )
    )


class Residual(Temporal):
    """Two branches that meet in front of a neuron, and batch norms."""

    paths = (("stem", "norm", "act1", "conv", "bn", "act2", "out"), ("stem", "norm", "act2", "out"))

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.act1 = nn.Conv2d(2, 4, 3, padding=1, bias=False), BatchNorm2d(4), lif()
        self.conv, self.bn, self.act2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), BatchNorm2d(4, eps=0.0), lif()
        self.out = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))

    def forward(self, x: Tensor, state: State | None = None, steps: range | None = None) -> tuple[Tensor, State | None]:
        assert steps is not None
        run = Scope(self, state, steps)
        h = run("norm", run("stem", x))
        return run("out", run("act2", h + run("bn", run("conv", run("act1", h))))), run.state


def record(*shape: int, kind: str = "events") -> InputRecord:
    channels, height, width = shape
    frames, resize = ("rows" if kind == "series" else "constant"), "none"
    return InputRecord((channels, height, width), (0.0,) * channels, (1.0,) * channels, kind, resize, frames=frames)


def currents(*shape: int, seed: int = 0) -> Tensor:
    """T steps of 5 samples, multiples of 1/4."""
    return dyadic(T, 5, *shape, seed=100 + seed, low=-4, high=9, of=4)


def spikes_of(network: nn.Module, x: Tensor) -> np.ndarray:
    with torch.no_grad():
        y, _ = network.eval()(x, None, range(len(x)))
    return y.numpy()
