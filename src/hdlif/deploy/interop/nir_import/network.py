"""Convert NIR nodes to a network's weights and structure (`hdlif.deploy.interop.structure`).

The potential of a NIR neuron starts at v_leak and decays towards v_leak. In hdlif, the potential is u = v - v_leak, so
a step computes u ← λ u + g I with λ = 1 - dt/τ and g = R dt/τ. If u > v_threshold - v_leak, the neuron fires and resets
u to v_reset - v_leak. The gain g is folded into the weights of the preceding layer.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy.interop.nir_import.graph import MOST_SHOWN, NirGraph, NirNode
from hdlif.deploy.interop.nir_import.values import (
    Floats,
    Shape,
    array,
    leak,
    padding,
    per_channel,
    sizes,
    snapped,
    weight,
    windows,
)
from hdlif.deploy.nir_export.neurons import plain_name
from hdlif.errors import ConversionError, did_you_mean, some
from hdlif.models.wiring import INPUT, Wired

Weights = dict[str, NDArray[np.float32]]


def translated(graph: NirGraph, *, dt: float, fires_at_threshold: bool) -> tuple[dict[str, Any], Weights]:
    """Return a network's structure, and a mapping from names to weights.

    Raises:
        ConversionError: a node has no counterpart, or its values do not fit; the message begins with the node's name.
    """
    if unknown := [f"{name} ({node.kind})" for name, node in graph.nodes.items() if node.kind not in _NODES]:
        kinds = [node.kind for node in graph.nodes.values() if node.kind not in _NODES]
        raise ConversionError(
            f"nodes of unsupported types: {some(unknown, MOST_SHOWN)}; {did_you_mean(kinds[0], _NODES)}"
        )
    return _Translating(graph, dt, fires_at_threshold).run()


def shape_of(name: str, node: NirNode) -> Shape:
    """Return the shape that an input or output node defines."""
    found = array(name, node, "shape").reshape(-1)
    shape = tuple(int(size) for size in found)
    whole = all(size == value >= 1 for size, value in zip(shape, found, strict=True))
    if not 1 <= len(shape) <= 3 or not whole or math.prod(shape) > 2**30:
        raise ConversionError(f"{name} has the shape {found.tolist()}; it must be [N], [C, L] or [C, H, W]")
    return shape


class _Translating:
    def __init__(self, graph: NirGraph, dt: float, fires_at_threshold: bool) -> None:
        self.graph, self.dt, self.fires_at_threshold = graph, dt, fires_at_threshold
        self.children: dict[str, dict[str, Any]] = {}
        self.weights: Weights = {}
        self.lines: list[list[Any]] = []
        self._readers = Counter(source for reads in graph.reads.values() for source in reads)
        # Layers must not shadow attributes of a network.
        self._taken = set(dir(Wired)) | {"input", "output", "training"}
        self._values: dict[str, tuple[str, Shape]] = {}

    def run(self) -> tuple[dict[str, Any], Weights]:
        shape = shape_of("the input", self.graph.input)
        begin = INPUT
        if len(shape) == 1:
            # A vector becomes a map of one pixel.
            begin = self.child("flat", {"kind": "flatten"}, INPUT)
        self._values["input"] = begin, shape
        for name, node in self.graph.nodes.items():
            read, given = self._summed(name, self.graph.reads[name])
            self._values[name] = _NODES[node.kind](self, name, node, read, given)
        result, given = self._summed("output", self.graph.reads["output"])
        if len(given) not in (1, 3):
            raise ConversionError(f"the output has shape {list(given)}; it must be a vector [N] or a map [C, H, W]")
        if (said := shape_of("the output", self.graph.output)) != given:
            raise ConversionError(f"the graph gives the output the shape {list(said)}, but its input has {list(given)}")
        whole = shape if len(shape) == 3 else (shape[0], 1, *(shape[1:] or (1,)))
        structure = {
            "input": list(whole),
            "outputs": given[0],
            "output": result,
            "children": self.children,
            "lines": self.lines,
        }
        return structure, self.weights

    def _summed(self, name: str, sources: Any) -> tuple[str, Shape]:
        """Add structure lines that sum the sources, and return the name and the shape of the sum."""
        (read, shape), *others = (self._values[source] for source in sources)
        for other, its_shape in others:
            if its_shape != shape:
                raise ConversionError(f"{name} reads values of the shapes {list(shape)} and {list(its_shape)}")
            read = self.line(f"{name}_sum", "sum", [read, other])
        return read, shape

    def line(self, name: str, does: str, reads: list[str], *rest: float) -> str:
        found = plain_name(name, self._taken)
        self._taken.add(found)
        self.lines.append([found, does, reads, *rest])
        return found

    def child(self, name: str, values: Mapping[str, Any], read: str, weights: Mapping[str, Any] | None = None) -> str:
        """Add a layer that reads an existing structure line, and return the name of the new line."""
        found = self.line(name, "child", [read])
        self.children[found] = dict(values)
        self.weights |= {f"{found}.{key}": np.asarray(value, np.float32) for key, value in (weights or {}).items()}
        return found

    def scaled(self, name: str, gain: Floats, shift: Floats, read: str, given: Shape) -> str:
        """Return the name of the structure line for gain·value + shift, with gain and shift of shape [C] or [1].

        If nothing else reads the preceding layer's output, the layer absorbs the gain and, if it has a bias, the shift.
        """
        if (gain == 1).all() and not shift.any():
            return read
        layer = self.children.get(read, {})
        if layer.get("kind") in ("conv1d", "conv2d", "linear") and self._reads_alone(name, read):
            held = self.weights[f"{read}.weight"]
            spread = gain.reshape(-1, *(1,) * (held.ndim - 1))
            self.weights[f"{read}.weight"] = (held.astype(np.float64) * spread).astype(np.float32)
            if layer["bias"]:
                bias = self.weights[f"{read}.bias"].astype(np.float64) * gain + shift
                self.weights[f"{read}.bias"] = bias.astype(np.float32)
                return read
            if not shift.any():
                return read
            gain = np.ones(1)
        if len(gain) == len(shift) == 1:
            return self.line(f"{name}_scaled", "multiple", [read], float(gain[0]), float(shift[0]))
        weights = {"weight": np.broadcast_to(gain, given[0]), "bias": np.broadcast_to(shift, given[0])}
        return self.child(f"{name}_scaled", {"kind": "affine", "channels": given[0]}, read, weights)

    def _reads_alone(self, name: str, read: str) -> bool:
        """Return whether the given node is the only reader of a structure line."""
        sources = self.graph.reads[name]
        return len(sources) == 1 and self._values[sources[0]][0] == read and self._readers[sources[0]] == 1


def _synapse(to: _Translating, name: str, node: NirNode, read: str, given: Shape) -> tuple[str, Shape]:
    values, weights, out = _layer(name, node, given)
    return to.child(name, values, read, weights), out


def _layer(name: str, node: NirNode, given: Shape) -> tuple[dict[str, Any], dict[str, Any], Shape]:
    """Return the structure, the weights and the output shape of a layer."""
    if node.kind in ("Linear", "Affine"):
        return _linear_layer(name, node, given)
    return _convolution_layer(name, node, given)


def _linear_layer(name: str, node: NirNode, given: Shape) -> tuple[dict[str, Any], dict[str, Any], Shape]:
    matrix = weight(name, node, 2)
    out, taken = matrix.shape
    if given != (taken,):
        raise ConversionError(f"{name} takes [{taken}], but gets {list(given)}; a Flatten turns a map into a vector")
    bias = _bias(name, node, out) if node.kind == "Affine" else {}
    values = {"kind": "linear", "in_features": taken, "out_features": out, "bias": bool(bias)}
    return values, {"weight": matrix, **bias}, (out,)


def _bias(name: str, node: NirNode, channels: int) -> dict[str, Any]:
    """Return the bias of a layer, or an empty dict if the bias is missing or zero."""
    if node.values.get("bias") is None:
        return {}
    found = array(name, node, "bias")
    if found.shape != (channels,):
        raise ConversionError(f"{name}.bias has shape {list(found.shape)}; it must be [{channels}]")
    return {"bias": found} if found.any() else {}


def _convolution_layer(name: str, node: NirNode, given: Shape) -> tuple[dict[str, Any], dict[str, Any], Shape]:
    axes = 2 if node.kind == "Conv2d" else 1
    kernels = weight(name, node, axes + 2)
    out, of_group, *kernel = kernels.shape
    (groups,) = sizes(name, node, "groups", 1)
    if len(given) != axes + 1 or groups < 1 or given[0] != of_group * groups or out % groups:
        raise ConversionError(
            f"{name}: weights {list(kernels.shape)} in {groups} groups do not fit a value of shape {list(given)}"
        )
    stride, dilation = sizes(name, node, "stride", axes), sizes(name, node, "dilation", axes)
    around = padding(name, node, kernel, dilation)
    size = windows(name, given[1:], kernel, stride, around, dilation)
    bias = _bias(name, node, out)
    values = {
        "kind": f"conv{axes}d",
        "in_channels": given[0],
        "out_channels": out,
        "kernel_size": kernel,
        "stride": stride,
        "padding": around,
        "dilation": dilation,
        "groups": groups,
        "bias": bool(bias),
    }
    return values, {"weight": kernels, **bias}, (out, *size)


def _pool(to: _Translating, name: str, node: NirNode, read: str, given: Shape) -> tuple[str, Shape]:
    if len(given) != 3:
        raise ConversionError(f"{name} pools maps [C, H, W], but gets {list(given)}")
    kernel, stride, around = (sizes(name, node, key, 2) for key in ("kernel_size", "stride", "padding"))
    size = windows(name, given[1:], kernel, stride, around, [1, 1])
    if any(2 * p > k for p, k in zip(around, kernel, strict=True)):
        raise ConversionError(f"{name}: padding {around} is more than half of the kernel {kernel}")
    kind = "average" if node.kind == "AvgPool2d" else "sum"
    values = {"kind": kind, "kernel": kernel, "stride": stride, "padding": around}
    return to.child(name, values, read), (given[0], *size)


def _flatten(to: _Translating, name: str, node: NirNode, read: str, given: Shape) -> tuple[str, Shape]:
    begin, end = (int(array(name, node, key).reshape(-1)[0]) for key in ("start_dim", "end_dim"))
    axes = len(given)
    if axes == 1:
        return read, given
    if (begin if begin >= 0 else begin + axes) != 0 or (end if end >= 0 else end + axes) != axes - 1:
        raise ConversionError(
            f"{name} flattens axes {begin} to {end} of {list(given)}, which is not supported; flatten all axes, 0 to "
            "-1 (NIR does not count the batch axis)"
        )
    return to.child(name, {"kind": "flatten"}, read), (math.prod(given),)


def _scale(to: _Translating, name: str, node: NirNode, read: str, given: Shape) -> tuple[str, Shape]:
    return to.scaled(name, per_channel(name, node, "scale", given), np.zeros(1), read, given), given


def _lif(to: _Translating, name: str, node: NirNode, read: str, given: Shape) -> tuple[str, Shape]:
    tau = per_channel(name, node, "tau", given)
    gain = per_channel(name, node, "r", given) * to.dt / tau
    rest = per_channel(name, node, "v_leak", given)
    return _neuron(to, name, node, read, given, decay=leak(name, tau, to.dt), gain=snapped(gain), rest=rest)


def _if(to: _Translating, name: str, node: NirNode, read: str, given: Shape) -> tuple[str, Shape]:
    gain = snapped(per_channel(name, node, "r", given) * to.dt)
    # A neuron without a leak starts at its reset potential.
    rest = per_channel(name, node, "v_reset", given, default=0.0)
    return _neuron(to, name, node, read, given, decay=np.ones(1), gain=gain, rest=rest)


def _cuba_lif(to: _Translating, name: str, node: NirNode, read: str, given: Shape) -> tuple[str, Shape]:
    if node.feedback is not None:
        raise ConversionError(f"{name} is a CubaLIF that feeds back to itself, which is not supported; use a LIF")
    tau = per_channel(name, node, "tau_mem", given)
    gain = snapped(per_channel(name, node, "r", given) * to.dt / tau)
    read = _current(to, name, node, read, given, gain)
    rest = per_channel(name, node, "v_leak", given)
    return _neuron(to, name, node, read, given, decay=leak(name, tau, to.dt), gain=np.ones(1), rest=rest)


def _current(to: _Translating, name: str, node: NirNode, read: str, given: Shape, gain: Floats) -> str:
    """Add the synaptic current I ← (1 - dt/τ) I + (dt/τ) w S, multiplied by `gain`."""
    tau = per_channel(name, node, "tau_syn", given)
    arriving = per_channel(name, node, "w_in", given, default=1.0) * to.dt / tau
    return _integrator(to, f"{name}_synapse", read, leak(name, tau, to.dt), snapped(arriving) * gain, given)


def _neuron(
    to: _Translating,
    name: str,
    node: NirNode,
    read: str,
    given: Shape,
    *,
    decay: Floats,
    gain: Floats,
    rest: Floats,
) -> tuple[str, Shape]:
    """Add a neuron whose potential is relative to `rest`."""
    threshold = per_channel(name, node, "v_threshold", given) - rest
    reset = per_channel(name, node, "v_reset", given, default=0.0) - rest
    if (reset != reset[0]).any():
        raise ConversionError(f"{name}: v_reset - v_leak differs between channels; give one value for all")
    fires_from = threshold.astype(np.float32)
    if not to.fires_at_threshold:
        fires_from = np.nextafter(fires_from, np.float32(np.inf))
    read = to.scaled(name, gain, np.zeros(1), read, given)
    channels = None if len(decay) == len(fires_from) == 1 else given[0]
    rows = {"leak.value": _row(decay, channels), "threshold.value": _row(fires_from, channels)}
    values = {"kind": "lif", "channels": channels, "reset": float(reset[0])}
    if node.feedback is None:
        return to.child(name, values, read, rows), given
    synapse, weights, out = _layer(f"{name}'s feedback", node.feedback, given)
    if out != given:
        raise ConversionError(f"{name}'s feedback has shape {list(out)}, but the neurons have {list(given)}")
    axes = weights["weight"].ndim
    weights = {
        key: value * (gain.reshape(-1, *(1,) * (axes - 1)) if key == "weight" else gain)
        for key, value in weights.items()
    }
    held = {f"neuron.{key}": value for key, value in rows.items()}
    held |= {f"synapse.{key}": value for key, value in weights.items()}
    return to.child(name, {"kind": "recurrent", "neuron": values, "synapse": synapse}, read, held), given


def _row(values: Floats | NDArray[np.float32], channels: int | None) -> NDArray[np.float32]:
    """Return values as a row [1], or as [1, C] if there is one value per channel."""
    row = np.asarray(values, np.float32)
    return row if channels is None else np.broadcast_to(row, channels)[None].copy()


def _li(to: _Translating, name: str, node: NirNode, read: str, given: Shape) -> tuple[str, Shape]:
    tau = per_channel(name, node, "tau", given)
    gain = snapped(per_channel(name, node, "r", given) * to.dt / tau)
    read = _integrator(to, name, read, leak(name, tau, to.dt), gain, given)
    return to.scaled(name, np.ones(1), per_channel(name, node, "v_leak", given), read, given), given


def _cuba_li(to: _Translating, name: str, node: NirNode, read: str, given: Shape) -> tuple[str, Shape]:
    tau = per_channel(name, node, "tau_mem", given)
    gain = snapped(per_channel(name, node, "r", given) * to.dt / tau)
    current = _current(to, name, node, read, given, gain)
    read = _integrator(to, name, current, leak(name, tau, to.dt), np.ones(1), given)
    return to.scaled(name, np.ones(1), per_channel(name, node, "v_leak", given), read, given), given


def _i(to: _Translating, name: str, node: NirNode, read: str, given: Shape) -> tuple[str, Shape]:
    gain = snapped(per_channel(name, node, "r", given) * to.dt)
    return _integrator(to, name, read, np.ones(1), gain, given), given


def _integrator(to: _Translating, name: str, read: str, decay: Floats, gain: Floats, given: Shape) -> str:
    channels = None if len(decay) == len(gain) == 1 else given[0]
    rows = {"leak.value": _row(decay, channels), "gain.value": _row(gain, channels)}
    return to.child(name, {"kind": "integrator", "channels": channels}, read, rows)


def _threshold(to: _Translating, name: str, node: NirNode, read: str, given: Shape) -> tuple[str, Shape]:
    # A stateless node is a neuron with a leak of 0.
    of_neuron = NirNode("LIF", {"v_threshold": node.values.get("threshold")})
    one = np.ones(1)
    return _neuron(to, name, of_neuron, read, given, decay=0 * one, gain=one, rest=0 * one)


_Node = Callable[[_Translating, str, NirNode, str, Shape], tuple[str, Shape]]
_NODES: Mapping[str, _Node] = {
    "Affine": _synapse,
    "AvgPool2d": _pool,
    "Conv1d": _synapse,
    "Conv2d": _synapse,
    "CubaLI": _cuba_li,
    "CubaLIF": _cuba_lif,
    "Flatten": _flatten,
    "I": _i,
    "IF": _if,
    "LI": _li,
    "LIF": _lif,
    "Linear": _synapse,
    "Scale": _scale,
    "SumPool2d": _pool,
    "Threshold": _threshold,
}
"""Converters (translation, name, node, line read, its shape) -> (line, its shape), by NIR type."""
