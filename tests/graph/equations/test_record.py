"""Programs as attributes of a node: read once, and another program where the node is another."""

import json
from dataclasses import replace
from typing import Any

import pytest

from cases import every
from hdlif.errors import ArtefactError, EquationError
from hdlif.graph.equations import Program, from_attributes, to_attributes
from hdlif.graph.ops import Node
from hdlif.graph.ops.program import program_of
from hdlif.nn import GLIF, HDLIF, AdaptiveHDLIF


def node(**changed: Any) -> Node:
    return Node("program", "act", ("input",), {"kind": "HDLIF", **to_attributes(HDLIF(2).program()), **changed})


@every(neuron=[HDLIF(2), GLIF(2), AdaptiveHDLIF(2)])
def test_a_program_is_read_as_it_was_written(neuron: HDLIF | GLIF | AdaptiveHDLIF) -> None:
    written = to_attributes(neuron.program())
    read = from_attributes(written)
    assert read.text() == neuron.program().text()
    # Out of a file tuples are lists.
    assert from_attributes(json.loads(json.dumps(written))) == read


def test_a_node_that_has_changed_is_another_program() -> None:
    one = node()
    before = program_of(one)
    # A node is parsed once.
    assert program_of(one) is before is program_of(node())
    (name, *operands), *others = one.attributes["operations"]
    other = replace(one, attributes={**one.attributes, "operations": ((("add", *operands)), *others)})
    assert name == "multiply"
    assert program_of(other).instructions[0].operation == "add"
    assert program_of(one) is before
    # In place too, which nobody should do.
    attributes = dict(one.attributes)
    changed = replace(one, attributes=attributes)
    assert program_of(changed) is before
    attributes["spike"] = 0
    assert program_of(changed).spike == 0


@every(spike=[True, 1.0, "1"])
def test_what_is_equal_to_a_register_is_none(spike: object) -> None:
    assert program_of(node(spike=1)).spike == 1
    with pytest.raises(ArtefactError, match="register"):
        program_of(node(spike=spike))


def test_zeros_of_both_signs_are_two_constants() -> None:
    def constant(value: float) -> Program:
        return program_of(node(rows=(), operations=(("constant", value),), spike=2, after=(2,)))

    assert [str(constant(value).instructions[0].value) for value in (0.0, -0.0)] == ["0.0", "-0.0"]
    for value in (True, float("nan"), 10**400, 10**5000):
        with pytest.raises(ArtefactError):
            constant(value)


def test_what_no_file_holds_is_refused_by_name() -> None:
    with pytest.raises(EquationError, match="spike holds"):
        from_attributes({**to_attributes(HDLIF(2).program()), "spike": object()})
