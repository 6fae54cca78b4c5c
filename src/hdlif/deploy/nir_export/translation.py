"""Translate a deployed graph to exactly equivalent NIR nodes and edges, or raise an error.

Operations between layers, such as `affine` ops and the scaling of spikes and means, are folded into weights. In NIR, a
node with several incoming edges receives the sum of its inputs. An `affine` op without a preceding layer becomes a 1x1
convolution or a matrix with diagonal weights.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy.nir_export.neurons import HardLIF, hard_lif, plain_name
from hdlif.errors import LoweringError, MissingExtraError, some
from hdlif.graph.artefact import statement
from hdlif.graph.dataflow import reads
from hdlif.graph.graph import INPUT, Graph, Node
from hdlif.graph.inference import infer_values
from hdlif.graph.ops import OPS
from hdlif.graph.ops.conv2d import dilation_of, groups_of
from hdlif.whole_files import whole_file

Floats = NDArray[np.float64]
DT = 1e-4
"""Length of a time step in seconds, as in snnTorch and SpikingJelly."""
METADATA, STEP = "hdlif", "hdlif.dt"
"""Metadata keys of the input node, for properties that NIR lacks and for the length of a time step in seconds."""
OF_ONE_PIXEL: Mapping[str, Any] = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
"""Geometry of a convolution that applies a matrix to each pixel."""
MOST_SHOWN = 3
"""Largest number of layers listed in an error."""


@dataclass
class _Layer:
    """A float64 convolution or matrix under construction, into which subsequent operations are folded."""

    weight: Floats
    bias: Floats
    geometry: Mapping[str, Any] | None
    """Geometry of a convolution; None for a matrix."""

    def scaled(self, scale: Floats, shift: Floats) -> None:
        """Fold scale·y + shift into the layer, with scale and shift of shape [C] or [1]."""
        self.weight = self.weight * scale.reshape(-1, *(1,) * (self.weight.ndim - 1))
        self.bias = self.bias * scale + shift


@dataclass(frozen=True)
class _Value:
    """The sum of the outputs of NIR nodes, multiplied by `scale` [C or 1].

    Attributes:
        layer: the layer that outputs the value, if the value's only reader may still fold operations into it.
    """

    sources: tuple[str, ...]
    scale: Floats = field(default_factory=lambda: np.ones(1))
    layer: _Layer | None = None


def nir_package() -> Any:
    """Import and return the `nir` package, or raise `MissingExtraError` if it is not installed."""
    try:
        import nir
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name, "nir") from error
    return nir


def write(graph: Any, path: Path | str) -> None:
    """Write a `nir.NIRGraph` atomically to an HDF5 file."""
    package = nir_package()
    with whole_file(Path(path)) as temporary:
        package.write(temporary, graph)


def to_nir(graph: Graph, *, dt: float = DT, for_norse: bool = False) -> Any:
    """Return a `nir.NIRGraph` for a network of LIF neurons with a hard reset.

    The leak and the threshold must be constant in time. Low-bit weights are converted to float32. Inputs must already
    be normalised with mean and std. The input node's metadata contains properties that NIR lacks, such as time steps,
    labels and the kind of input. With this metadata, `hdlif.deploy.interop.nir_import` reads the file without further
    arguments.

    Args:
        dt: seconds per time step.
        for_norse: write for norse, which ignores R and has no mean: R = 1 with weights divided by 1 - λ, and sums over
            windows. SpikingJelly and snnTorch can run these files too.
    Raises:
        LoweringError: parts have no counterpart in NIR; the message lists them.
        MissingExtraError: the package nir is not installed.
    """
    nir_package()
    types = infer_values(graph)
    if problems := [(node.name, why) for node in graph.nodes if (why := _refused(node, types)) is not None]:
        raise LoweringError(refusal(problems))
    return _Translation(graph, dt, for_norse).run()


def refusal(problems: list[tuple[str, str]]) -> str:
    """Return an error message that lists unsupported nodes and suggests alternatives."""
    shown = some([f"{name} is {why}" for name, why in problems], MOST_SHOWN)
    return (
        f"NIR has no node for parts of this network: {shown}; --extension writes them as metadata, which only hdlif "
        "reads back; --to artefact and --to onnx export all of them"
    )


def _refused(node: Node, types: Mapping[str, Any]) -> str | None:
    """Return the reason why NIR cannot express a node, or None for a supported node."""
    match node.op:
        case "program":
            found = hard_lif(node)
            return found if isinstance(found, str) else None
        case "affine":
            if any(len(rows) > 1 for rows in node.tensors.values()):
                return "a batch norm whose statistics change from step to step"
        case "conv2d":
            if not infers(node, types):
                return "a grouped convolution, or one that is not square, whose shapes nir infers wrongly"
        case "quantise":
            return f"a quantiser of spikes, of {node.attributes['bits']} bits"
        case op if op not in _TRANSLATIONS:
            return OPS[op].noun or f"an op {op}"
    return None


def infers(node: Node, types: Mapping[str, Any]) -> bool:
    """Return whether nir, which assumes square kernels without groups, infers the output shape of a convolution
    correctly.
    """
    (size_y, size_x), out = types[node.inputs[0]].shape[1:], types[node.name].shape[1:]
    kernel = node.tensors["weight"].shape[2]
    sizes = zip((size_y, size_x), node.attributes["padding"], dilation_of(node), node.attributes["stride"], strict=True)
    return groups_of(node) == 1 and tuple((n + 2 * p - d * (kernel - 1) - 1) // s + 1 for n, p, d, s in sizes) == tuple(
        out
    )


class _Translation:
    def __init__(self, graph: Graph, dt: float, for_norse: bool) -> None:
        self.nir = nir_package()
        self.graph, self.dt, self.for_norse = graph, dt, for_norse
        self.types = infer_values(graph)
        self._readers = Counter(name for node in graph.nodes for name in reads(node)) + Counter([graph.output])
        self._nodes: dict[str, Callable[[], Any]] = {}
        self._edges: list[tuple[str, str]] = []
        self.values: dict[str, _Value] = {}

    def run(self) -> Any:
        shape = np.array(self.types[INPUT].shape)
        record = {METADATA: statement(self.graph), STEP: float(self.dt)}
        self.values[INPUT] = _Value(
            (self.put("input", (), lambda: self.nir.Input(input_type={"input": shape}, metadata=record)),)
        )
        for node in self.graph.nodes:
            self.values[node.name] = _TRANSLATIONS[node.op](self, node)
        result = self.applied(self.graph.output)
        of_output = np.array(self.types[self.graph.output].shape)
        self.put("output", result.sources, lambda: self.nir.Output(output_type={"output": of_output}))
        return self.nir.NIRGraph({name: make() for name, make in self._nodes.items()}, self._edges)

    def put(self, name: str, sources: tuple[str, ...], make: Callable[[], Any]) -> str:
        """Add a node that reads the sum of `sources` and that `make` creates later, and return the node's name."""
        found = plain_name(name, self._nodes)
        self._nodes[found] = make
        self._edges += [(source, found) for source in sources]
        return found

    def layer(self, name: str, layer: _Layer, value: _Value, shape: tuple[int, ...]) -> _Value:
        """Add a layer that reads `value` of the given shape, and return the layer's output."""
        return _Value((self.put(name, value.sources, lambda: self._made(layer, shape)),), layer=layer)

    def _made(self, layer: _Layer, shape: tuple[int, ...]) -> Any:
        weight, bias = layer.weight.astype(np.float32), layer.bias.astype(np.float32)
        if layer.geometry is not None:
            return self.nir.Conv2d(input_shape=shape[1:], weight=weight, bias=bias, **layer.geometry)
        if bias.any():
            return self.nir.Affine(weight=weight, bias=bias)
        return self.nir.Linear(weight=weight)

    def applied(self, name: str, times: Floats | None = None) -> _Value:
        """Return a node's value multiplied by `times`, if given, and by the pending scale."""
        value = self.values[name]
        scale = value.scale if times is None else value.scale * times
        return self.with_affine(name, scale, np.zeros(1))

    def with_affine(self, name: str, scale: Floats, shift: Floats, *, of: str | None = None) -> _Value:
        """Return scale·x + shift for the value x of a node, ignoring the pending scale."""
        value = self.values[name]
        layer = value.layer if self._readers[name] == 1 else None
        if (scale == 1).all() and not shift.any():
            return replace(value, scale=np.ones(1), layer=layer)
        if layer is not None:
            layer.scaled(scale, shift)
            return replace(value, scale=np.ones(1))
        return self._diagonal(of or f"{name}.scaled", value, scale, shift, self.types[name].shape)

    def _diagonal(self, name: str, value: _Value, scale: Floats, shift: Floats, shape: tuple[int, ...]) -> _Value:
        """Compute scale·value + shift in a separate layer, and return the result."""
        channels = shape[0]
        weight, bias = np.diag(np.broadcast_to(scale, channels)), np.broadcast_to(shift, channels).astype(np.float64)
        geometry: Mapping[str, Any] | None = None
        if len(shape) == 3:
            weight = weight[:, :, None, None]
            geometry = OF_ONE_PIXEL
        # Closed: nothing may be folded into a layer with several readers.
        return replace(self.layer(name, _Layer(weight, bias, geometry), value, shape), layer=None)


