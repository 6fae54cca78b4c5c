"""Lowering: a trained module becomes the graph of `artefact.format`, folded and in integer codes where it can be.

Each module type has one lowering, registered with `lowers`. A lowering takes the value that enters the module and
returns the value that leaves it. A value carries a `scale` per time step that has not been applied yet (the size of a
spike code, the divisor of a mean): the next affine absorbs it, so that what travels are integers.

Folding, with batch norm y = g·(x - μ) + b, g = weight/√(σ² + eps), behind a convolution of codes W = a·w on spike
codes s = r·c:

    y = g·(a·r·Σ w·c - μ) + b = (g·a·r)·Σ w·c + (b - g·μ)

so w stays in {-1, 0, 1}, c stays an integer, and the one affine has scale g·a·r [T or 1, C] and shift b - g·μ [1, C].
Example: a = 0.5, r = 0.25, g = 2, μ = 1, b = 0.5 and Σ w·c = 6: y = 0.25·6 - 1.5 = 0, and directly
2·(0.5·0.25·6 - 1) + 0.5 = 0.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdlif.artefact import Graph, InputRecord, Node, Value, infer_values
from hdlif.artefact.roles import by_place
from hdlif.deploy.folding import LEAST_GAIN, fold_mem_bn, fold_mem_bn_on_current
from hdlif.equations import to_attributes
from hdlif.errors import EquationError, LoweringError
from hdlif.models import (
    AttentionBlockI,
    AttentionBlockII,
    Grid,
    Network,
    PreActBlock,
    ReversibleBlock,
    ReversibleSequential,
)
from hdlif.nn import (
    HDLIF,
    SECA,
    BatchNorm2d,
    Binary,
    Integer,
    MemBN,
    QuantConv2d,
    QuantLinear,
    Sequential,
    SpikeQuantizer,
    SteppedNeuron,
    WeightQuantizer,
)
from hdlif.ops import OPS
from hdlif.ops.graph import INPUT
from hdlif.ops.program import row_names
from hdlif.ops.weights import Encoding

Floats = NDArray[np.float64]
ONE: Floats = np.ones((1, 1))
COARSEST_GRID = 2.0**-13
"""Grid that may be left out: half of it is below 1e-4, to which a deployed network and torch agree in any case."""


@dataclass(frozen=True)
class Wire:
    """A value on its way: `scale` [R or 1, C or 1] times the graph's value `name`; the scale is not applied yet."""

    name: str
    scale: Floats


Lowering = Callable[["Lowerer", Any, Wire, str], Wire]
_LOWERINGS: dict[type[nn.Module], Lowering] = {}


def lowers(*kinds: type[nn.Module]) -> Callable[[Lowering], Lowering]:
    """Register the lowering of module types; it is called with (lowerer, module, incoming wire, module path)."""

    def register(lowering: Lowering) -> Lowering:
        _LOWERINGS.update(dict.fromkeys(kinds, lowering))
        return lowering

    return register


class Lowerer:
    """Collects the nodes, and the type of every value, while the modules are walked."""

    def __init__(self, time_steps: int, record: InputRecord) -> None:
        self.time_steps = time_steps
        self.nodes: list[Node] = []
        self.values: dict[str, Value] = {INPUT: Value(record.shape)}

    def lower(self, module: nn.Module, wire: Wire, path: str) -> Wire:
        """Lower `module`, whose path in the network is `path`, behind `wire`."""
        # Whatever its class, a step is traced.
        lowering: Lowering | None = _LOWERINGS.get(type(module))
        if isinstance(module, SteppedNeuron):
            lowering = _neuron
        if lowering is None:
            known = ", ".join(sorted({"EquationNeuron", *(kind.__name__ for kind in _LOWERINGS)}))
            raise LoweringError(f"{path}: {type(module).__name__} has no deployed form; choose among {known}")
        return lowering(self, module, wire, path)

    def emit(self, op: str, name: str, *inputs: Wire, pending: Floats = ONE, **fields: Any) -> Wire:
        """Append a node; fields that are arrays are its tensors, others its attributes. `pending` scales its value."""
        tensors = {key: value for key, value in fields.items() if isinstance(value, np.ndarray)}
        attributes = {key: value for key, value in fields.items() if key not in tensors}
        node = Node(op, name, tuple(wire.name for wire in inputs), attributes, tensors)
        values = tuple(self.values[wire.name] for wire in inputs)
        self.values[name] = OPS[op].infer(node, values, self.time_steps)
        self.nodes.append(node)
        return Wire(name, pending)

    def affine(self, wire: Wire, name: str, scale: Floats, shift: Floats) -> Wire:
        """scale·wire + shift, both [T or 1, C], absorbing the wire's own scale."""
        rows = max(map(len, (scale, shift, wire.scale)))
        scale = held(scale, rows) * held(wire.scale, rows)
        return self.emit("affine", name, wire, **_affine_rows(scale, held(shift, rows)))

    def applied(self, wire: Wire) -> Wire:
        """The same value with its scale applied."""
        if (wire.scale == 1).all():
            return wire
        channels = self.values[wire.name].shape[0]
        return self.affine(wire, f"{wire.name}.scaled", np.ones((1, channels)), np.zeros((1, channels)))

    def one_scale(self, wire: Wire) -> Wire:
        """The same value with one scale for all channels, which a weighted sum over them can pass on."""
        return wire if wire.scale.shape[1] == 1 else self.applied(wire)


