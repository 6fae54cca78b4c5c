"""Figures of learned leaks and thresholds of each layer at each time step."""

from collections.abc import Mapping, Sequence
from typing import Literal

from hdlif.report.figures import Figure, panels, union
from hdlif.runs.summary import TrainResult

_LEAST = 0.02
"""Of a range that the axis shows: less would make noise look like a change."""

ByLayer = Mapping[str, Sequence[float]]


def per_step(networks: Sequence[TrainResult], quantity: Literal["leak", "threshold"], caption: str) -> Figure:
    """A panel for each layer, on axes that fit what has changed, beside what it was before training, as far as known.

    A network with one value in all layers and steps has learned none: where others have, it is told of and not drawn.
    """
    values = [_by_layer(network, quantity) for network in networks]
    starts = [_by_layer(network, f"initial_{quantity}") for network in networks]
    fixed = [_only(of_one, start) for of_one, start in zip(values, starts, strict=True)]
    drawn: list[ByLayer] = list(values)
    if any(of_one and one is None for of_one, one in zip(values, fixed, strict=True)):
        drawn = [{} if one is not None else of_one for of_one, one in zip(values, fixed, strict=True)]
        said = [f"{network.name} ({one:g})" for network, one in zip(networks, fixed, strict=True) if one is not None]
        if said:
            caption += f" Not drawn, for it is the same everywhere: {', '.join(said)}."
    shown: list[ByLayer] = [start if of_one else {} for start, of_one in zip(starts, drawn, strict=True)]
    if any(shown):
        caption += " The thin dashed line is the value before training."
    ranges = {
        layer: (min(numbers), max(numbers))
        for layer in union(drawn)
        if (numbers := [number for of_one in (*drawn, *shown) for number in of_one.get(layer, ())])
    }
    if not ranges:
        return Figure(caption, [])
    # Of one height in all panels, so that changes compare, each where its own values are.
    half = 0.58 * max(_LEAST, *(high - low for low, high in ranges.values()))
    limits = {layer: ((low + high) / 2 - half, (low + high) / 2 + half) for layer, (low, high) in ranges.items()}
    caption += (
        " At its end each line says its last value. A unit is as long in each panel, but each axis begins where "
        "its own values are, not at 0."
    )
    names = [network.name for network in networks]
    return panels(quantity, quantity, caption, names, drawn, limits=limits, starts=shown, ends=True)


def _by_layer(network: TrainResult, field: str) -> ByLayer:
    return {neuron.name: numbers for neuron in network.neurons if (numbers := getattr(neuron, field))}


def _only(values: ByLayer, starts: ByLayer) -> float | None:
    """The one value that there is, before and after training; None where there are several or none."""
    found = {number for of_one in (values, starts) for row in of_one.values() for number in row}
    return found.pop() if len(found) == 1 else None
