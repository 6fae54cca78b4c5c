"""A network of linear layers and neurons, and the same network as a loop over time without modules."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hdlif.functional import hd_lif_step, lif_step
from hdlif.nn import HDLIF, LIF, Scope, State, Temporal

STEPS, BATCH, INPUTS, HIDDEN, CLASSES = 4, 8, 5, 12, 3
TARGET = torch.arange(BATCH) % CLASSES


class Plain(Temporal):
    """Linear, neuron, linear, neuron, linear, in float64."""

    paths = (("fc1", "act1", "fc2", "act2", "fc3"),)

    def __init__(self, neuron: Callable[[], nn.Module]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.act1 = nn.Linear(INPUTS, HIDDEN, bias=False), neuron()
        self.fc2, self.act2 = nn.Linear(HIDDEN, HIDDEN, bias=False), neuron()
        self.fc3 = nn.Linear(HIDDEN, CLASSES, bias=False)
        self.double()
        for layer in (self.fc1, self.fc2, self.fc3):
            nn.init.normal_(layer.weight, std=2.0 / layer.in_features**0.5)

    def forward(self, x: Tensor, state: State | None = None, steps: range | None = None) -> tuple[Tensor, State | None]:
        run = Scope(self, state, range(len(x)) if steps is None else steps)
        h = run("act1", run("fc1", x))
        h = run("act2", run("fc2", h))
        return run("fc3", h), run.state


def plain(kind: type[HDLIF] | type[LIF] = HDLIF, steps: int = STEPS, **arguments: object) -> Plain:
    return Plain(lambda: kind(steps, **arguments))


def frames(steps: int = STEPS, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(steps, BATCH, INPUTS, generator=generator, dtype=torch.float64) + 0.3


def loop(net: Plain, x: Tensor, *, cut: bool) -> Tensor:
    """The logits [T, B, classes] of the network by its equations, potentials detached between steps where cut."""
    step = hd_lif_step if isinstance(net.act1, HDLIF) else lif_step
    potentials = [torch.zeros(BATCH, HIDDEN, dtype=torch.float64) for _ in range(2)]
    logits = []
    for t in range(len(x)):
        h = x[t]
        for i, (fc, act) in enumerate(((net.fc1, net.act1), (net.fc2, net.act2))):
            before = potentials[i].detach() if cut else potentials[i]
            h, potentials[i] = step(h @ fc.weight.T, before, act.leak.values()[t], act.threshold.values()[t])
        logits.append(h @ net.fc3.weight.T)
    return torch.stack(logits)


def weights(net: Plain) -> dict[str, Tensor]:
    return {name: getattr(net, name).weight for name in ("fc1", "fc2", "fc3")}


def gradient(net: Plain, loss: Tensor) -> dict[str, Tensor]:
    found = torch.autograd.grad(loss, list(weights(net).values()), retain_graph=True, allow_unused=True)
    return {
        name: torch.zeros_like(weight) if g is None else g
        for (name, weight), g in zip(weights(net).items(), found, strict=True)
    }


def cosine(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum() / (a.norm() * b.norm()))
