"""The compiled runtime gives the bits of the NumPy reference, op by op and network by network."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployed_graphs import Builder, random_input, residual_network, two_streams
from hdlif.graph.artefact import INPUT, Graph, Node
from hdlif.graph.equations import Instruction, Program, to_attributes
from hdlif.graph.ops.program import program_of
from hdlif.runtime import Session, reference
from random_programs import random_program
from same_bits import assert_same_bits, reference_values

ENCODINGS = ("float32", "ternary", "binary", "int2", "int4", "int8")


def codes(b: Builder, *, bits: int = 4, inverse_step: float = 4.0) -> str:
    return b.quantise(INPUT, bits=bits, inverse_step=inverse_step)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_conv2d(data: st.DataObject) -> None:
    draw = data.draw
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    shape = draw(st.tuples(st.integers(1, 9), st.integers(kernel[0], 8), st.integers(kernel[1], 8)))
    b = Builder(shape, 2, draw(st.integers(0, 99)))
    x = codes(b, bits=draw(st.sampled_from([1, 4, 8]))) if draw(st.booleans()) else INPUT
    x = b.conv(
        x,
        draw(st.sampled_from([1, 3, 7, 8, 33, 41])),
        kernel=kernel,
        stride=draw(st.tuples(st.integers(1, 5), st.integers(1, 5))),
        padding=(draw(st.integers(0, kernel[0] - 1)), draw(st.integers(0, kernel[1] - 1))),
        encoding=draw(st.sampled_from(ENCODINGS)),
    )
    graph = b.graph(x)
    assert_same_bits(graph, random_input(graph, 2, draw(st.sampled_from([1, 7]))), threads=draw(st.integers(1, 2)))


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_dilated_and_grouped_conv2d(data: st.DataObject) -> None:
    draw = data.draw
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 4)))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 4)))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding = tuple(draw(st.integers(0, r - 1)) for r in reach)
    sizes = [draw(st.integers(max(1, r - 2 * p), r + 5)) for r, p in zip(reach, padding, strict=True)]
    groups = draw(st.sampled_from([1, 1, 2, 3, 7, 70]))
    channels, out = (groups * draw(st.sampled_from(counts)) for counts in ([1, 2], [1, 3, 18]))
    if groups == 1:
        channels, out = draw(st.integers(1, 9)), draw(st.sampled_from([1, 3, 8, 33, 41]))
    b = Builder((channels, *sizes), 3, draw(st.integers(0, 99)))
    x = draw(st.sampled_from([INPUT, "codes", "spikes"]))
    x = {"codes": lambda: codes(b, bits=4), "spikes": lambda: b.hd_lif(INPUT)}.get(x, lambda: INPUT)()
    x = b.conv(
        x,
        out,
        kernel=kernel,
        dilation=dilation,
        groups=groups,
        stride=draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        padding=padding,
        encoding=draw(st.sampled_from(ENCODINGS)),
    )
    graph = b.graph(x)
    frames = random_input(graph, 3, draw(st.sampled_from([1, 5])))
    # steps that are alike: the sums of one are those of the step before and what its changes add
    frames[1:] = np.where(np.random.default_rng(0).random(frames[1:].shape) < 0.9, frames[:1], frames[1:])
    assert_same_bits(graph, frames, threads=draw(st.integers(1, 2)))


@pytest.mark.parametrize("factor", [(1, 1), (2, 3), (3, 1)])
@pytest.mark.parametrize("is_code", [False, True])
def test_upsample(is_code: bool, factor: tuple[int, int]) -> None:
    """Between layers: of codes, which stay codes, and of floats; on one thread and several."""
    b = Builder((5, 3, 2), 3, 1)
    x = b.add("upsample", codes(b) if is_code else b.hd_lif(INPUT), factor=factor)
    assert b.values()[x].max_code == (15 if is_code else None)
    graph = b.graph(b.conv(x, 4))
    frames = random_input(graph, 3, 2)
    assert_same_bits(graph, frames, threads=1)
    assert_same_bits(graph, frames)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("is_code", [False, True])
def test_linear(encoding: str, is_code: bool) -> None:
    b = Builder((5, 3, 3), 2, 1)
    x = b.add("flatten", codes(b) if is_code else INPUT)
    graph = b.graph(b.linear(x, 37, encoding=encoding))
    assert_same_bits(graph, random_input(graph, 2, 7))


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("is_code", [False, True])
@pytest.mark.parametrize("neuron", ["hd_lif", "parallel", "graded_lif", "glif", "soft", "hard"])
def test_neurons(neuron: str, is_code: bool, per_step: bool, per_channel: bool) -> None:
    b = Builder((5, 4, 3), 3, 2)
    x = codes(b, bits=2, inverse_step=1.0) if is_code else INPUT
    rows = {"per_step": per_step, "per_channel": per_channel}
    if neuron in ("soft", "hard"):
        x = b.lif(x, reset=neuron, reset_potential=-0.3, **rows)
    else:
        x = getattr(b, neuron)(x, **rows)
    graph = b.graph(x)
    frames = random_input(graph, 5, 2)
    assert_same_bits(graph, frames)
    session = Session(graph)
    states = None, None
    for frame in frames:
        (_, after), (_, expected) = session.step(frame, states[0]), reference.step(graph, frame, states[1])
        for name, potential in expected.items():
            np.testing.assert_array_equal(after[name], potential)
        states = after, expected


FUSED: dict[str, Callable[[Builder, str], str]] = {
    "hd_lif": lambda b, x: b.hd_lif(x, per_channel=True),
    "parallel": lambda b, x: b.parallel(x),
    "soft": lambda b, x: b.lif(x, per_channel=True),
    "hard": lambda b, x: b.lif(x, reset="hard", reset_potential=-0.3),
}


@pytest.mark.parametrize("quantised", [False, True])
@pytest.mark.parametrize("neuron", FUSED)
def test_an_equation_that_has_a_kernel_gives_the_bits_that_it_gives_without(neuron: str, quantised: bool) -> None:
    """Without, its spike is the larger of itself and itself, which no kernel knows; a kernel takes less work."""
    graphs = []
    for is_recognised in (True, False):
        b = Builder((5, 4, 3), 3, 2)
        x = b.add("add", b.affine(INPUT, per_step=True), b.conv(INPUT, 5, encoding="float32"))
        x = FUSED[neuron](b, x)
        if not is_recognised:
            node = b.nodes[-1]
            program = program_of(node)
            again = Instruction("maximum", (program.spike, program.spike))
            if program.is_binary(program.spike):
                again = Instruction("multiply", (program.spike, program.spike))
            program = replace(program, instructions=(*program.instructions, again), spike=program.registers)
            b.nodes[-1] = replace(node, attributes={"kind": "Again", **to_attributes(program)})
        x = b.quantise(x) if quantised else x
        graphs.append(b.graph(x))
    frames = random_input(graphs[0], 5, 2)
    for graph in graphs:
        assert_same_bits(graph, frames)
    fused, plain = (Session(graph) for graph in graphs)
    assert fused.run(frames).tobytes() == plain.run(frames).tobytes()
    work = [session._cost(2, 5, False, False, True)[1] for session in (fused, plain)]
    assert work[0] < work[1]


def test_neurons_with_rows_of_all_kinds() -> None:
    b = Builder((5, 4, 3), 3, 2)
    y = b.glif(INPUT, per_channel=True, beyond=1)
    tensors = b.nodes[0].tensors
    for i, key in enumerate(tensors):
        tensors[key] = tensors[key][: (1, 3, 4)[i % 3], : (1, 5)[i % 2]]
    graph = b.graph(y)
    assert_same_bits(graph, random_input(graph, 6, 2))


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("op", ["affine", "hd_lif", "parallel", "lif", "graded_lif", "glif", "quantise", "seca"])
def test_rows_beyond_the_trained_steps(op: str, per_channel: bool) -> None:
    b = Builder((5, 4, 3), 3, 2)
    rows = {} if op in ("affine", "seca") else {"per_channel": per_channel}
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


@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("is_code", [False, True])
def test_affine(is_code: bool, per_step: bool) -> None:
    b = Builder((5, 4, 3), 3, 3)
    graph = b.graph(b.affine(codes(b) if is_code else INPUT, per_step=per_step))
    assert_same_bits(graph, random_input(graph, 3, 2))


@pytest.mark.parametrize("kernel", [1, 3, 5, 9, 15])
@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("is_code", [False, True])
def test_seca(is_code: bool, per_step: bool, kernel: int) -> None:
    b = Builder((4, 7, 3), 3, 4)
    x = codes(b) if is_code else INPUT
    graph = b.graph(b.seca(x, kernel=kernel, per_step=per_step, beyond=1))
    frames = random_input(graph, 5, 3)
    for factor in (1, 100, 1e30):
        assert_same_bits(graph, factor * frames)
    assert_same_bits(graph, frames[:1], 5)


def test_seca_of_many_maps() -> None:
    b = Builder((37, 16, 16), 2, 4)
    graph = b.graph(b.seca(b.affine(INPUT), per_step=True))
    assert_same_bits(graph, random_input(graph, 3, 20))


def before_a_neuron(b: Builder, identity: tuple[bool, ...]) -> str:
    return b.hd_lif(b.passing(INPUT, identity=identity))


def beside_its_own_input(b: Builder, identity: tuple[bool, ...]) -> str:
    stream = b.affine(INPUT)
    spikes = b.hd_lif(b.passing(stream, identity=identity))
    return b.add("add", b.affine(spikes), stream)


def added_to_its_own_input(b: Builder, identity: tuple[bool, ...]) -> str:
    stream = b.affine(INPUT, per_step=True)
    joined = b.add("add", stream, b.passing(stream, identity=identity))
    return b.affine(b.hd_lif(b.affine(joined)))


def in_a_chain(b: Builder, identity: tuple[bool, ...]) -> str:
    first = b.passing(b.affine(INPUT, per_step=True), identity=identity)
    second = b.passing(first, identity=identity[1:] + identity[:1])
    return b.affine(b.parallel(b.affine(b.hd_lif(second))))


def before_an_attention(b: Builder, identity: tuple[bool, ...]) -> str:
    return b.seca(b.passing(b.affine(INPUT), identity=identity))


def read_late(b: Builder, identity: tuple[bool, ...]) -> str:
    passed = b.passing(b.affine(INPUT), identity=identity)
    x = passed
    for _ in range(4):
        x = b.affine(b.hd_lif(x))
    return b.add("add", x, passed)


def before_a_convolution(b: Builder, identity: tuple[bool, ...]) -> str:
    return b.conv(b.passing(b.affine(INPUT), identity=identity), 4, encoding="float32")


def of_codes(b: Builder, identity: tuple[bool, ...]) -> str:
    return b.hd_lif(b.passing(codes(b), identity=identity))


IDENTITIES = {
    "always": (True,),
    "until T": (True, True, True, False, False),
    "until T, once": (True, True, True, False, True),
    "now and then": (False, True, False, True),
}


@pytest.mark.parametrize("identity", IDENTITIES.values(), ids=IDENTITIES)
@pytest.mark.parametrize(
    "place",
    [
        before_a_neuron,
        beside_its_own_input,
        added_to_its_own_input,
        in_a_chain,
        read_late,
        before_an_attention,
        before_a_convolution,
        of_codes,
    ],
)
def test_affines_that_pass_their_input_on(
    place: Callable[[Builder, tuple[bool, ...]], str], identity: tuple[bool, ...]
) -> None:
    b = Builder((3, 4, 5), 3, 11)
    graph = b.graph(place(b, identity))
    session = Session(graph, 2)
    for steps in (2, 3, 8, 2, 21):
        x = random_input(graph, steps, 2, seed=steps)
        assert_same_bits(graph, x)
        assert_same_bits(graph, x[:1], steps)
        # plans of one session follow each other
        np.testing.assert_array_equal(session.run(x), reference.run(graph, x))
        np.testing.assert_array_equal(session.run(x[:1], steps), reference.run(graph, x[:1], steps))
    state, expected_state = None, None
    for frame in random_input(graph, 7, 2):
        logits, state = session.step(frame, state)
        expected, expected_state = reference.step(graph, frame, expected_state)
        np.testing.assert_array_equal(logits, expected)


def test_an_affine_that_passes_its_input_on_may_be_the_output() -> None:
    b = Builder((3, 2, 2), 2, 0)
    vector = b.linear(b.add("flatten", INPUT), 4)
    y = b.passing(vector, identity=(True, True, False))
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


@pytest.mark.parametrize("out_channels", [16, 30, 48, 65, 112, 240, 500, 1040])
@pytest.mark.parametrize("encoding", ["ternary", "binary", "int4"])
def test_wide_layers_take_all_blocks_of_lanes(encoding: str, out_channels: int) -> None:
    b = Builder((70, 2, 3), 2, 11)
    graph = b.graph(b.conv(codes(b), out_channels, kernel=(1, 2), padding=(0, 1), encoding=encoding))
    assert_same_bits(graph, random_input(graph, 2, 2))


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("offset", [0.0, 0.5, 1.0])
def test_quantise(bits: int, offset: float) -> None:
    b = Builder((5, 4, 3), 1, 4)
    graph = b.graph(b.quantise(INPUT, bits=bits, inverse_step=3.3, offset=offset))
    x = random_input(graph, 2, 2) * 30
    # ties, and values far beyond the codes
    x[0, 0, 0] = np.array([0.5 / 3.3, 1.5 / 3.3, 1e30, -1e30, np.inf, -np.inf, -0.0, 1e-40, 5, 7, 9, 11]).reshape(4, 3)
    session = Session(graph, 1)
    expected = reference_values(graph, x, 2)[graph.nodes[0].name]
    np.testing.assert_array_equal(session.values(x)[graph.nodes[0].name], expected, strict=True)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("is_code", [False, True])
def test_quantise_with_rows(is_code: bool, per_step: bool, per_channel: bool) -> None:
    b = Builder((5, 4, 3), 3, 4)
    x = codes(b) if is_code else INPUT
    graph = b.graph(b.quantise(x, inverse_step=0.9, per_step=per_step, per_channel=per_channel))
    assert_same_bits(graph, random_input(graph, 3, 2))
    assert_same_bits(graph, random_input(graph, 1, 2), 4)


@pytest.mark.parametrize("left", ["float", "code"])
@pytest.mark.parametrize("right", ["float", "code", "itself"])
def test_add(left: str, right: str) -> None:
    b = Builder((5, 4, 3), 2, 5)
    x = codes(b) if left == "code" else INPUT
    y = {"float": b.affine(INPUT), "code": codes(b, bits=2), "itself": x}[right]
    graph = b.graph(b.add("add", x, y))
    assert_same_bits(graph, random_input(graph, 2, 3))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_pools(data: st.DataObject) -> None:
    draw = data.draw
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    shape = draw(st.tuples(st.integers(1, 9), st.integers(kernel[0], 8), st.integers(kernel[1], 8)))
    b = Builder(shape, 2, 6)
    bits = draw(st.sampled_from([0, 1, 4, 8]))
    x = codes(b, bits=bits, inverse_step=100.0) if bits else INPUT
    op = draw(st.sampled_from(["sum_pool", "max_pool", "global_sum_pool"]))
    stride = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    if op == "max_pool":
        padding = (draw(st.integers(0, kernel[0] - 1)), draw(st.integers(0, kernel[1] - 1)))
        x = b.add(op, x, kernel=kernel, stride=stride, padding=padding)
    elif op == "sum_pool":
        x = b.add(op, x, kernel=kernel, stride=stride)
    else:
        x = b.add(op, x)
    graph = b.graph(x)
    assert_same_bits(graph, random_input(graph, 2, 3), threads=draw(st.integers(1, 2)))


@pytest.mark.parametrize("is_code", [False, True])
def test_flatten_is_channel_major(is_code: bool) -> None:
    b = Builder((3, 2, 2), 1, 7)
    graph = b.graph(b.add("flatten", codes(b) if is_code else INPUT))
    assert_same_bits(graph, random_input(graph, 1, 7))
    x = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 2, 2)
    flat = Session(graph).values(x)["n1.flatten" if is_code else "n0.flatten"]
    if not is_code:
        np.testing.assert_array_equal(flat[0, 0], np.arange(12))


@pytest.mark.parametrize("left", ["floats", "codes", "constant"])
@pytest.mark.parametrize("right", ["floats", "codes", "constant"])
def test_slices_and_concatenations_of_codes_and_floats(left: str, right: str) -> None:
    """Parts of unequal widths, read by a row-wise op, a convolution and a pool."""
    b = Builder((5, 4, 3), 3, 7)
    parts = {"floats": b.hd_lif(INPUT), "codes": b.quantise(b.parallel(INPUT), bits=3), "constant": b.affine(INPUT)}
    joined = b.concat(b.slice(parts[left], 1, 5), b.slice(parts[right], 0, 2))
    summed = b.add("add", b.affine(joined), b.conv(joined, 6))
    inner = b.slice(joined, 2, 5)
    vectors = b.concat(b.add("global_sum_pool", summed), b.add("global_sum_pool", inner))
    graph = b.graph(b.slice(vectors, 3, 8))
    for x in (random_input(graph, 4, 2), random_input(graph, 1, 2)):
        assert_same_bits(graph, x)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_network_of_two_streams(encoding: str) -> None:
    graph = two_streams(encoding=encoding, width=9)
    assert_same_bits(graph, random_input(graph, 5, 3), threads=2)


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("weight", [1, -1])
def test_saturated_codes_pass_through_many_partial_sums(bits: int, weight: int) -> None:
    # 600 channels x 9 taps x 255 = 1,377,000: 42 times what an int16 holds
    b = Builder((1, 3, 3), 1, 8)
    x = b.quantise(b.conv(INPUT, 600, kernel=(1, 1), padding=(0, 0), encoding="binary"), bits=bits, offset=1.0)
    b.nodes[0].tensors["weight"][...] = 1
    y = b.conv(x, 40)
    b.nodes[2].tensors["weight"][...] = weight
    graph = b.graph(y)
    full = np.full((1, 1, 1, 3, 3), 1e6, np.float32)
    assert_same_bits(graph, full)
    centre = Session(graph).values(full)[y][0, 0, :, 1, 1]
    np.testing.assert_array_equal(centre, weight * 600 * 9 * (2**bits - 1))


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize(("encoding", "weight"), [("int4", -7), ("int8", 127), ("int8", -127)])
def test_saturated_codes_meet_the_largest_weights(bits: int, encoding: str, weight: int) -> None:
    # 40 channels x 9 taps x 255 x 127 = 11,658,600, which float32 holds; one product reaches 32,385
    b = Builder((1, 3, 3), 1, 8)
    x = b.quantise(b.conv(INPUT, 40, kernel=(1, 1), padding=(0, 0), encoding="binary"), bits=bits, offset=1.0)
    b.nodes[0].tensors["weight"][...] = 1
    y = b.conv(x, 40, encoding=encoding)
    b.nodes[2].tensors["weight"][...] = weight
    graph = b.graph(y)
    full = np.full((1, 1, 1, 3, 3), 1e6, np.float32)
    assert_same_bits(graph, full)
    centre = Session(graph).values(full)[y][0, 0, :, 1, 1]
    np.testing.assert_array_equal(centre, weight * 40 * 9 * (2**bits - 1))


def test_all_zero_codes_give_zero() -> None:
    b = Builder((4, 5, 5), 2, 9)
    y = b.conv(b.quantise(INPUT), 11)
    graph = b.graph(y)
    nothing = np.full((1, 2, 4, 5, 5), -1, np.float32)
    assert_same_bits(graph, nothing)
    assert not Session(graph).values(nothing)[y].any()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("time_steps", [1, 4])
@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("threads", [1, 2])
def test_network(encoding: str, time_steps: int, batch: int, threads: int) -> None:
    graph = residual_network(batch, time_steps=time_steps, encoding=encoding, width=9)
    assert_same_bits(graph, random_input(graph, time_steps, batch), threads=threads)


@pytest.mark.parametrize("steps", [1, 3, 4, 9])
def test_constant_input_and_more_steps_than_rows(steps: int) -> None:
    graph = residual_network()
    x = random_input(graph, 1, 2)
    assert_same_bits(graph, x, steps)
    np.testing.assert_array_equal(Session(graph).run(x, steps), reference.run(graph, np.repeat(x, steps, 0), steps))


@pytest.mark.parametrize("batch", [1, 5, 70])
def test_a_run_of_many_chunks(batch: int) -> None:
    # a chunk holds 16 steps, and 64 images unless one step has more
    graph = residual_network(1, width=2)
    x = random_input(graph, 35, batch)
    session = Session(graph, 2)
    logits = session.run(x)
    np.testing.assert_array_equal(logits, session.values(x)[graph.output])
    np.testing.assert_array_equal(session.run(x[:1], 35), session.run(np.repeat(x[:1], 35, axis=0)))
    np.testing.assert_array_equal(logits[:2], reference.run(graph, x)[:2])


def test_runs_of_changing_shape_do_not_disturb_each_other() -> None:
    graph = residual_network(2)
    session = Session(graph, 2)
    for steps, batch in [(4, 3), (1, 1), (2, 8), (4, 3)]:
        x = random_input(graph, steps, batch, seed=steps)
        np.testing.assert_array_equal(session.run(x, steps), reference.run(graph, x, steps))
        np.testing.assert_array_equal(session.run(x[:1]), reference.run(graph, x[:1]))


def test_codes_as_logits() -> None:
    b = Builder((3, 2, 2), 2, 0)
    x = b.lif(b.add("flatten", INPUT))
    graph = Graph(tuple(b.nodes), x, 2, b.record(), tuple("abcdefghijkl"))
    x = random_input(graph, 2, 2)
    np.testing.assert_array_equal(Session(graph).run(x), reference.run(graph, x), strict=True)


def test_a_value_may_be_read_long_after_its_neighbours_are_gone() -> None:
    b = Builder((3, 4, 4), 2, 3)
    early = b.affine(INPUT)
    x = early
    for _ in range(5):
        x = b.hd_lif(b.affine(x))
    four = {"inverse_step": np.full((1, 1), 4, np.float32)}
    unused = Node("quantise", "unused", (early,), {"bits": 4, "offset": 0.5}, four)
    b.nodes.insert(3, unused)
    graph = b.graph(b.add("add", x, early))
    assert_same_bits(graph, random_input(graph, 2, 2))


PART = 2**25
"""Operations after which a run looks whether it is to go on, within a row too."""


@pytest.mark.parametrize("encoding", ["float32", "ternary", "int8"])
@pytest.mark.parametrize("form", ["dense", "surplus", "codes"])
def test_a_row_that_is_computed_in_parts(form: str, encoding: str) -> None:
    """The last of them shorter than the others."""
    b = Builder((24, 1, 700), 2, 1)
    x = {"dense": lambda: INPUT, "surplus": lambda: b.hd_lif(INPUT), "codes": lambda: codes(b)}[form]()
    x = b.conv(x, 64, kernel=(1, 65), padding=(0, 40), encoding=encoding)
    graph = b.graph(x)
    assert 2 * PART < 700 * 65 * 24 * 64
    assert_same_bits(graph, random_input(graph, 2, 2))


@pytest.mark.parametrize("op", ["max_pool", "sum_pool"])
@pytest.mark.parametrize("is_code", [False, True])
def test_a_row_of_windows_that_is_computed_in_parts(op: str, is_code: bool) -> None:
    b = Builder((3, 1, 3500), 2, 1)
    padding = {"padding": (0, 20)} if op == "max_pool" else {}
    x = b.add(op, codes(b) if is_code else INPUT, kernel=(1, 641), stride=(1, 1), **padding)
    graph = b.graph(x)
    assert PART < 2860 * 3 * 641 * 8
    assert_same_bits(graph, random_input(graph, 2, 2))


@settings(max_examples=75, deadline=None)
@given(data=st.data())
def test_programs(data: st.DataObject) -> None:
    check_program(data)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_more_programs(data: st.DataObject) -> None:
    check_program(data)


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


def test_states_that_change_places() -> None:
    """Each becomes what the other was."""
    program = Program(("a", "b", "c"), (), (Instruction("add", (1, 2)),), 4, (2, 1, 0))
    b = Builder((3, 5, 4), 3, 0)
    assert_same_bits(b.graph(b.program(INPUT, program=program)), random_input(b.graph(INPUT), 3, 2))


def test_a_step_carries_every_state_of_a_program() -> None:
    b = Builder((3, 5, 4), 3, 7)
    x = b.program(INPUT, program=random_program(np.random.default_rng(0), states=3), per_channel=True)
    graph = b.graph(b.program(x, program=random_program(np.random.default_rng(1), states=1)))
    frames = random_input(graph, 3, 2)
    session = Session(graph, 2)
    state, expected = None, reference.run(graph, frames)
    for t, frame in enumerate(frames):
        logits, state = session.step(frame, state, out=state)
        np.testing.assert_array_equal(logits, expected[t], strict=True)
    assert sorted(state) == ["n0.program.s0", "n0.program.s1", "n0.program.s2", "n1.program.s0", "t"]
    _, again = reference.step(graph, frames[0])
    for frame in frames[1:]:
        _, again = reference.step(graph, frame, again)
    for name, value in again.items():
        np.testing.assert_array_equal(state[name], value)
