"""The networks of the training benchmarks out of SpikingJelly's, snnTorch's and PyTorch's layers, and how they train.

The pre-activation ResNet-18 with the CIFAR stem, VGG-SNN and a U-Net: the layers of `hdlif.models.resnet18`, `vgg_snn`
and `unet`, in their order, so that weights go over one by one (`copy_weights`). The libraries' neurons are LIF of fixed
λ and θ, with a soft reset and an arctangent surrogate; those in plain PyTorch are HD-LIF with a λ_t and θ_t a layer,
learned.

Inputs are [T, B, C, H, W]. The criterion is the cross-entropy of the mean logits (STBP), of each step's (SLTT; the mean
over the steps) or of the last step's that is run (random step). With all steps at once, batch norm takes one mean and
variance of all steps and samples, as SpikingJelly's users have it; step by step, those of the step's batch.

snnTorch's reset is of the step itself, as everywhere here. Where a potential is still above θ after it, snnTorch
subtracts θ again at the next step: LIF neurons whose membrane stays below 2θ are the same.

    pip install 'hdlif[peers]'
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.models.vgg import POOL, VGG_SNN

WIDTHS = {"resnet18": 64, "vgg_snn": 64, "unet": 16}
"""Of the first layer, as the recipes have it; by network."""
UNET_DEPTH = 3
Rule = Literal["STBP", "SLTT", "random step"]
Layers = Any
"""A module that has Conv2d, BatchNorm2d, AvgPool2d, AdaptiveAvgPool2d, Upsample, Flatten and Linear."""
MakeNeuron = Callable[[], nn.Module]


@dataclass(frozen=True)
class Shape:
    """Of a network.

    Attributes:
        kind: one of `NETWORKS`.
        width: of its first layer; the others are multiples of it.
        channels: of the input.
    """

    kind: str
    width: int
    channels: int
    classes: int


@dataclass(frozen=True)
class Neurons:
    """λ and θ of a network's neurons; of learned ones at the start."""

    leak: float
    threshold: float


LIF, HD_LIF = Neurons(0.5, 1.0), Neurons(0.5, 0.5)