def held(rows: Floats, count: int) -> Floats:
    """The first `count` of rows whose last one holds for ever."""
    return rows[np.minimum(np.arange(count), len(rows) - 1)]


def _compact(rows: Floats) -> Floats:
    """Rows [R, C] with one column where all channels agree, and one row where all steps do."""
    rows = rows[:, :1] if (rows == rows[:, :1]).all() else rows
    return rows[:1] if (rows == rows[:1]).all() else rows


def _stored(rows: Floats) -> NDArray[np.float32]:
    return np.ascontiguousarray(rows, np.float32)


def _affine_rows(scale: Floats, shift: Floats) -> dict[str, Any]:
    scale, shift = np.broadcast_arrays(scale, shift)
    if (scale == scale[0]).all() and (shift == shift[0]).all():
        scale, shift = scale[:1], shift[:1]
    return {"scale": _stored(scale), "shift": _stored(shift)}


def lower(network: nn.Module, *, input: InputRecord, labels: tuple[str, ...], time_steps: int) -> Graph:
    """The deployed graph of a trained network, in eval mode: batch norms folded, spikes and low-bit weights as codes.

    Args:
        network: a module built of the types that have a lowering.
        input: shape, mean and std of the images it was trained on.
        labels: class names, in the order of the logits.
        time_steps: T.
    Raises:
        LoweringError: a module has no deployed form.
    """
    lowerer = Lowerer(time_steps, input)
    with torch.no_grad():
        output = lowerer.applied(lowerer.lower(network, Wire(INPUT, ONE), ""))
    graph = by_place(join_affines(Graph(tuple(lowerer.nodes), output.name, time_steps, input, labels)))
    infer_values(graph)
    return graph


def join_affines(graph: Graph) -> Graph:
    """The graph with each affine behind an affine joined into it: (x·a + b)·c + d = x·(a·c) + (b·c + d).

    Only where nothing else reads the first one, and not where the first one is constant in time and the second is
    not: apart, the first is computed once. The joined node bears the first one's name.
    """
    values = infer_values(graph)
    readers = [name for node in graph.nodes for name in node.inputs]
    nodes: dict[str, Node] = {}
    joined: dict[str, str] = {}
    for node in graph.nodes:
        node = replace(node, inputs=tuple(joined.get(name, name) for name in node.inputs))
        first = nodes.get(node.inputs[0])
        if (
            node.op == "affine"
            and first is not None
            and first.op == "affine"
            and readers.count(first.name) == 1
            and first.name != graph.output
            and (values[node.name].constant or not values[first.name].constant)
        ):
            count = max(len(n.tensors["scale"]) for n in (first, node))
            a, b, c, d = (
                held(n.tensors[role].astype(np.float64), count) for n in (first, node) for role in ("scale", "shift")
            )
            nodes[first.name] = replace(first, tensors=_affine_rows(a * c, b * c + d))
            joined[node.name] = first.name
            readers += [first.name] * (readers.count(node.name) - 1)
        else:
            nodes[node.name] = node
    return replace(graph, nodes=tuple(nodes.values()), output=joined.get(graph.output, graph.output))


def _f64(tensor: Tensor) -> Floats:
    return cast(Floats, tensor.detach().double().cpu().numpy())


@lowers(Network)
def _network(lowerer: Lowerer, module: Network, wire: Wire, path: str) -> Wire:
    for name in ("stem", "body", "head", "classifier"):
        wire = lowerer.lower(getattr(module, name), wire, name)
    return wire


