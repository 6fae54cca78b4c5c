"""C code for `program`, with one statement per operation of a neuron's equation."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hdlif.deploy.c.backward_text import BackwardText
from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import (
    Integers,
    Scaled,
    fraction_for,
    fraction_of_factors,
    held,
    integers_of,
    registers,
)
from hdlif.deploy.c.stage_text import StageText
from hdlif.deploy.c.text import literal
from hdlif.graph.graph import Node
from hdlif.graph.ops.program import program_of, row_names

_OPERATIONS: Mapping[str, Callable[..., str]] = {
    "add": lambda a, b: f"{a} + {b}",
    "subtract": lambda a, b: f"{a} - {b}",
    "multiply": lambda a, b: f"{a} * {b}",
    "negative": lambda a: f"-{a}",
    "absolute": lambda a: f"fabsf({a})",
    "floor": lambda a: f"floorf({a})",
    "minimum": lambda a, b: f"{b} < {a} ? {b} : {a}",
    "maximum": lambda a, b: f"{b} > {a} ? {b} : {a}",
    "greater": lambda a, b: f"{a} > {b} ? 1.0f : 0.0f",
    "greater_equal": lambda a, b: f"{a} >= {b} ? 1.0f : 0.0f",
    "step": lambda a: f"{a} >= 0.0f ? 1.0f : 0.0f",
    "select": lambda a, b, c: f"{a} != 0.0f ? {b} : {c}",
}


def entry(s: StageText, node: Node) -> str:
    program, own = program_of(node), s.file.names[node.name]
    if 0 not in program.needed:
        s.line(f"(void){s.number(node, 0)};")
    registers = _registers(s, node, f"{own}__")
    for name, register in zip(program.states, program.after, strict=True):
        s.line(f"{s.state_at(node, name)} = {registers[register]};")
    spike = registers[program.spike]
    return spike if s.value(node.name).max_code is None else f"(uint8_t)({spike} != 0)"


def _registers(s: StageText, node: Node, local: str) -> list[str]:
    """Declare local variables for needed registers, and return C expressions for all registers."""
    program = program_of(node)
    registers = [s.number(node, 0)]
    for register, name in enumerate(program.states, 1):
        if register in program.needed:
            s.line(f"const NUMBER {local}{register} = {s.state_at(node, name)};")
        registers.append(f"{local}{register}")
    for register, key in enumerate(row_names(program), 1 + len(program.states)):
        registers.append(s.row(node, key) if register in program.needed else "")
    for register, instruction in enumerate(program.instructions, program.first):
        if register not in program.needed:
            registers.append("")
        elif instruction.operation == "constant":
            registers.append(literal(instruction.value))
        else:
            if instruction.operation in ("absolute", "floor"):
                s.file.includes.add("math.h")
            text = _OPERATIONS[instruction.operation](*(registers[i] for i in instruction.operands))
            s.line(f"const NUMBER {local}{register} = {text};")
            registers.append(f"{local}{register}")
    return registers


_DERIVATIVES: Mapping[str, Callable[..., tuple[str | None, ...]]] = {
    "add": lambda g, a, b: (g, g),
    "subtract": lambda g, a, b: (g, f"-{g}"),
    "multiply": lambda g, a, b: (f"{g} * {b}", f"{g} * {a}"),
    "negative": lambda g, a: (f"-{g}",),
    "absolute": lambda g, a: (f"{a} > 0.0f ? {g} : {a} < 0.0f ? -{g} : 0.0f",),
    "minimum": lambda g, a, b: (f"{b} < {a} ? 0.0f : {g}", f"{b} < {a} ? {g} : 0.0f"),
    "maximum": lambda g, a, b: (f"{b} > {a} ? 0.0f : {g}", f"{b} > {a} ? {g} : 0.0f"),
    "select": lambda g, chosen, a, b: (None, f"{chosen} != 0.0f ? {g} : 0.0f", f"{chosen} != 0.0f ? 0.0f : {g}"),
}


def backward(s: BackwardText, node: Node) -> None:
    """Write the derivatives of all operations in reverse order, as in `hdlif.graph.equations.gradients`."""
    program, local = program_of(node), f"{s.file.names[node.name]}__r"
    rows = dict(enumerate(row_names(program), 1 + len(program.states)))
    with s.by_entry(*rows.values()):
        registers = _registers(s, node, local)
        found, count = {program.spike: f"{s.own}[i]"}, program.registers
        for register in range(program.registers - 1, program.first - 1, -1):
            instruction = program.instructions[register - program.first]
            derivative = _DERIVATIVES.get(instruction.operation)
            if derivative is None or register not in found:
                continue
            gradients = derivative(found[register], *(registers[i] for i in instruction.operands))
            for operand, gradient in zip(instruction.operands, gradients, strict=True):
                if gradient is None:
                    continue
                s.line(f"const NUMBER {local}{count} = {gradient};")
                if operand in found:
                    count += 1
                    s.line(f"const NUMBER {local}{count} = {found[operand]} + {local}{count - 1};")
                found[operand] = f"{local}{count}"
                count += 1
        s.give(0, found.get(0, "0.0f"))
        for register, key in rows.items():
            s.add(key, found.get(register, "0.0f"))


def fixed_entry(k: Integers, network: Any, node: Node, x: Sequence[Scaled], states: dict[str, Any]) -> Scaled:
    program = program_of(node)
    # store each as a 32-bit number, so no compiler reports a comparison as superfluous
    given: list[Scaled | None] = [Scaled(k.kept(x[0].integer), x[0].fraction) if 0 in program.needed else None]
    for name in program.states:
        is_read = len(given) in program.needed
        given.append(Scaled(k.kept(states[name]), network.state_fraction(node, name)) if is_read else None)
    for key in row_names(program):
        rows = node.tensors[key]
        fraction = fraction_of_factors(rows, 15)
        is_read = len(given) in program.needed
        given.append(Scaled(k.kept(k.rows(key, integers_of(rows, fraction))), fraction) if is_read else None)
    wanted = [
        instruction if register in program.needed else None
        for register, instruction in enumerate(program.instructions, program.first)
    ]
    most = [fraction_for(network.seen.registers[node.name, register]) for register in range(program.registers)]
    found = registers(k, wanted, given, most)
    for name, register in zip(program.states, program.after, strict=True):
        after = held(k, found[register], network.state_fraction(node, name))
        states[name] = after.integer
    spike = found[program.spike]
    assert spike is not None
    if network.values[node.name].max_code is not None:
        return Scaled(k.select(spike.integer, k.constant(1), k.constant(0)), 0)
    return spike


EMITTER = Emitter("program", entry=entry, backward=backward, fixed_entry=fixed_entry, is_in_answers=True)
