"""Lowerings of neurons, and the PyTorch and ONNX implementations of `program`."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from hdlif.deploy.lowering import ONE, Floats, Lowerer, Wire, compact, f64, lowers, repeated, stored
from hdlif.deploy.mem_bn_folding import LEAST_GAIN, fold_mem_bn, fold_mem_bn_on_current
from hdlif.deploy.onnx_translation import Translation, Value
from hdlif.deploy.onnx_writer import Writer
from hdlif.deploy.op_form import OpForm, Parts
from hdlif.deploy.ops.quantise import quantised
from hdlif.errors import EquationError, LoweringError
from hdlif.graph.equations import Program, to_attributes
from hdlif.graph.graph import Node
from hdlif.graph.ops.program import program_of, row_names
from hdlif.nn import HDLIF, MemBN, SteppedNeuron
from hdlif.nn.state import stack_steps


@lowers(SteppedNeuron, derived=True)
def _neuron(lowerer: Lowerer, module: SteppedNeuron, wire: Wire, path: str) -> Wire:
    """Lower a neuron's traced step and spike quantiser."""
    if not module.runs_its_equation():
        raise LoweringError(
            f"{path}: {type(module).__name__} overrides forward(), which its equation does not describe; write it "
            "as a step of an EquationNeuron"
        )
    if isinstance(module, HDLIF) and module.norm is not None:
        spike = _mem_bn(lowerer, module, module.norm, wire, path)
    else:
        spike = _spike(lowerer, module, lowerer.applied(wire), path)
    return quantised(lowerer, module.quantizer, spike, path)


def _mem_bn(lowerer: Lowerer, module: HDLIF, norm: MemBN, wire: Wire, path: str) -> Wire:
    """Lower HD-LIF with Mem-BN folded on the state, or on the current if an α* is too small.

    `hdlif.deploy.mem_bn_folding` defines both forms.
    """
    rows = [
        repeated(f64(values).reshape(len(values), -1), lowerer.time_steps)
        for values in (module.leak.values(), module.threshold.values(), *norm.affine())
    ]
    on_state = (rows[2] >= LEAST_GAIN).all()
    folded = fold_mem_bn(*rows) if on_state else fold_mem_bn_on_current(*rows)
    if (folded.scale == 1).all() and (folded.shift == 0).all():
        current = lowerer.applied(wire)
    else:
        current = lowerer.affine(wire, f"{path}.norm", folded.scale, folded.shift)
    carried = {"leak": folded.leak, "threshold": folded.threshold}
    return _spike(lowerer, module, current, path, gain=compact(folded.gain), rows=carried)


def _spike(
    lowerer: Lowerer,
    module: SteppedNeuron,
    current: Wire,
    path: str,
    *,
    gain: Floats = ONE,
    rows: dict[str, Floats] | None = None,
) -> Wire:
    """Lower a neuron's step, and multiply its spikes by `gain`.

    A spike that always equals either 0 or a row becomes the code 0 or 1, with the row as the scale.

    Args:
        rows: replacements for the neuron's own parameters, at least T rows each.
    """
    if rows is None:
        rows = {name: repeated(f64(row), lowerer.time_steps) for name, row in module.row_values().items()}
    try:
        program, values = module.traced({name: torch.from_numpy(row) for name, row in rows.items()})
    except EquationError as error:
        raise LoweringError(f"{path}: {error}") from error
    of_steps = {name: compact(f64(row)) for name, row in values.items()}
    if program.emits_steps and not program.is_binary(program.spike):
        program, name = program.without_size()
        gain = gain * of_steps[name]
    return lowerer.emit(
        "program",
        path,
        current,
        pending=gain,
        kind=type(module).__name__,
        **({} if module.fires else {"fires": False}),
        **to_attributes(program),
        **{key: stored(of_steps[name]) for key, name in zip(row_names(program), program.rows, strict=True)},
    )


def torch_form(parts: Parts, inputs: tuple[Tensor, ...]) -> Tensor:
    (x,), program = inputs, program_of(parts.node)
    rows = [parts.rows(key, x.ndim) for key in row_names(program)]
    # A neuron without states is constant in time if its current is.
    count = len(parts.steps) if program.states else max(map(len, (x, *rows)))
    x, *rows = (value.expand(count, *value.shape[1:]) for value in (x, *rows))
    kept = [parts.states[name] for name in program.states]
    emitted = []
    for k in range(count):
        spike, *kept = _stepped(program, x[k], kept, [row[k] for row in rows])
        emitted.append(spike)
    parts.states.update(zip(program.states, kept, strict=True))
    return stack_steps(emitted)