def _conv2d(to: _Translation, node: Node) -> _Value:
    value = to.values[node.inputs[0]]
    weight = node.tensors["weight"].astype(np.float64)
    scale = np.broadcast_to(value.scale, to.types[node.inputs[0]].shape[0])
    weight *= scale[:, None, None]
    layer = _Layer(weight, np.zeros(len(weight)), geometry_of(node))
    return to.layer(node.name, layer, value, to.types[node.inputs[0]].shape)


def geometry_of(node: Node) -> dict[str, Any]:
    """Return the NIR arguments of a convolution except for the input shape, the weight and the bias."""
    return {
        "stride": tuple(node.attributes["stride"]),
        "padding": tuple(node.attributes["padding"]),
        "dilation": tuple(dilation_of(node)),
        "groups": 1,
    }


def _linear(to: _Translation, node: Node) -> _Value:
    value = to.values[node.inputs[0]]
    weight = node.tensors["weight"].astype(np.float64) * value.scale
    return to.layer(node.name, _Layer(weight, np.zeros(len(weight)), None), value, to.types[node.inputs[0]].shape)


def _affine(to: _Translation, node: Node) -> _Value:
    (name,), value = node.inputs, to.values[node.inputs[0]]
    scale, shift = (node.tensors[role][0].astype(np.float64) for role in ("scale", "shift"))
    if value.layer is None and not shift.any():
        return replace(value, scale=value.scale * scale)
    return to.with_affine(name, value.scale * scale, shift, of=node.name)


