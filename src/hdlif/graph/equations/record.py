"""Conversion between programs and node attributes."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from hdlif.errors import EquationError, brief
from hdlif.graph.equations.program import MAX_ROWS, MAX_STATES, OPERATIONS, Instruction, Program

KEYS = ("after", "operations", "rows", "spike", "states")
LONGEST_NAME = 200


def to_attributes(program: Program) -> dict[str, Any]:
    """Return a program as JSON-serialisable attributes of a graph node.

    Each entry of `operations` is ["constant", value] or [name, operand, ...]. Surrogates are omitted, because only
    training uses them.

    >>> from hdlif.graph.equations import from_attributes, to_attributes
    >>> from hdlif.nn import ParallelHDLIF
    >>> program = ParallelHDLIF(time_steps=4).program()
    >>> attributes = to_attributes(program)
    >>> from_attributes(attributes).text() == program.text()
    True

    Args:
        program: the neuron's program.
    """
    operations = [
        ["constant", instruction.value]
        if instruction.operation == "constant"
        else [instruction.operation, *instruction.operands]
        for instruction in program.instructions
    ]
    return {
        "after": program.after,
        "operations": tuple(operations),
        "rows": program.rows,
        "spike": program.spike,
        "states": program.states,
    }


def from_attributes(attributes: Mapping[str, Any]) -> Program:
    """Parse a program from the untrusted attributes of a node.

    Equal attributes are parsed only once. The cache key is the JSON text of the attributes, which distinguishes 1 from
    1.0 and true, and 0.0 from -0.0.

    Args:
        attributes: the result of `to_attributes`.
    Raises:
        EquationError: an attribute is invalid; the message contains its name.
    """
    try:
        text = json.dumps([attributes[key] for key in KEYS])
    except (TypeError, ValueError, RecursionError):
        # No file contains such a value; the parser reports it.
        return _parsed(attributes)
    return _of_text(text)


@lru_cache(maxsize=256)
def _of_text(text: str) -> Program:
    return _parsed(dict(zip(KEYS, json.loads(text), strict=True)))


def _parsed(attributes: Mapping[str, Any]) -> Program:
    states = _names(attributes, "states", MAX_STATES)
    if not all(name.isidentifier() for name in states):
        raise EquationError(f"states = {brief(list(states))}; the name of a state must be an identifier")
    instructions = tuple(_instruction(entry) for entry in _list(attributes, "operations"))
    return Program(
        states,
        _names(attributes, "rows", MAX_ROWS),
        instructions,
        _register("spike", attributes["spike"]),
        tuple(_register("after", register) for register in _list(attributes, "after")),
    )


def _instruction(entry: object) -> Instruction:
    if not isinstance(entry, list | tuple) or not entry or not isinstance(entry[0], str) or entry[0] not in OPERATIONS:
        raise EquationError(f"operations contain {brief(entry)}; each must be [name, operand, ...]")
    name, *operands = entry
    if name == "constant":
        if len(operands) != 1 or not isinstance(operands[0], int | float) or isinstance(operands[0], bool):
            raise EquationError(f'operations contain {brief(entry)}; a constant must be ["constant", number]')
        try:
            return Instruction(name, (), float(operands[0]))
        except OverflowError as error:
            raise EquationError(f"operations contain {brief(entry)}; a constant must be a finite float32") from error
    return Instruction(name, tuple(_register("operations", operand) for operand in operands))


def _list(attributes: Mapping[str, Any], key: str) -> list[Any]:
    value = attributes[key]
    if not isinstance(value, list | tuple):
        raise EquationError(f"{key} = {brief(value)}; it must be a list")
    return list(value)


def _names(attributes: Mapping[str, Any], key: str, most: int) -> tuple[str, ...]:
    names = _list(attributes, key)
    if len(names) > most or not all(
        isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable() for name in names
    ):
        raise EquationError(f"{key} = {brief(names)}; they must be up to {most} printable names")
    return tuple(names)


def _register(key: str, value: object) -> int:
    if type(value) is not int:
        raise EquationError(f"{key} contains {brief(value)}; a register must be an integer")
    return value
