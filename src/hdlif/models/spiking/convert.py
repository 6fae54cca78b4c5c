"""Conversion of an ordinary torch network, such as one of torchvision or timm, to a spiking one."""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Callable, Collection, Iterable

from torch import nn

from hdlif.errors import ConversionError, did_you_mean
from hdlif.models.spiking import layers as _layers  # noqa: F401 - registers what becomes of each
from hdlif.models.spiking.following import follow
from hdlif.models.spiking.turning import ACTIVATIONS, Fed, Turning
from hdlif.nn import Temporal, WeightQuantizer

MOST_SHOWN = 3
"""Most problems in an error."""
ENDS = {"first": 0, "last": -1}
"""Places of the layers that run first and last."""


def spiking(
    model: nn.Module,
    neuron: Callable[[int], nn.Module],
    *,
    quantizer: WeightQuantizer | None = None,
    keep_float: Collection[str] = ("first", "last"),
) -> Temporal:
    """A spiking network with the layers, the wiring and the weights of `model`, which stays as it is.

    Each activation (ReLU, ReLU6, Hardtanh from 0) becomes a layer of neurons, one for each place where it is run; a
    bound such as ReLU6's is dropped, since the neuron decides how much it emits (`SpikeQuantizer` bounds it). Batch
    norms become `hdlif.nn`'s, with their statistics, eps and momentum; convolutions and linear layers become
    `QuantConv2d` and `QuantLinear` with the same weights and biases, but for the first and the last one. Modules that
    are made of others are followed by torch.fx, and their layers keep their names.

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
        neuron: makes a layer of neurons from its channels, in the order in which they run.
        quantizer: of the weights, but for those of `keep_float`; None leaves all in fp32.
        keep_float: layers with fp32 weights, by path (`*` stands for any text); "first" and "last" are the ones that
            run so, and stay torch's own, which are not counted as the body.
        model: a trained or fresh network with activations; it must be traceable by torch.fx.
    Raises:
        ConversionError: the network has parts of which there is no spiking form, each with its path; or no activation;
            or `keep_float` names no layer.
    """
    mode, model = model.training, copy.deepcopy(model).train()
    turning = Turning(neuron, follow)
    made, _ = turning.turn(model, "", Fed())
    kind = type(model).__name__
    if turning.problems:
        raise ConversionError(f"{kind} cannot be made spiking: {_listed(turning.problems)}")
    if not turning.neurons:
        raise ConversionError(f"{kind} cannot be made spiking: it has no activation; one is {ACTIVATIONS}")
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
    """Return the layers that match a pattern."""
    named: set[str] = set()
    for pattern in patterns:
        matched = fnmatch.filter(order, pattern)
        if not matched:
            raise ConversionError(f"keep_float: {pattern!r} is not a layer; {did_you_mean(pattern, [*ENDS, *order])}")
        named.update(matched)
    return named


def _listed(problems: Iterable[tuple[str, str]]) -> str:
    """Return each problem once, with its first place."""
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
