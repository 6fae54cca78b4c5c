"""The compiled runtime gives the bits of the NumPy reference: layers of any size, rows, and the largest numbers.

Every op by run and by step: tests/graph/ops/test_every_op.py. Networks: test_random_graphs.py.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import every
from deployed_graphs import Builder, random_input, residual_network, two_streams
from hdlif.graph.artefact import INPUT, Graph
from hdlif.graph.equations import Instruction, to_attributes
from hdlif.graph.ops.program import program_of
from hdlif.runtime import Session, reference
from same_bits import assert_same_bits, reference_values

ENCODINGS = ("float32", "ternary", "binary", "int2", "int4", "int8")
BOTH = (False, True)


def codes(b: Builder, *, bits: int = 4, inverse_step: float = 4.0) -> str:
    return b.quantise(INPUT, bits=bits, inverse_step=inverse_step)


@settings(max_examples=90)
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
        channels, out = draw(st.integers(1, 9)), draw(st.sampled_from([1, 3, 7, 8, 33, 41]))
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


@every(encoding=ENCODINGS, is_code=BOTH, out=[16, 37, 65, 112, 500, 1040])
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


@every(kind=["hd_lif", "parallel", "graded_lif", "glif", "soft", "hard"], is_code=BOTH, per_step=BOTH, per_channel=BOTH)
def test_neurons_and_their_states(kind: str, is_code: bool, per_step: bool, per_channel: bool) -> None:
    b = Builder((5, 4, 3), 3, 2)
    x = codes(b, bits=2, inverse_step=1.0) if is_code else INPUT
    graph = b.graph(neuron(b, kind, x, per_step=per_step, per_channel=per_channel))
    frames = random_input(graph, 5, 2)
    assert_same_bits(graph, frames)
    session, state, expected = Session(graph), None, None
    for frame in frames:
        (_, state), (_, expected) = session.step(frame, state), reference.step(graph, frame, expected)
        for name, potential in expected.items():
            np.testing.assert_array_equal(state[name], potential)


def test_rows_may_be_of_all_kinds_in_one_neuron() -> None:
    b = Builder((5, 4, 3), 3, 2)
    y = b.glif(INPUT, per_channel=True, beyond=1)
    tensors = b.nodes[0].tensors
    for i, key in enumerate(tensors):
        tensors[key] = tensors[key][: (1, 3, 4)[i % 3], : (1, 5)[i % 2]]
    graph = b.graph(y)
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


@every(kernel=[1, 3, 9, 15], per_step=BOTH, is_code=BOTH)
def test_attention(kernel: int, per_step: bool, is_code: bool) -> None:
    b = Builder((4, 7, 3), 3, 4)
    graph = b.graph(b.seca(codes(b) if is_code else INPUT, kernel=kernel, per_step=per_step, beyond=1))
    frames = random_input(graph, 5, 3)
    for factor in (1, 100, 1e30):
        assert_same_bits(graph, factor * frames)
    assert_same_bits(graph, frames[:1], 5)
    b = Builder((37, 16, 16), 2, 4)
    many = b.graph(b.seca(INPUT, kernel=kernel, per_step=per_step))
    assert_same_bits(many, random_input(many, 3, 2))


FUSED: dict[str, Callable[[Builder, str], str]] = {
    "hd_lif": lambda b, x: b.hd_lif(x, per_channel=True),
    "parallel": lambda b, x: b.parallel(x),
    "soft": lambda b, x: b.lif(x, per_channel=True),
    "hard": lambda b, x: b.lif(x, reset="hard", reset_potential=-0.3),
}


@every(make=FUSED, quantised=BOTH)
def test_an_equation_that_has_a_kernel_gives_the_bits_that_it_gives_without(
    make: Callable[[Builder, str], str], quantised: bool
) -> None:
    """Without, its spike is the larger of itself and itself, which no kernel knows; a kernel takes less work."""
    graphs = []
    for is_recognised in (True, False):
        b = Builder((5, 4, 3), 3, 2)
        x = make(b, b.add("add", b.affine(INPUT, per_step=True), b.conv(INPUT, 5, encoding="float32")))
        if not is_recognised:
            node = b.nodes[-1]
            program = program_of(node)
            again = Instruction("maximum", (program.spike, program.spike))
            if program.is_binary(program.spike):
                again = Instruction("multiply", (program.spike, program.spike))
            program = replace(program, instructions=(*program.instructions, again), spike=program.registers)
            b.nodes[-1] = replace(node, attributes={"kind": "Again", **to_attributes(program)})
        graphs.append(b.graph(b.quantise(x) if quantised else x))
    frames = random_input(graphs[0], 5, 2)
    for graph in graphs:
        assert_same_bits(graph, frames)
    fused, plain = (Session(graph) for graph in graphs)
    assert fused.run(frames).tobytes() == plain.run(frames).tobytes()
    work = [session._cost(2, 5, False, False, True)[1] for session in (fused, plain)]
    assert work[0] < work[1]


def check_program(data: st.DataObject) -> None:
    """Drawn over all operations, on reals and codes, in blocks that end within a pixel and beyond it."""
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


@settings(max_examples=75)
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
        # behind a neuron, for an affine that a layer of another kind reads is never passed on
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


@every("steps", "batch", "threads", of=[(1, 7, 2), (4, 1, 1), (4, 7, 2)], encoding=ENCODINGS)
def test_networks(encoding: str, steps: int, batch: int, threads: int) -> None:
    for graph in (
        residual_network(batch, time_steps=steps, encoding=encoding, width=9),
        two_streams(encoding=encoding, width=9),
    ):
        assert_same_bits(graph, random_input(graph, steps, batch), threads=threads)


@every(steps=[1, 3, 4, 9])
def test_a_constant_input_is_one_of_as_many_steps(steps: int) -> None:
    graph = residual_network()
    x = random_input(graph, 1, 2)
    assert_same_bits(graph, x, steps)
    np.testing.assert_array_equal(Session(graph).run(x, steps), reference.run(graph, np.repeat(x, steps, 0), steps))


@every(batch=[1, 5, 70])
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


@every("form", "encoding", of=[("dense", "float32"), ("surplus", "ternary"), ("codes", "ternary"), ("codes", "int8")])
def test_a_row_may_be_computed_in_parts(form: str, encoding: str) -> None:
    """The last of them shorter than the others."""
    b = Builder((24, 1, 700), 2, 1)
    x = {"dense": lambda: INPUT, "surplus": lambda: b.hd_lif(INPUT), "codes": lambda: codes(b)}[form]()
    graph = b.graph(b.conv(x, 64, kernel=(1, 65), padding=(0, 40), encoding=encoding))
    assert 2 * PART < 700 * 65 * 24 * 64
    assert_same_bits(graph, random_input(graph, 2, 2))


@every(op=["max_pool", "sum_pool"], is_code=BOTH)
def test_a_row_of_windows_may_be_computed_in_parts(op: str, is_code: bool) -> None:
    b = Builder((3, 1, 3500), 2, 1)
    padding = {"padding": (0, 20)} if op == "max_pool" else {}
    graph = b.graph(b.add(op, codes(b) if is_code else INPUT, kernel=(1, 641), stride=(1, 1), **padding))
    assert PART < 2860 * 3 * 641 * 8
    assert_same_bits(graph, random_input(graph, 2, 2))
