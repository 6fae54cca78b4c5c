"""Networks of a few hundred weights, and what tests ask of any temporal module."""

import re
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from hdlif.models import Network, NeuronFactory, Place, resnet
from hdlif.nn import BatchNorm2d, QuantConv2d, State, WeightQuantizer


def scatter_norms(module: nn.Module) -> nn.Module:
    """Give every batch norm affine parameters and running statistics that differ by channel."""
    for norm in module.modules():
        if isinstance(norm, BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.3)
            norm.running_mean.normal_(std=0.2)
            norm.running_var.uniform_(0.5, 1.5)
    return module


def tiny_resnet(
    neuron: NeuronFactory,
    *,
    quantizer: WeightQuantizer | None = None,
    in_channels: int = 2,
    classes: int = 3,
) -> Network:
    """Two stages of one block, 4 and 8 channels, in float64."""
    torch.manual_seed(0)
    network = resnet(
        neuron=neuron,
        blocks=(1, 1),
        width=4,
        classes=classes,
        in_channels=in_channels,
        conv=partial(QuantConv2d, quantizer=quantizer),
    ).double()
    scatter_norms(network)
    return network


def alternate(vanilla: NeuronFactory, parallel: NeuronFactory) -> NeuronFactory:
    """The second neuron of every block is the parallel one."""

    def make(place: Place) -> nn.Module:
        return (parallel if place.position == 1 else vanilla)(place)

    return make


def tensors_of(state: State | None, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors of a state, with their path."""
    for name, value in (state or {}).items():
        if isinstance(value, Tensor):
            yield prefix + name, value
        else:
            yield from tensors_of(value, f"{prefix}{name}.")


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """The gradient of every parameter; zeros where none arrived."""
    return {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}


def assert_close(actual: dict[str, Tensor], expected: dict[str, Tensor], *, atol: float = 1e-10) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            actual[name], value, atol=atol, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
        )


def name_of(rule: object) -> str:
    """A rule or penalty as it is written, without functions, whose addresses differ from process to process."""
    written = re.sub(r"(\w+=)?<function[^>]*>", "", repr(rule))
    return re.sub(r"(, )+", ", ", written).replace("(, ", "(").replace(", )", ")")