class Block(nn.Module):
    """Pre-activation residual block; nothing fires after the addition."""

    def __init__(self, layers: Layers, neuron: MakeNeuron, a: int, b: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(neuron(), *conv(layers, a, b, 3, stride), neuron(), *conv(layers, b, b, 3))
        changes = stride > 1 or a != b
        self.shortcut = nn.Sequential(*conv(layers, a, b, 1, stride)) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.branch(x)
        return branch + self.shortcut(x)


def conv(layers: Layers, a: int, b: int, size: int, stride: int = 1) -> list[nn.Module]:
    """A convolution and its batch norm."""
    return [layers.Conv2d(a, b, size, stride, size // 2, bias=False), layers.BatchNorm2d(b)]


def plan_of(width: int) -> list[int | str]:
    """Return the plan of a VGG-SNN whose first layer has this width."""
    return [entry if isinstance(entry, str) else entry * width // WIDTHS["vgg_snn"] for entry in VGG_SNN]


def resnet18(layers: Layers, neuron: MakeNeuron, shape: Shape) -> nn.Sequential:
    widths = [shape.width * times for times in (1, 1, 1, 2, 2, 4, 4, 8, 8)]
    blocks = [Block(layers, neuron, a, b, 2 if a != b else 1) for a, b in itertools.pairwise(widths)]
    head = [layers.AdaptiveAvgPool2d(1), layers.Flatten(), layers.Linear(widths[-1], shape.classes)]
    return nn.Sequential(*conv(layers, shape.channels, shape.width, 3), *blocks, *head)


def vgg_snn(layers: Layers, neuron: MakeNeuron, shape: Shape) -> nn.Sequential:
    """Of frames of 48x48, which end as 3x3."""
    made: list[nn.Module] = []
    width = shape.channels
    for entry in plan_of(shape.width):
        if entry == POOL:
            made.append(layers.AvgPool2d(2))
        else:
            made += [*conv(layers, width, int(entry), 3), neuron()]
            width = int(entry)
    return nn.Sequential(*made, layers.Flatten(), layers.Linear(9 * width, shape.classes))


class UNet(nn.Module):
    """A class at each pixel; what skips a level is added."""

    def __init__(self, layers: Layers, neuron: MakeNeuron, shape: Shape) -> None:
        super().__init__()
        widths = [shape.width << level for level in range(UNET_DEPTH + 1)]
        self.stem = nn.Sequential(*conv(layers, shape.channels, shape.width, 3))
        self.down = nn.ModuleList(
            Block(layers, neuron, widths[max(0, level - 1)], width, 2 if level else 1)
            for level, width in enumerate(widths)
        )
        self.up = nn.ModuleList()
        for width in reversed(widths[:-1]):
            larger = [neuron(), *conv(layers, 2 * width, width, 1), layers.Upsample(scale_factor=2)]
            self.up += [nn.Sequential(*larger), Block(layers, neuron, width, width, 1)]
        self.head = layers.Conv2d(shape.width, shape.classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, skipped = self.stem(x), []
        for block in self.down:
            x = block(x)
            skipped.append(x)
        for across, block, skip in zip(self.up[::2], self.up[1::2], reversed(skipped[:-1]), strict=True):
            x = block(across(x) + skip)
        logits: Tensor = self.head(x)
        return logits


NETWORKS: Mapping[str, Callable[[Layers, MakeNeuron, Shape], nn.Module]] = {
    "resnet18": resnet18,
    "vgg_snn": vgg_snn,
    "unet": UNet,
}


@dataclass(frozen=True)
class Peer:
    """A network and how it learns.

    Attributes:
        forget: sets all states to zero.
        at_once: whether the network takes all steps at once, [T, B, ...], or one, [B, ...].
    """

    network: nn.Module
    rule: Rule
    forget: Callable[[], None]
    at_once: bool = False

    def logits(self, x: Tensor) -> Tensor:
        """Of all steps of a sequence, [T, B, classes]; the states after it are still there."""
        logits: Tensor = self.network(x) if self.at_once else torch.stack([self.network(step) for step in x])
        return logits

    def backward(self, x: Tensor, target: Tensor, last: int) -> None:
        """Make the gradients of a batch; states are forgotten after them, as the libraries' examples have it.

        Args:
            last: the step of the loss of the random step, after which none is run.
        """
        if self.rule == "STBP":
            F.cross_entropy(self.logits(x).mean(0), target).backward()
        elif self.rule == "SLTT":
            for step in x:
                (F.cross_entropy(self.network(step), target) / len(x)).backward()
        else:
            with torch.no_grad():
                for step in x[:last]:
                    self.network(step)
            F.cross_entropy(self.network(x[last]), target).backward()
        self.forget()


class NaiveHDLIF(nn.Module):
    """m = λ_t·v + I, s = max(m - θ_t, 0), v = min(m, θ_t), as one writes it down."""

    def __init__(self, time_steps: int, neurons: Neurons) -> None:
        super().__init__()
        self.leak, self.threshold = (
            nn.Parameter(torch.full((time_steps,), math.log(value / (1 - value))))
            for value in (neurons.leak, neurons.threshold)
        )
        self.forget()

    def forget(self) -> None:
        self.step, self.potential = 0, torch.zeros(())

    def forward(self, current: Tensor) -> Tensor:
        leak, threshold = self.leak[self.step].sigmoid(), self.threshold[self.step].sigmoid()
        membrane = leak * self.potential.to(current) + current
        self.step, self.potential = self.step + 1, torch.minimum(membrane, threshold)
        return F.relu(membrane - threshold)


def naive_random_step(shape: Shape, time_steps: int, neurons: Neurons = HD_LIF) -> Peer:
    network = NETWORKS[shape.kind](nn, lambda: NaiveHDLIF(time_steps, neurons), shape)
    layers = [layer for layer in network.modules() if isinstance(layer, NaiveHDLIF)]

    def forget() -> None:
        for layer in layers:
            layer.forget()

    return Peer(network, "random step", forget)


def snntorch_stbp(shape: Shape, time_steps: int, neurons: Neurons = LIF) -> Peer:
    import snntorch

    def leaky() -> nn.Module:
        gradient = snntorch.surrogate.atan()
        kept = {"init_hidden": True, "reset_delay": False}
        return snntorch.Leaky(beta=neurons.leak, threshold=neurons.threshold, spike_grad=gradient, **kept)

    # All neurons that there are stand in a list of snnTorch's, which would keep those of earlier networks.
    snntorch.SpikingNeuron.instances.clear()
    network = NETWORKS[shape.kind](nn, leaky, shape)
    # `snntorch.utils.reset` looks at the outermost layers alone.
    layers = [layer for layer in network.modules() if isinstance(layer, snntorch.Leaky)]

    def forget() -> None:
        for layer in layers:
            layer.reset_mem()

    return Peer(network, "STBP", forget)


def spikingjelly_stbp(shape: Shape, time_steps: int, neurons: Neurons = LIF) -> Peer:
    from spikingjelly.activation_based import functional, layer, neuron

    network = NETWORKS[shape.kind](layer, lambda: neuron.LIFNode(**_settings(neurons)), shape)
    functional.set_step_mode(network, "m")
    return Peer(network, "STBP", lambda: functional.reset_net(network), at_once=True)


def spikingjelly_sltt(shape: Shape, time_steps: int, neurons: Neurons = LIF) -> Peer:
    return _spikingjelly_online(shape, neurons, "SLTT")


def spikingjelly_random_step(shape: Shape, time_steps: int, neurons: Neurons = LIF) -> Peer:
    return _spikingjelly_online(shape, neurons, "random step")


def _spikingjelly_online(shape: Shape, neurons: Neurons, rule: Rule) -> Peer:
    from spikingjelly.activation_based import functional, layer, neuron

    network = NETWORKS[shape.kind](layer, lambda: neuron.SLTTLIFNode(**_settings(neurons)), shape)
    return Peer(network, rule, lambda: functional.reset_net(network))


def _settings(neurons: Neurons) -> dict[str, Any]:
    from spikingjelly.activation_based import surrogate

    # λ = 1 - 1/τ; without a reset potential the reset subtracts the threshold.
    tau, gradient = 1 / (1 - neurons.leak), surrogate.ATan()
    return {
        "tau": tau,
        "decay_input": False,
        "v_threshold": neurons.threshold,
        "v_reset": None,
        "surrogate_function": gradient,
    }


PEERS: Mapping[str, Callable[..., Peer]] = {
    "naive random step": naive_random_step,
    "SpikingJelly STBP": spikingjelly_stbp,
    "SpikingJelly SLTT": spikingjelly_sltt,
    "SpikingJelly random step": spikingjelly_random_step,
    "snnTorch STBP": snntorch_stbp,
}
"""Each made from (shape, time_steps), and the neurons where they are others."""


def weighted_layers(network: nn.Module) -> dict[str, list[nn.Module]]:
    """Convolutions, batch norms and linear layers, each in their order; ours as well as the peers'."""
    found: dict[str, list[nn.Module]] = {"convolutions": [], "batch norms": [], "linear layers": []}
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            found["convolutions"].append(layer)
        elif isinstance(layer, nn.Linear):
            found["linear layers"].append(layer)
        elif "running_mean" in dict(layer.named_buffers(recurse=False)):
            found["batch norms"].append(layer)
    return found


def parameter_counts(network: nn.Module) -> dict[str, int]:
    """Of each kind of `weighted_layers`."""
    return {
        kind: sum(parameter.numel() for layer in layers for parameter in layer.parameters(recurse=False))
        for kind, layers in weighted_layers(network).items()
    }


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Give `target` the weights and running statistics of `source`, layer by layer.

    Raises:
        ValueError: layers differ in number or in shape.
    """
    theirs = weighted_layers(target)
    for kind, layers in weighted_layers(source).items():
        for number, (layer, other) in enumerate(_pairs(kind, layers, theirs[kind])):
            state = layer.state_dict()
            shapes = [{name: tuple(value.shape) for name, value in one.items()} for one in (state, other.state_dict())]
            if shapes[0] != shapes[1]:
                raise ValueError(f"{kind}, number {number}: {shapes[0]} and {shapes[1]}")
            other.load_state_dict(state)


def _pairs(kind: str, a: Sequence[nn.Module], b: Sequence[nn.Module]) -> list[tuple[nn.Module, nn.Module]]:
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} {kind}")
    return list(zip(a, b, strict=True))
