"""Ops around a neuron are computed in one way over a row, and give the bits that they give one by one."""

import numpy as np

from cases import every
from deployed_graphs import Builder, random_input
from hdlif.graph.artefact import INPUT
from hdlif.graph.equations import Instruction, Program
from hdlif.runtime import Session
from random_programs import random_program
from same_bits import assert_same_bits, reference_values


def chain(b: Builder, neuron: str, *, read_again: bool = False) -> tuple[str, ...]:
    """Two convolutions, an affine, the sum, a neuron and a quantiser of graded spikes; the names of all behind them."""
    other = b.conv(INPUT, 5, encoding="float32")
    affine = b.affine(b.conv(INPUT, 5, encoding="float32"), per_step=True)
    total = b.add("add", affine, other)
    fired = getattr(b, neuron)(total, per_channel=True)
    names = (affine, total, fired)
    if neuron not in BINARY:
        names = (*names, b.quantise(fired))
    return (*names, b.add("add", names[-1], total)) if read_again else names


BINARY = ("glif", "lif")


@every(
    "neuron",
    "kernel",
    of=[("hd_lif", "fire"), ("parallel", "fire"), ("glif", "equation"), ("graded_lif", "equation"), ("lif", "lif")],
)
def test_what_is_computed_in_one_pass(neuron: str, kernel: str) -> None:
    """All of it, by a kernel or by its operations; but LIF has a kernel for itself alone."""
    b = Builder((3, 6, 6), 3, 2)
    names = chain(b, neuron)
    graph = b.graph(names[-1])
    assert Session(graph).passes == [(kernel, names[2:] if neuron == "lif" else names)]
    assert_same_bits(graph, random_input(graph, 4, 2))


@every(neuron=["hd_lif", "glif", "graded_lif"])
def test_what_another_node_reads_is_given_on(neuron: str) -> None:
    b = Builder((3, 6, 6), 3, 2)
    names = chain(b, neuron, read_again=True)
    graph = b.graph(names[-1])
    assert [joined for _, joined in Session(graph).passes] == [names[:-1]]
    assert_same_bits(graph, random_input(graph, 4, 2))


@every("channels", "size", of=[(1, (7, 5)), (37, (2, 3)), (300, (4, 5))], seed=range(4))
def test_any_equation_and_its_neighbours(channels: int, size: tuple[int, int], seed: int) -> None:
    """Channels that a block of registers has once, often, or in part; equations that exchange their states."""
    b = Builder((2, *size), 3, seed)
    other = b.conv(INPUT, channels)
    total = b.add("add", other, b.affine(b.conv(INPUT, channels, encoding="float32"), per_step=True))
    program = random_program(np.random.default_rng(seed))
    fired = b.program(total, program=program, per_channel=True)
    last = fired if program.is_binary(program.spike) else b.quantise(b.affine(fired, per_step=True))
    graph = b.graph(last)
    ((kernel, joined),) = Session(graph).passes
    assert kernel == "equation"
    assert len(joined) == (3 if program.is_binary(program.spike) else 5)
    assert_same_bits(graph, random_input(graph, 4, 2))


def quantising(bound: float) -> Program:
    """A neuron whose spike is rounded and bounded as a quantiser's are, by its own equation."""
    steps = [("subtract", (0, 1)), ("constant", ()), ("maximum", (4, 3)), ("maximum", (4, 5)), ("multiply", (6, 2))]
    found = [Instruction(name, operands) for name, operands in steps]
    found += [Instruction("constant", (), 0.5), Instruction("add", (7, 8)), Instruction("floor", (9,))]
    found += [Instruction("constant", (), bound), Instruction("minimum", (11, 10))]
    return Program((), ("threshold", "inverse"), tuple(found), 12, ())


@every(bound=[15.0, 300.0])
def test_an_equation_that_rounds_by_itself_gives_floats(bound: float) -> None:
    """No code of a quantiser: the kernel that writes those is not for it."""
    b = Builder((3, 4, 4), 2, 1)
    graph = b.graph(b.program(b.affine(INPUT), program=quantising(bound)))
    assert [kernel for kernel, _ in Session(graph).passes] == ["equation"]
    assert_same_bits(graph, 100 * random_input(graph, 2, 2))


def test_the_sign_of_a_constant_zero_counts() -> None:
    b = Builder((1, 1, 2), 1, 1)
    found = (Instruction("subtract", (0, 1)), Instruction("constant", (), -0.0), Instruction("maximum", (3, 2)))
    fired = b.program(INPUT, program=Program((), ("threshold",), found, 4, ()))
    graph = b.graph(fired)
    x = np.array([-9.0, 9.0], np.float32).reshape(1, 1, 1, 1, 2)
    seen, expected = Session(graph).values(x)[fired], reference_values(graph, x, 1)[fired]
    assert np.signbit(expected).any()
    np.testing.assert_array_equal(np.signbit(seen), np.signbit(expected))


def test_a_second_equation_has_a_pass_of_its_own() -> None:
    b = Builder((3, 4, 4), 3, 2)
    first = b.glif(b.affine(INPUT))
    second = b.glif(b.affine(first))
    graph = b.graph(b.quantise(second))
    passes = [names for _, names in Session(graph).passes]
    assert [first in names for names in passes] == [True, False]
    assert [second in names for names in passes] == [False, True]
    assert_same_bits(graph, random_input(graph, 4, 2))