def _stepped(program: Program, current: Tensor, states: Sequence[Tensor], rows: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Run one step of a program, and return the spike and the new states."""
    registers = [current, *states, *rows]
    for instruction in program.instructions:
        if instruction.operation == "constant":
            registers.append(current.new_full((), instruction.value))
        else:
            registers.append(_OPERATIONS[instruction.operation](*(registers[i] for i in instruction.operands)))
    return tuple(registers[i].expand_as(current) for i in (program.spike, *program.after))


_OPERATIONS: Mapping[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
    "negative": torch.neg,
    "absolute": torch.abs,
    "floor": torch.floor,
    "minimum": lambda a, b: torch.where(b < a, b, a),
    "maximum": lambda a, b: torch.where(b > a, b, a),
    "greater": lambda a, b: (a > b).to(torch.promote_types(a.dtype, b.dtype)),
    "greater_equal": lambda a, b: (a >= b).to(torch.promote_types(a.dtype, b.dtype)),
    "step": lambda x: (x >= 0).to(x.dtype),
    "select": lambda chosen, a, b: torch.where(chosen != 0, a, b),
}


def _onnx(translation: Translation, node: Node) -> Value:
    clock, writer, program = translation.clock, translation.writer, program_of(node)
    x = translation.values[node.inputs[0]]
    states = [clock.state(node, name) for name in program.states]
    # Initial states are single numbers, without the current's shape.
    from_start = program.following([0])
    steps = []
    for k in range(clock.steps):
        row = translation.row(node, k)
        current = x.at(writer, k, clock.steps)
        registers = [current, *states, *(row(key) for key in row_names(program))]
        for instruction in program.instructions:
            if instruction.operation == "constant":
                registers.append(writer.constant(instruction.value))
                continue
            operands = [registers[i] for i in instruction.operands]
            registers.append(_ONNX_OPERATIONS[instruction.operation](writer, f"{node.name}@", operands))
        # a value that depends only on rows does not have the current's shape
        shaped = from_start if k == 0 else program.varying
        spike, *states = (_shaped(writer, registers, i, shaped) for i in (program.spike, *program.after))
        steps.append(spike)
    for name, value in zip(program.states, states, strict=True):
        clock.leave(node, name, value)
    if clock.steps == 1:
        return Value(node.name, False, whole=steps[0])
    return Value(node.name, True, steps=steps)


def _shaped(writer: Writer, registers: Sequence[str], register: int, shaped: frozenset[int]) -> str:
    if register in shaped:
        return registers[register]
    nothing = writer.op("Mul", registers[0], writer.constant(0.0))
    return writer.op("Add", registers[register], nothing)


def _operation(kind: str) -> Callable[[Writer, str, Sequence[str]], str]:
    return lambda w, name, x: w.op(kind, *x, name=name)


def _comparison(kind: str) -> Callable[[Writer, str, Sequence[str]], str]:
    return lambda w, name, x: w.op("Cast", w.op(kind, *x, name=name), name=name, to=1)


def _step(w: Writer, name: str, x: Sequence[str]) -> str:
    return w.op("Cast", w.op("GreaterOrEqual", x[0], w.constant(0.0), name=name), name=name, to=1)


def _select(w: Writer, name: str, x: Sequence[str]) -> str:
    return w.op("Where", w.op("Cast", x[0], name=name, to=9), *x[1:], name=name)


def _difference(w: Writer, name: str, x: Sequence[str]) -> str:
    return x[0] if w.is_zero(x[1]) else w.op("Sub", *x, name=name)


def _maximum(w: Writer, name: str, x: Sequence[str]) -> str:
    """Return the maximum, using Relu if one operand is 0, because ONNX engines fuse Relu into convolutions."""
    others = [one for one in x if not w.is_zero(one)]
    return w.op("Relu", *others, name=name) if len(others) == 1 else w.op("Max", *x, name=name)


_ONNX_OPERATIONS: Mapping[str, Callable[[Writer, str, Sequence[str]], str]] = {
    "add": _operation("Add"),
    "subtract": _difference,
    "multiply": _operation("Mul"),
    "negative": _operation("Neg"),
    "absolute": _operation("Abs"),
    "floor": _operation("Floor"),
    "minimum": _operation("Min"),
    "maximum": _maximum,
    "greater": _comparison("Greater"),
    "greater_equal": _comparison("GreaterOrEqual"),
    "step": _step,
    "select": _select,
}

FORM = OpForm("program", torch=torch_form, onnx=_onnx)