def _program(to: _Translation, node: Node) -> _Value:
    neuron, shape = hard_lif(node), to.types[node.name].shape
    assert isinstance(neuron, HardLIF), "refused before"
    unit = to.for_norse and not neuron.integrates
    value = to.applied(node.inputs[0], 1 / (1 - neuron.leak[0]) if unit else None)
    made = neuron_node(neuron, shape, to.dt, unit_resistance=unit)
    return _Value((to.put(node.name, value.sources, lambda: made),))


def neuron_node(neuron: HardLIF, shape: tuple[int, ...], dt: float, *, unit_resistance: bool = False) -> Any:
    """Return a neuron as a `nir.LIF`, or as a `nir.IF` if there is no leak."""
    leak, threshold, reset = (
        np.broadcast_to(rows[0].reshape(-1, *(1,) * (len(shape) - 1)), shape).astype(np.float64)
        for rows in (neuron.leak, neuron.threshold, neuron.reset)
    )
    # A float32 is at or above the threshold exactly if it is above this value.
    below = np.nextafter(threshold.astype(np.float32), np.float32(-np.inf)).astype(np.float64)
    rest = {"v_threshold": below, "v_reset": reset}
    if neuron.integrates:
        return nir_package().IF(r=np.full(shape, 1 / dt), **rest)
    tau = dt / (1 - leak)
    r = np.ones(shape) if unit_resistance else tau / dt
    return nir_package().LIF(tau=tau, r=r, v_leak=np.zeros(shape), **rest)


def _pooled(to: _Translation, node: Node, kernel: Any, stride: Any) -> _Value:
    """Return the sums over pooling windows.

    For norse, the NIR node computes sums. Otherwise, the node computes means, with the window size as a pending scale.
    """
    value = to.values[node.inputs[0]]
    sizes = {"kernel_size": np.array(kernel), "stride": np.array(stride), "padding": np.zeros(2, np.int64)}
    kind = to.nir.SumPool2d if to.for_norse else to.nir.AvgPool2d
    name = to.put(node.name, value.sources, lambda: kind(**sizes))
    return _Value((name,), value.scale if to.for_norse else value.scale * float(np.prod(kernel)))


def _global_sum_pool(to: _Translation, node: Node) -> _Value:
    channels, *size = to.types[node.inputs[0]].shape
    pooled = to.values[node.inputs[0]]
    if size != [1, 1]:
        pooled = _pooled(to, node, size, size)
    return _flat(to, f"{node.name}.flatten", pooled, (channels, 1, 1))


def _flatten(to: _Translation, node: Node) -> _Value:
    return _flat(to, node.name, to.values[node.inputs[0]], to.types[node.inputs[0]].shape)


def _flat(to: _Translation, name: str, value: _Value, shape: tuple[int, ...]) -> _Value:
    # Negative axes are the same with and without a batch.
    flat = {"input_type": {"input": np.array(shape)}, "start_dim": -len(shape), "end_dim": -1}
    scale = value.scale if len(value.scale) == 1 else np.repeat(value.scale, int(np.prod(shape[1:])))
    return _Value((to.put(name, value.sources, lambda: to.nir.Flatten(**flat)),), scale)


def _add(to: _Translation, node: Node) -> _Value:
    first, second = (to.applied(name) for name in node.inputs)
    if set(first.sources) & set(second.sources):
        # Edges are unique.
        second = to._diagonal(f"{node.name}.again", second, np.ones(1), np.zeros(1), to.types[node.name].shape)
    return _Value((*first.sources, *second.sources))


_TRANSLATIONS: Mapping[str, Callable[[_Translation, Node], _Value]] = {
    "add": _add,
    "affine": _affine,
    "conv2d": _conv2d,
    "flatten": _flatten,
    "global_sum_pool": _global_sum_pool,
    "linear": _linear,
    "program": _program,
    "sum_pool": lambda to, node: _pooled(to, node, node.attributes["kernel"], node.attributes["stride"]),
}
