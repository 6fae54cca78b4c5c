"""A small network of quantised weights and spikes, run in chunks: what tests of several kernels share."""

from typing import Any

import torch
from torch import Tensor

from hdlif.nn import HDLIF, BatchNorm2d, QuantConv2d, Sequential, SpikeQuantizer, State
from hdlif.nn.fused import Path
from hdlif.nn.synapses import Binary, Ternary

STEPS = 4
Results = dict[str, Tensor]


def small_network(path: Path, *, per_step: bool = False, spikes: Any = SpikeQuantizer) -> Sequential:
    """Twice a convolution, its norm, and HD-LIF."""
    torch.manual_seed(0)

    def neuron(channels: int) -> HDLIF:
        return HDLIF(STEPS, channels=channels, quantizer=spikes(), path=path)

    def norm(channels: int) -> BatchNorm2d:
        made = BatchNorm2d(channels, time_steps=STEPS if per_step else None)
        with torch.no_grad():
            made.weight.uniform_(0.5, 1.5)
            made.bias.normal_(std=0.5)
        return made

    return Sequential(
        {
            "conv1": QuantConv2d(3, 8, 3, padding=1, quantizer=Ternary()),
            "norm1": norm(8),
            "neuron1": neuron(8),
            "conv2": QuantConv2d(8, 5, 3, quantizer=Binary()),
            "norm2": norm(5),
            "neuron2": neuron(5),
        }
    )


def run(network: Sequential, x: Tensor, chunks: tuple[int, ...], *, learn: bool) -> Results:
    """Spikes and states, the running statistics, and the gradients of all parameters and of x [T, B, C, H, W]."""
    state: State | None = None
    x, at = x.detach().requires_grad_(learn), 0
    spikes, loss = list[Tensor](), x.new_zeros(())
    with torch.set_grad_enabled(learn):
        for size in chunks:
            y, state = network(x[at : at + size], state, range(at, at + size))
            loss = loss + (y * torch.linspace(-1, 1, y.numel(), device=y.device).view(y.shape)).sum()
            spikes.append(y.detach())
            at += size
    assert state is not None
    found = {"spikes": torch.cat(spikes)}
    found |= {f"{child}.{name}": one.detach() for child, of in state.items() for name, one in of.items()}  # type: ignore
    found |= {name: buffer.clone() for name, buffer in network.named_buffers()}
    if learn:
        leaves = {"x": x, **dict(network.named_parameters())}
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        found |= {f"gradient of {name}": one for name, one in zip(leaves, gradients, strict=True)}
    return found


def assert_alike(found: Results, expected: Results) -> None:
    """Up to roundings, as a share of the largest entry."""
    assert found.keys() == expected.keys()
    for name, right in expected.items():
        off = 2e-4 * max(float(right.abs().max()), 1e-3)
        torch.testing.assert_close(found[name], right, rtol=0, atol=off, msg=lambda text, name=name: f"{name}: {text}")
