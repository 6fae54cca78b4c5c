"""The compiled runtime gives the bits of the NumPy reference: layers of any size, rows, and the largest numbers.

Every op by run and by step: tests/graph/ops/test_every_op.py. Any graphs: test_random_graphs.py.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import every, sampled
from deployed_graphs import Builder, random_input, residual_network
from hdlif.graph.artefact import INPUT, Graph
from hdlif.graph.equations import Instruction, Program
from hdlif.runtime import Session, reference
from random_programs import random_program
from runtime.ways_of_running import assert_runs_as_steps
from same_bits import assert_same_bits, reference_values

ENCODINGS = ("float32", "ternary", "binary", "int2", "int4", "int8")
BOTH = (False, True)


def codes(b: Builder, *, bits: int = 4, inverse_step: float = 4.0) -> str:
    return b.quantise(INPUT, bits=bits, inverse_step=inverse_step)


@settings(max_examples=60)
@given(data=st.data())
def test_convolutions(data: st.DataObject) -> None:
    draw = data.draw
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilation = draw(st.tuples(st.sampled_from([1, 1, 2, 3]), st.sampled_from([1, 1, 2, 4])))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding = tuple(draw(st.integers(0, r - 1)) for r in reach)
    sizes = [draw(st.integers(max(1, r - 2 * p), r + 5)) for r, p in zip(reach, padding, strict=True)]
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 7, 70]))
    if groups == 1:
        channels = draw(st.sampled_from([*range(1, 10), 40, 70]))  # the last two on tiles, where there are any
        out = draw(st.sampled_from([1, 3, 7, 8, 33, 41]))
    else:
        channels, out = (groups * draw(st.sampled_from(counts)) for counts in ([1, 2], [1, 3, 18]))
    b = Builder((channels, *sizes), 3, draw(st.integers(0, 99)))
    x = {"floats": INPUT, "spikes": b.hd_lif(INPUT), "codes": codes(b, bits=draw(st.sampled_from([1, 4, 8])))}
    y = b.conv(
        x[draw(st.sampled_from(list(x)))],
        out,
        kernel=kernel,
        dilation=dilation,
        groups=groups,
        stride=draw(st.tuples(st.integers(1, 5), st.integers(1, 5))),
        padding=padding,
        encoding=draw(st.sampled_from(ENCODINGS)),
    )
    graph = b.graph(y)
    frames = random_input(graph, 3, draw(st.sampled_from([1, 7])))
    if draw(st.booleans()):
        # steps that are alike: the sums of one are those of the step before and what its changes add
        frames[1:] = np.where(np.random.default_rng(0).random(frames[1:].shape) < 0.9, frames[:1], frames[1:])
    assert_same_bits(graph, frames, threads=draw(st.integers(1, 2)))


@sampled(12, encoding=ENCODINGS, is_code=BOTH, out=[16, 37, 65, 112, 500, 1040])
def test_wide_layers_take_all_blocks_of_lanes(encoding: str, is_code: bool, out: int) -> None:
    b = Builder((70, 2, 3), 2, 11)
    x = codes(b) if is_code else INPUT
    y = b.conv(x, out, kernel=(1, 2), padding=(0, 1), encoding=encoding)
    flat = b.linear(b.add("global_sum_pool", x), out, encoding=encoding)
    graph = b.graph(b.add("add", flat, b.add("global_sum_pool", y)))
    assert_same_bits(graph, random_input(graph, 2, 2))


@every(
    "encoding",
    "channels",
    "weight",
    of=[("ternary", 600, 1), ("ternary", 600, -1), ("int4", 40, -7), ("int8", 40, 127), ("int8", 40, -127)],
    bits=[1, 4, 8],
)
def test_saturated_codes_pass_through_many_partial_sums(encoding: str, channels: int, weight: int, bits: int) -> None:
    # 600 channels x 9 taps x 255 = 1,377,000: 42 times what an int16 holds; of int8, one product reaches 32,385
    b = Builder((1, 3, 3), 1, 8)
    x = b.quantise(b.conv(INPUT, channels, kernel=(1, 1), padding=(0, 0), encoding="binary"), bits=bits, offset=1.0)
    b.nodes[0].tensors["weight"][...] = 1
    y = b.conv(x, 40, encoding=encoding)
    b.nodes[2].tensors["weight"][...] = weight
    graph = b.graph(y)
    full = np.full((1, 1, 1, 3, 3), 1e6, np.float32)
    assert_same_bits(graph, full)
    centre = Session(graph).values(full)[y][0, 0, :, 1, 1]
    np.testing.assert_array_equal(centre, weight * channels * 9 * (2**bits - 1))


def test_codes_of_zero_give_zero() -> None:
    b = Builder((4, 5, 5), 2, 9)
    y = b.conv(b.quantise(INPUT), 11)
    graph = b.graph(y)
    nothing = np.full((1, 2, 4, 5, 5), -1, np.float32)
    assert_same_bits(graph, nothing)
    assert not Session(graph).values(nothing)[y].any()


@every(bits=range(1, 9), offset=[0.0, 0.5, 1.0])
def test_quantisers(bits: int, offset: float) -> None:
    b = Builder((5, 4, 3), 1, 4)
    graph = b.graph(b.quantise(INPUT, bits=bits, inverse_step=3.3, offset=offset))
    x = random_input(graph, 2, 2) * 30
    # ties, and values far beyond the codes
    x[0, 0, 0] = np.array([0.5 / 3.3, 1.5 / 3.3, 1e30, -1e30, np.inf, -np.inf, -0.0, 1e-40, 5, 7, 9, 11]).reshape(4, 3)
    name = graph.nodes[0].name
    np.testing.assert_array_equal(Session(graph, 1).values(x)[name], reference_values(graph, x, 2)[name], strict=True)


def neuron(b: Builder, kind: str, x: str, **rows: Any) -> str:
    if kind in ("soft", "hard"):
        return b.lif(x, reset=kind, reset_potential=-0.3, **rows)
    return str(getattr(b, kind)(x, **rows))


@sampled(
    12, kind=["hd_lif", "parallel", "graded_lif", "glif", "soft", "hard"], is_code=BOTH, per_step=BOTH, per_channel=BOTH
)
def test_neurons_and_their_states(kind: str, is_code: bool, per_step: bool, per_channel: bool) -> None:
    b = Builder((5, 4, 3), 3, 2)
    x = codes(b, bits=2, inverse_step=1.0) if is_code else INPUT
    graph = b.graph(neuron(b, kind, x, per_step=per_step, per_channel=per_channel))
    frames = random_input(graph, 5, 2)
    assert_same_bits(graph, frames)
    assert_runs_as_steps(graph, frames)


def rows_of_all_kinds(b: Builder) -> str:
    y = b.glif(INPUT, per_channel=True, beyond=1)
    tensors = b.nodes[0].tensors
    for i, key in enumerate(tensors):
        tensors[key] = tensors[key][: (1, 3, 4)[i % 3], : (1, b.shape[0])[i % 2]]
    return y


def test_rows_may_be_of_all_kinds_in_one_neuron() -> None:
    b = Builder((5, 4, 3), 3, 2)
    graph = b.graph(rows_of_all_kinds(b))
    assert_same_bits(graph, random_input(graph, 6, 2))


@every(op=["affine", "hd_lif", "parallel", "lif", "graded_lif", "glif", "quantise", "seca"])
def test_rows_beyond_the_trained_steps_are_used_and_the_last_one_holds(op: str) -> None:
    b = Builder((5, 4, 3), 3, 2)
    rows = {} if op in ("affine", "seca") else {"per_channel": True}
    y = getattr(b, op)(INPUT, per_step=True, beyond=2, **rows)
    graph = b.graph(y)
    x = random_input(graph, 7, 2)
    assert_same_bits(graph, x)
    held = {key: rows[:3] for key, rows in b.nodes[0].tensors.items()}
    without = replace(graph, nodes=(replace(graph.nodes[0], tensors=held), *graph.nodes[1:]))
    full, cut = Session(graph).values(x)[y], Session(without).values(x)[y]
    np.testing.assert_array_equal(full[:3], cut[:3])
    assert (full[3] != cut[3]).any()
    assert (full[4] != cut[4]).any()


@sampled(4, kernel=[1, 3, 9, 15], per_step=BOTH, is_code=BOTH)
def test_attention(kernel: int, per_step: bool, is_code: bool) -> None:
    b = Builder((4, 7, 3), 3, 4)
    graph = b.graph(b.seca(codes(b) if is_code else INPUT, kernel=kernel, per_step=per_step, beyond=1))
    frames = random_input(graph, 5, 3)
    for factor in (1, 100, 1e30):
        assert_same_bits(graph, factor * frames)
    assert_same_bits(graph, frames[:1], 5)
    b = Builder((37, 16, 16), 2, 4)
    many = b.graph(b.seca(INPUT, kernel=kernel, per_step=per_step))
    assert_same_bits(many, random_input(many, 2, 1))


def check_program(data: st.DataObject) -> None:
    """Draw over all operations, on reals and codes, in blocks that end within a pixel and after it."""
    draw = data.draw
    shape = draw(
        st.sampled_from([(1, 1, 1), (3, 5, 4), (7, 1, 80), (255, 1, 2), (256, 2, 1), (257, 1, 3), (700, 1, 2)])
    )
    b = Builder(shape, 3, draw(st.integers(0, 10_000)))
    x = codes(b) if draw(st.booleans()) else INPUT
    for _ in range(draw(st.integers(1, 2))):
        x = b.program(x, per_step=draw(st.booleans()), per_channel=draw(st.booleans()), beyond=draw(st.integers(0, 1)))
    graph = b.graph(x)
    assert_same_bits(graph, random_input(graph, 3, 2), threads=draw(st.integers(1, 2)))
    assert_same_bits(graph, random_input(graph, 1, 2), 4, threads=1)


@settings(max_examples=20)
@given(data=st.data())
def test_programs(data: st.DataObject) -> None:
    check_program(data)


@pytest.mark.slow
@settings(max_examples=300)
@given(data=st.data())
def test_many_programs(data: st.DataObject) -> None:
    check_program(data)


def test_an_affine_that_passes_its_input_on_may_be_the_output() -> None:
    b = Builder((3, 2, 2), 2, 0)
    y = b.passing(b.linear(b.add("flatten", INPUT), 4), identity=(True, True, False))
    graph = Graph(tuple(b.nodes), y, 2, b.record(), tuple("abcd"))
    x = random_input(graph, 5, 3)
    assert_same_bits(graph, x)
    assert_same_bits(graph, x[:1], 5)


def test_only_a_shift_of_minus_zero_keeps_the_sign_of_a_zero() -> None:
    for shift, sign in ((-0.0, True), (0.0, False)):
        b = Builder((1, 1, 1), 1, 0)
        y = b.passing(INPUT, identity=(True,))
        b.nodes[0].tensors["shift"][...] = shift
        # after a neuron, for an affine that a layer of another kind reads is never passed on
        graph = b.graph(b.hd_lif(y))
        x = np.full((1, 1, 1, 1, 1), -0.0, np.float32)
        for values in (Session(graph).values(x), reference_values(graph, x, 1)):
            assert np.signbit(values[y].item()) == sign


def test_codes_may_be_logits() -> None:
    b = Builder((3, 2, 2), 2, 0)
    x = b.lif(b.add("flatten", INPUT))
    graph = Graph(tuple(b.nodes), x, 2, b.record(), tuple("abcdefghijkl"))
    x = random_input(graph, 2, 2)
    np.testing.assert_array_equal(Session(graph).run(x), reference.run(graph, x), strict=True)


@every(batch=[5, 70])
def test_a_run_may_take_many_chunks(batch: int) -> None:
    # a chunk holds 16 steps, and 64 images unless one step has more
    graph = residual_network(1, width=2)
    x = random_input(graph, 35, batch)
    session = Session(graph, 2)
    logits = session.run(x)
    np.testing.assert_array_equal(logits, session.values(x)[graph.output])
    np.testing.assert_array_equal(session.run(x[:1], 35), session.run(np.repeat(x[:1], 35, axis=0)))
    np.testing.assert_array_equal(logits[:2], reference.run(graph, x)[:2])


PART = 2**25
"""Operations after which a run looks whether it is to go on, within a row too."""


@every("form", "encoding", of=[("dense", "float32"), ("surplus", "ternary"), ("codes", "int8")])
def test_a_row_may_be_computed_in_parts(form: str, encoding: str) -> None:
    """The last of them shorter than the others."""
    b = Builder((24, 1, 700), 2, 1)
    x = {"dense": lambda: INPUT, "surplus": lambda: b.hd_lif(INPUT), "codes": lambda: codes(b)}[form]()
    graph = b.graph(b.conv(x, 64, kernel=(1, 65), padding=(0, 40), encoding=encoding))
    assert 2 * PART < 700 * 65 * 24 * 64
    assert_same_bits(graph, random_input(graph, 1, 1))


@every(op=["max_pool", "sum_pool"], is_code=BOTH)
def test_a_row_of_windows_may_be_computed_in_parts(op: str, is_code: bool) -> None:
    b = Builder((3, 1, 3500), 2, 1)
    padding = {"padding": (0, 20)} if op == "max_pool" else {}
    graph = b.graph(b.add(op, codes(b) if is_code else INPUT, kernel=(1, 641), stride=(1, 1), **padding))
    assert PART < 2860 * 3 * 641 * 8
    assert_same_bits(graph, random_input(graph, 1, 1))


def chain(b: Builder, kind: str, *, read_again: bool) -> tuple[str, ...]:
    """Two convolutions, an affine, the sum, a neuron and a quantiser of graded spikes; names from the affine on."""
    other = b.conv(INPUT, 5, encoding="float32")
    affine = b.affine(b.conv(INPUT, 5, encoding="float32"), per_step=True)
    total = b.add("add", affine, other)
    fired = neuron(b, kind, total, per_channel=True)
    names = (affine, total, fired)
    if kind not in ("glif", "soft", "hard"):
        names = (*names, b.quantise(fired))
    return (*names, b.add("add", names[-1], total)) if read_again else names


@every(
    "kind",
    "kernel",
    of=[
        *(("hd_lif", "fire"), ("parallel", "fire"), ("glif", "equation"), ("graded_lif", "equation")),
        *(("soft", "lif"), ("hard", "lif")),
    ],
    read_again=[False, True],
)
def test_ops_around_a_neuron_run_in_one_pass_with_it(kind: str, kernel: str, read_again: bool) -> None:
    """LIF has a kernel for itself alone; another node may read what the pass keeps."""
    b = Builder((3, 6, 6), 3, 2)
    names = chain(b, kind, read_again=read_again)
    graph = b.graph(names[-1])
    together = names[:-1] if read_again else names
    assert Session(graph).passes == [(kernel, together[2:] if kernel == "lif" else together)]
    assert_same_bits(graph, random_input(graph, 4, 2))


@every("channels", "size", of=[(1, (7, 5)), (37, (2, 3)), (300, (4, 5))], seed=range(2))
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