@lowers(Sequential, nn.Sequential)
def _sequential(lowerer: Lowerer, module: nn.Module, wire: Wire, path: str) -> Wire:
    for name, child in module.named_children():
        wire = lowerer.lower(child, wire, f"{path}.{name}")
    return wire


@lowers(PreActBlock, AttentionBlockI)
def _pre_act_block(lowerer: Lowerer, module: PreActBlock, wire: Wire, path: str) -> Wire:
    stream = lowerer.applied(wire)
    h = stream
    for name in ("act1", "conv1", "bn1", "att1", "act2", "conv2", "bn2", "att2"):
        if hasattr(module, name):
            h = lowerer.lower(getattr(module, name), h, f"{path}.{name}")
    shortcut = lowerer.lower(module.shortcut, stream, f"{path}.shortcut")
    return lowerer.emit("add", f"{path}.add", lowerer.applied(h), lowerer.applied(shortcut))


@lowers(AttentionBlockII)
def _attention_block_2(lowerer: Lowerer, module: AttentionBlockII, wire: Wire, path: str) -> Wire:
    stream = lowerer.applied(wire)

    def branch(names: tuple[str, ...], h: Wire) -> Wire:
        for name in names:
            h = lowerer.lower(getattr(module, name), h, f"{path}.{name}")
        return lowerer.applied(h)

    h = branch(("act1", "conv1", "bn1"), stream)
    if not len(module.shortcut):
        h = lowerer.emit("add", f"{path}.join1", stream, h)
    h = branch(("att1",), h)
    h = lowerer.emit("add", f"{path}.join2", h, branch(("act2", "conv2", "bn2"), h))
    h = branch(("att2",), h)
    shortcut = lowerer.lower(module.shortcut, stream, f"{path}.shortcut")
    return lowerer.emit("add", f"{path}.add", h, lowerer.applied(shortcut))


@lowers(ReversibleBlock)
def _reversible_block(lowerer: Lowerer, module: ReversibleBlock, wire: Wire, path: str) -> Wire:
    return _streams(lowerer, {path: module}, wire, path)


@lowers(ReversibleSequential)
def _reversible_chain(lowerer: Lowerer, module: ReversibleSequential, wire: Wire, path: str) -> Wire:
    blocks = {f"{path}.{name}": cast(ReversibleBlock, block) for name, block in module.named_children()}
    return _streams(lowerer, blocks, wire, path)


