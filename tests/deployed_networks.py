"""Networks in PyTorch, lowered and run: what tests of lowering ask of all of them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hdlif import deploy
from hdlif.graph.artefact import Graph, InputRecord
from hdlif.runtime import Session

LABELS = tuple("abcde")


def lowered(
    network: nn.Module,
    shape: Sequence[int] = (1, 8, 8),
    *,
    time_steps: int = 4,
    labels: Sequence[str] = LABELS,
    mean: float = 0.0,
    std: float = 1.0,
) -> Graph:
    """The graph of a network that takes [C, H, W]."""
    record = InputRecord(tuple(shape), (mean,) * shape[0], (std,) * shape[0])
    return deploy.lower(network.eval(), input=record, labels=tuple(labels), time_steps=time_steps)


def trained_like(network: nn.Module, time_steps: int = 4) -> nn.Module:
    """Give neurons and norms values that differ from their start, and running statistics of real activity."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1:
            noise = torch.rand(parameter.shape, generator=generator)
            parameter.data = noise - 0.5 if name.endswith("logit") else noise + 0.5
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(1, 16, 1, 8, 8, generator=generator), steps=range(time_steps))
    return network.eval()


def images(batch: int = 16, steps: int = 1, shape: Sequence[int] = (1, 8, 8)) -> Tensor:
    return torch.randn(steps, batch, *shape, generator=torch.Generator().manual_seed(1))


def outputs(network: nn.Module, x: Tensor, steps: int | None = None) -> Tensor:
    with torch.no_grad():
        return network(x, None, range(len(x) if steps is None else steps))[0]


def assert_runs_as_trained(
    network: nn.Module, graph: Graph, x: Tensor, steps: int | None = None, *, share: float = 1.0, off: float = 1e-4
) -> None:
    """The trained network in float64, its graph in PyTorch and in the compiled runtime give the same logits.

    Args:
        share: of the samples; a graph stores float32, so that what falls on a threshold or a rounding boundary may
            cross it.
    """
    steps = len(x) if steps is None else steps
    expected = outputs(network.double(), x.double(), steps)
    folded = outputs(deploy.GraphModule(graph).double(), x.double(), steps)
    native = torch.from_numpy(Session(graph).run(x.numpy(), steps))
    assert expected.std() > 0.01
    for logits in (folded, native):
        close = (logits - expected).abs().amax((0, 2)) < off
        assert close.float().mean() >= share
