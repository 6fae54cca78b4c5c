"""Convert ordinary torch networks, such as models from torchvision or timm, to spiking networks."""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Callable, Collection, Iterable

from torch import nn

from hdlif.errors import ConversionError, did_you_mean
from hdlif.models.spiking import layers as _layers  # noqa: F401 - registers the conversions
from hdlif.models.spiking.following import follow
from hdlif.models.spiking.turning import ACTIVATIONS, Fed, Turning
from hdlif.nn import Temporal, WeightQuantizer

MOST_SHOWN = 3
"""Largest number of problems listed in an error."""
ENDS = {"first": 0, "last": -1}
"""Positions of the first and the last layer in execution order."""


def spiking(
    model: nn.Module,
    neuron: Callable[[int], nn.Module],
    *,
    quantizer: WeightQuantizer | None = None,
    keep_float: Collection[str] = ("first", "last"),
) -> Temporal:
    """Return a spiking network with the layers, wiring and weights of `model`, without modifying `model`.

    Each use of an activation (ReLU, ReLU6, or Hardtanh with a minimum of 0) becomes a separate layer of neurons. Upper
    bounds, as in ReLU6, are dropped, because the neurons determine the amplitude of spikes. To limit the amplitude, use
    `SpikeQuantizer`. Batch norms become `hdlif.nn` batch norms with the same statistics, eps and momentum. By default,
    all convolutions and linear layers except the first and the last become `QuantConv1d`, `QuantConv2d` or
    `QuantLinear`, with the same weights and biases. Composite modules are traced with torch.fx, and the layers keep
    their names.

    >>> import torch
    >>> from torch import nn
    >>> from hdlif.models import spiking
    >>> from hdlif.nn import HDLIF
    >>> ordinary = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    >>> network = spiking(ordinary, lambda channels: HDLIF(time_steps=2))
    >>> logits, state = network(torch.rand(1, 1, 1, 8, 8), steps=range(2))
    >>> list(logits.shape)
    [2, 1, 10]

    Args:
        neuron: makes a layer of neurons from its channels; called in execution order.
        quantizer: weight quantiser for all layers except those in `keep_float`; None keeps all weights in fp32.
        keep_float: layers with fp32 weights, by path (`*` matches any text); "first" and "last" are the layers that run
            first and last. These two remain torch layers, which do not count as the body.
        model: a trained or untrained network with activations, which torch.fx must be able to trace.
    Raises:
        ConversionError: parts have no spiking form, and the message lists their paths; or the network has no
            activation, or a pattern in `keep_float` matches no layer.
    """
    mode, model = model.training, copy.deepcopy(model).train()
    turning = Turning(neuron, follow)
    made, _ = turning.turn(model, "", Fed())
    kind = type(model).__name__
    if turning.problems:
        raise ConversionError(f"{kind} cannot be made spiking: {_listed(turning.problems)}")
    if not turning.neurons:
        raise ConversionError(f"{kind} cannot be made spiking: it has no activation; supported are {ACTIVATIONS}")
    assert isinstance(made, Temporal)
    order = list(turning.synapses)
    ends = {order[place] for name, place in ENDS.items() if name in keep_float and order}
    kept = _named(order, [pattern for pattern in keep_float if pattern not in ENDS])
    for path, (layer, of_torch) in turning.synapses.items():
        if path in ends:
            made.set_submodule(path, of_torch)
        elif path not in kept:
            layer.quantizer = quantizer
    return made.train(mode)


def _named(order: list[str], patterns: Iterable[str]) -> set[str]:
    """Return the layers that match the patterns, or raise `ConversionError` if a pattern does not match any layer."""
    named: set[str] = set()
    for pattern in patterns:
        matched = fnmatch.filter(order, pattern)
        if not matched:
            raise ConversionError(f"keep_float: {pattern!r} is not a layer; {did_you_mean(pattern, [*ENDS, *order])}")
        named.update(matched)
    return named


def _listed(problems: Iterable[tuple[str, str]]) -> str:
    """Describe the first distinct problems, each with the first affected module, and count the other problems."""
    places: dict[str, list[str]] = {}
    for path, why in problems:
        places.setdefault(why, []).append(path)
    refused = []
    for why, paths in list(places.items())[:MOST_SHOWN]:
        others = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        refused.append(f"{paths[0] or 'the network'}{others} {why}")
    left = len(places) - MOST_SHOWN
    more = f"; and {left} other problem{'s' if left > 1 else ''}" if left > 0 else ""
    accepted = (
        f"accepted are {ACTIVATIONS}, convolutions, linear layers, batch norms, average and max pools, dropout, and "
        "between layers sums, multiples, torch.cat and slices of channels"
    )
    return f"{'; '.join(refused)}{more}; {accepted}"