def _streams(lowerer: Lowerer, blocks: dict[str, ReversibleBlock], wire: Wire, path: str) -> Wire:
    """Blocks one after the other, by their paths: parted once in front of them all, and joined once behind.

    The grid of a block's input is that of its branches, and left out with it: see `_grid`.
    """
    stream = lowerer.applied(wire)
    channels = lowerer.values[stream.name].shape[0]
    first = lowerer.emit("slice", f"{path}.x1", stream, begin=0, end=channels // 2)
    second = lowerer.emit("slice", f"{path}.x2", stream, begin=channels // 2, end=channels)
    for name, block in blocks.items():
        branch = lowerer.applied(lowerer.lower(block.f, second, f"{name}.f"))
        first = lowerer.emit("add", f"{name}.y1", first, branch)
        branch = lowerer.applied(lowerer.lower(block.g, first, f"{name}.g"))
        second = lowerer.emit("add", f"{name}.y2", second, branch)
    return lowerer.emit("concat", f"{path}.y", first, second)


@lowers(Grid)
def _grid(lowerer: Lowerer, module: Grid, wire: Wire, path: str) -> Wire:
    """Left out: the grid makes the way back exact, which a deployed network never goes.

    A current differs by up to half a step for each rounding left out, at the default of 2^-16 by 7.6e-6.
    """
    if module.step > COARSEST_GRID:
        raise LoweringError(
            f"{path}: a grid of {module.step} is too coarse to be left out; train with one of at most {COARSEST_GRID}"
        )
    return wire


@lowers(SECA)
def _seca(lowerer: Lowerer, module: SECA, wire: Wire, path: str) -> Wire:
    weight = held(_f64(module.weight), lowerer.time_steps)
    bias = np.zeros((1, 1)) if module.bias is None else held(_f64(module.bias)[:, None], lowerer.time_steps)
    weight, bias = (rows[:1] if (rows == rows[:1]).all() else rows for rows in (weight, bias))
    return lowerer.emit("seca", path, lowerer.applied(wire), weight=_stored(weight), bias=_stored(bias))


def encoding_of(quantizer: WeightQuantizer) -> Encoding:
    """The narrowest encoding that holds the quantiser's codes."""
    match quantizer:
        case Binary():
            return "binary"
        case Integer(bits=bits):
            return "int2" if bits == 2 else "int4" if bits <= 4 else "int8"
        case _:
            return "ternary"


def _weight(module: nn.Conv2d | nn.Linear) -> tuple[str, NDArray[Any], Floats]:
    """Encoding, codes (or fp32 weights) and the scale of W = scale·codes as [1, out or 1]."""
    if not isinstance(module, QuantConv2d | QuantLinear) or module.quantizer is None:
        return "float32", module.weight.detach().float().cpu().numpy(), ONE
    codes, scale = module.quantizer.codes(module.weight)
    return encoding_of(module.quantizer), codes.to(torch.int8).cpu().numpy(), _f64(scale).reshape(1, -1)


@lowers(nn.Conv2d, QuantConv2d)
def _conv2d(lowerer: Lowerer, module: nn.Conv2d, wire: Wire, path: str) -> Wire:
    if (
        module.groups != 1
        or set(module.dilation) != {1}
        or module.padding_mode != "zeros"
        or isinstance(module.padding, str)
    ):
        raise LoweringError(f"{path}: grouped, dilated or specially padded convolutions have no deployed form")
    wire = lowerer.one_scale(wire)
    encoding, weight, weight_scale = _weight(module)
    geometry: dict[str, Any] = {"stride": list(module.stride), "padding": list(module.padding)}
    out = lowerer.emit("conv2d", path, wire, encoding=encoding, role="body", weight=weight, **geometry)
    out = Wire(out.name, wire.scale * weight_scale)
    return out if module.bias is None else _biased(lowerer, out, path, module.bias)


@lowers(nn.Linear, QuantLinear)
def _linear(lowerer: Lowerer, module: nn.Linear, wire: Wire, path: str) -> Wire:
    wire = lowerer.one_scale(wire)
    encoding, weight, weight_scale = _weight(module)
    out = lowerer.emit("linear", path, wire, encoding=encoding, role="body", weight=weight)
    out = Wire(out.name, wire.scale * weight_scale)
    return out if module.bias is None else _biased(lowerer, out, path, module.bias)


def _biased(lowerer: Lowerer, wire: Wire, path: str, bias: Tensor) -> Wire:
    shift = _f64(bias).reshape(1, -1)
    return lowerer.affine(wire, f"{path}.bias", np.ones_like(shift), shift)


@lowers(BatchNorm2d)
def _batch_norm(lowerer: Lowerer, module: BatchNorm2d, wire: Wire, path: str) -> Wire:
    gain = _f64(module.weight) / np.sqrt(_f64(module.running_var) + module.eps)
    shift = _f64(module.bias) - gain * _f64(module.running_mean)
    if module.time_steps is None:
        return lowerer.affine(wire, path, gain[None], shift[None])
    return lowerer.affine(wire, path, held(gain, lowerer.time_steps), held(shift, lowerer.time_steps))


def _quantised(lowerer: Lowerer, quantizer: SpikeQuantizer | None, wire: Wire, path: str) -> Wire:
    """The codes of graded spikes; a gain that the spikes still wait for joins the step."""
    if quantizer is None:
        return wire
    step = float(quantizer.step)
    if not 0 < step < math.inf:
        raise LoweringError(
            f"{path}.quantizer: step = {step}; spikes are counted in steps above 0. A learned step has run away: "
            "go back to an earlier checkpoint, or train with a smaller learning rate or a fixed step"
        )
    return lowerer.emit(
        "quantise",
        f"{path}.quantizer",
        wire,
        pending=np.full((1, 1), step),
        bits=quantizer.bits,
        inverse_step=_stored(wire.scale / step),
        offset=quantizer.offset,
    )


def _mem_bn(lowerer: Lowerer, module: HDLIF, norm: MemBN, wire: Wire, path: str) -> Wire:
    """HD-LIF with Mem-BN, folded on the state where every α* allows it, else on the current; see `deploy.folding`."""
    rows = [
        held(_f64(values).reshape(len(values), -1), lowerer.time_steps)
        for values in (module.leak.values(), module.threshold.values(), *norm.affine())
    ]
    on_state = (rows[2] >= LEAST_GAIN).all()
    folded = fold_mem_bn(*rows) if on_state else fold_mem_bn_on_current(*rows)
    if (folded.scale == 1).all() and (folded.shift == 0).all():
        current = lowerer.applied(wire)
    else:
        current = lowerer.affine(wire, f"{path}.norm", folded.scale, folded.shift)
    carried = {"leak": folded.leak, "threshold": folded.threshold}
    return _spike(lowerer, module, current, path, gain=_compact(folded.gain), rows=carried)


def _neuron(lowerer: Lowerer, module: SteppedNeuron, wire: Wire, path: str) -> Wire:
    """The step as it is traced, and the codes of what it emits."""
    if isinstance(module, HDLIF) and module.norm is not None:
        spike = _mem_bn(lowerer, module, module.norm, wire, path)
    else:
        spike = _spike(lowerer, module, lowerer.applied(wire), path)
    return _quantised(lowerer, module.quantizer, spike, path)


def _spike(
    lowerer: Lowerer,
    module: SteppedNeuron,
    current: Wire,
    path: str,
    *,
    gain: Floats = ONE,
    rows: dict[str, Floats] | None = None,
) -> Wire:
    """The program of a step, `gain` times; a spike that is a row times 1 or 0 is that code, and the row its size.

    Args:
        rows: stand for the neuron's own parameters; T rows of each, or more.
    """
    if rows is None:
        rows = {name: held(_f64(row), lowerer.time_steps) for name, row in module.row_values().items()}
    try:
        program, values = module.traced({name: torch.from_numpy(row) for name, row in rows.items()})
    except EquationError as error:
        raise LoweringError(f"{path}: {error}") from error
    of_steps = {name: _compact(_f64(row)) for name, row in values.items()}
    if program.emits_steps and not program.is_binary(program.spike):
        program, name = program.without_size()
        gain = gain * of_steps[name]
    return lowerer.emit(
        "program",
        path,
        current,
        pending=gain,
        kind=type(module).__name__,
        **to_attributes(program),
        **{key: _stored(of_steps[name]) for key, name in zip(row_names(program), program.rows, strict=True)},
    )


def _two(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


@lowers(nn.AvgPool2d)
def _average_pool(lowerer: Lowerer, module: nn.AvgPool2d, wire: Wire, path: str) -> Wire:
    kernel, stride = _two(module.kernel_size), _two(module.stride)
    if _two(module.padding) != [0, 0] or module.ceil_mode:
        raise LoweringError(f"{path}: average pools with padding or ceil_mode have no deployed form")
    pooled = lowerer.emit("sum_pool", path, wire, kernel=kernel, stride=stride)
    return Wire(pooled.name, wire.scale / (kernel[0] * kernel[1]))


@lowers(nn.MaxPool2d)
def _max_pool(lowerer: Lowerer, module: nn.MaxPool2d, wire: Wire, path: str) -> Wire:
    if _two(module.dilation) != [1, 1] or module.ceil_mode:
        raise LoweringError(f"{path}: max pools with dilation or ceil_mode have no deployed form")
    wire = lowerer.applied(wire) if (wire.scale <= 0).any() else wire
    geometry: dict[str, Any] = {
        "kernel": _two(module.kernel_size),
        "stride": _two(module.stride),
        "padding": _two(module.padding),
    }
    return Wire(lowerer.emit("max_pool", path, wire, **geometry).name, wire.scale)


@lowers(nn.AdaptiveAvgPool2d)
def _global_pool(lowerer: Lowerer, module: nn.AdaptiveAvgPool2d, wire: Wire, path: str) -> Wire:
    if _two(module.output_size) != [1, 1]:
        raise LoweringError(f"{path}: adaptive pools to {module.output_size} have no deployed form; use 1")
    _, height, width = lowerer.values[wire.name].shape
    pooled = lowerer.emit("global_sum_pool", path, wire)
    return Wire(pooled.name, wire.scale / (height * width))


@lowers(nn.Flatten)
def _flatten(lowerer: Lowerer, module: nn.Flatten, wire: Wire, path: str) -> Wire:
    if len(lowerer.values[wire.name].shape) == 1:
        return wire
    wire = lowerer.one_scale(wire)
    return Wire(lowerer.emit("flatten", path, wire).name, wire.scale)


@lowers(nn.Identity)
def _identity(lowerer: Lowerer, module: nn.Identity, wire: Wire, path: str) -> Wire:
    return wire
