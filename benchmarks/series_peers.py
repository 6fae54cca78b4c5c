"""The series network (`hdlif.models.conv1d`) out of the layers of SpikingJelly and snnTorch, and how they train it.

Causal 1-D convolutions over time, batch norm, LIF neurons of λ = 0.9 and θ = 1 with a soft reset and an arctangent
surrogate, a linear readout, cross-entropy of the mean over the steps. Where all steps are there at once (STBP) each
layer takes them at once as far as the library lets it: convolutions always, batch norm with one mean and variance of
all steps and samples, as both libraries' users have it, and SpikingJelly's neurons in multi-step mode; snnTorch's
neurons go from step to step. Step by step (SLTT) a layer keeps the inputs that its kernel reads, detached.

    pip install 'hdlif[peers]'
"""

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAK = 0.9


@dataclass(frozen=True)
class Shape:
    """Of the network.

    Attributes:
        widths, dilations: of its layers.
    """

    channels: int
    widths: Sequence[int]
    kernel: int
    dilations: Sequence[int]
    classes: int

    @property
    def layers(self) -> list[tuple[int, int, int]]:
        """Channels in and out, and the dilation, of each."""
        steps = itertools.pairwise([self.channels, *self.widths])
        return [(a, b, d) for (a, b), d in zip(steps, self.dilations, strict=True)]


class CausalConv(nn.Conv1d):
    """[T, B, C] to [T, B, D]: step t reads steps t, t - d, …, and zeros before the first."""

    def __init__(self, a: int, b: int, kernel: int, dilation: int) -> None:
        super().__init__(a, b, kernel, dilation=dilation, bias=False)
        self.reach = (kernel - 1) * dilation

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x.permute(1, 2, 0), (self.reach, 0))).permute(2, 0, 1)


class SteppedConv(nn.Module):
    """[B, C] of one step after another to [B, D] as `CausalConv`, with what is read of earlier steps detached."""

    def __init__(self, a: int, b: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.mix = nn.Linear(kernel * a, b, bias=False)
        self.kernel, self.dilation = kernel, dilation
        self.held: deque[Tensor] = deque(maxlen=(kernel - 1) * dilation + 1)

    def forward(self, x: Tensor) -> Tensor:
        while len(self.held) < (self.held.maxlen or 0):
            self.held.append(torch.zeros_like(x))
        self.held.append(x.detach())
        earlier = [self.held[-1 - tap * self.dilation] for tap in range(1, self.kernel)]
        return self.mix(torch.cat([x, *earlier], 1))


class BatchNormOfAll(nn.BatchNorm1d):
    """One mean and variance of all steps and samples of [T, B, C]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, 1)).view(x.shape)


class Loop(nn.Module):
    """snnTorch's `Leaky` from step to step."""

    def __init__(self) -> None:
        import snntorch

        super().__init__()
        # The reset is of the step itself, as everywhere here.
        self.neuron = snntorch.Leaky(beta=LEAK, spike_grad=snntorch.surrogate.atan(), reset_delay=False)

    def forward(self, x: Tensor) -> Tensor:
        potential, spikes = torch.zeros_like(x[0]), []
        for current in x.unbind():
            spike, potential = self.neuron(current, potential)
            spikes.append(spike)
        return torch.stack(spikes)


Trainable = tuple[nn.Module, Callable[[Tensor, Tensor], None]]
"""A network, and what makes a batch's gradients of x [T, B, C] and classes [B]."""


def snntorch_stbp(shape: Shape) -> Trainable:
    network = _at_once(shape, Loop)

    def backward(x: Tensor, target: Tensor) -> None:
        F.cross_entropy(network(x).mean(0), target).backward()

    return network, backward


def spikingjelly_stbp(shape: Shape) -> Trainable:
    from spikingjelly.activation_based import functional, neuron

    network = _at_once(shape, lambda: neuron.LIFNode(**_settings(), step_mode="m"))

    def backward(x: Tensor, target: Tensor) -> None:
        F.cross_entropy(network(x).mean(0), target).backward()
        functional.reset_net(network)

    return network, backward


def spikingjelly_sltt(shape: Shape) -> Trainable:
    from spikingjelly.activation_based import functional, neuron

    layers: list[nn.Module] = []
    for a, b, dilation in shape.layers:
        layers += [SteppedConv(a, b, shape.kernel, dilation), nn.BatchNorm1d(b), neuron.SLTTLIFNode(**_settings())]
    network = nn.Sequential(*layers, nn.Linear(shape.widths[-1], shape.classes))

    def backward(x: Tensor, target: Tensor) -> None:
        for t in range(len(x)):
            # Not taken apart at once, which would hold T tensors.
            (F.cross_entropy(network(x[t]), target) / len(x)).backward()
        functional.reset_net(network)
        for layer in layers:
            if isinstance(layer, SteppedConv):
                layer.held.clear()

    return network, backward


PEERS = {
    "SpikingJelly, STBP": spikingjelly_stbp,
    "snnTorch, STBP": snntorch_stbp,
    "SpikingJelly, SLTT": spikingjelly_sltt,
}


def _settings() -> dict[str, object]:
    from spikingjelly.activation_based import surrogate

    # λ = 1 - 1/τ; without a reset potential the reset subtracts the threshold.
    return {"tau": 1 / (1 - LEAK), "decay_input": False, "v_reset": None, "surrogate_function": surrogate.ATan()}


def _at_once(shape: Shape, neuron: Callable[[], nn.Module]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b, dilation in shape.layers:
        layers += [CausalConv(a, b, shape.kernel, dilation), BatchNormOfAll(b), neuron()]
    return nn.Sequential(*layers, nn.Linear(shape.widths[-1], shape.classes))
