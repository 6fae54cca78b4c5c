"""The native reader trusts nothing: whatever the words are, it refuses them or runs inside its bounds."""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployed_graphs import Builder, residual_network, tiny_network
from hdlif._native import Network, TooLongError, instruction_sets
from hdlif.errors import ArtefactError
from hdlif.graph.artefact import INPUT, Graph, infer_values
from hdlif.runtime.program import Program, flatten_graph
from hdlif.runtime.state import potential_shapes
from random_programs import random_program

HEADER_WORDS, NODE_WORDS, MAX_TENSORS = 8, 23, 2


def every_op() -> Graph:
    b = Builder((3, 6, 5), 2, 0)
    x = b.quantise(b.affine(b.conv(INPUT, 4, encoding="float32"), per_step=True))
    x = b.quantise(b.conv(x, 4, kernel=(2, 2), dilation=(1, 2), groups=2, encoding="int8"))
    x = b.conv(b.add("max_pool", x, kernel=(2, 2), stride=(1, 1), padding=(1, 1)), 5, encoding="binary")
    x = b.glif(b.graded_lif(b.parallel(b.hd_lif(x, per_channel=True))), per_channel=True)
    x = b.program(x, program=random_program(np.random.default_rng(3), states=2), per_channel=True)
    x = b.program(x, program=random_program(np.random.default_rng(5), states=0))
    x = b.recurrent(b.lif(x), "lif", kernel=1)
    x = b.concat(b.slice(x, 1, 4), x)
    x = b.add("upsample", b.add("sum_pool", x, kernel=(2, 2), stride=(2, 2)), factor=(2, 1))
    x = b.seca(b.conv(b.add("add", x, x), 3, encoding="int4"), kernel=3)
    return b.graph(b.linear(b.add("global_sum_pool", x), 4, encoding="ternary"))


STATE_SIZES = [math.prod(shape) for shape in potential_shapes(every_op(), infer_values(every_op())).values()]


def network(program: Program, words: Sequence[int] | None = None, threads: int = 1) -> Network:
    return Network(
        np.array(program.words if words is None else words, np.int32),
        np.array(program.scalars, np.float32),
        program.buffers,
        threads,
        instruction_sets()[-1],
    )


@pytest.mark.parametrize("graph", [every_op(), tiny_network(), residual_network()], ids=["ops", "tiny", "residual"])
def test_every_shorter_or_longer_program_is_refused(graph: Graph) -> None:
    program = flatten_graph(graph)
    for length in range(len(program.words)):
        with pytest.raises(ValueError, match=r"^program: "):
            network(program, program.words[:length])
    with pytest.raises(ValueError, match="node count"):
        network(program, [*program.words, 0])


def test_every_word_is_checked() -> None:
    """No word can be set to a far value without a refusal."""
    program = flatten_graph(every_op())
    for position in range(len(program.words)):
        for value in (-(2**31), 2**31 - 1):
            words = list(program.words)
            words[position] = value
            with pytest.raises(ValueError, match=r"^(program|node [0-9]+): "):
                network(program, words)


def check_bounds(data: st.DataObject) -> None:
    program = flatten_graph(every_op())
    words = list(program.words)
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(words) - 1))
        words[position] = data.draw(st.one_of(st.integers(-2, 20), st.just(words[position] + 1)))
    for index in data.draw(st.lists(st.integers(0, len(program.buffers) - 1), max_size=1)):
        buffer = program.buffers[index]
        program.buffers[index] = np.resize(buffer, data.draw(st.integers(0, buffer.size + 5))).view(np.uint8)
    try:
        changed = network(program, words)
    except ValueError:
        return
    x = np.ones((1, 1, *words[2:5]), np.float32)
    potentials = [np.zeros(size, np.float32) for size in STATE_SIZES]
    # a change may make another network, with states or logits of other sizes
    with contextlib.suppress(ValueError):
        changed.run(x, 2, 0, potentials, np.empty((2, 1, 3), np.float32))


@settings(max_examples=250, deadline=None)
@given(data=st.data())
def test_a_program_that_is_accepted_runs_inside_its_bounds(data: st.DataObject) -> None:
    check_bounds(data)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_more_random_programs_run_inside_their_bounds(data: st.DataObject) -> None:
    check_bounds(data)


def field(node: int, offset: int) -> int:
    return HEADER_WORDS + NODE_WORDS * node + offset


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, 1, "form version"),
        (1, 3, "rows"),
        (2, 0, "input shape"),
        (6, 4, "output is no value"),
        (6, 1, "output is not a vector"),
        (field(0, 0), 15, "op is unknown"),
        (field(0, 1), 1, "no earlier value"),
        (field(0, 2), 0, "no earlier value"),
        (field(0, 3), 0, "no output channel"),
        (field(0, 3), 11, "another size"),
        (field(0, 4), 3, "does not fit"),
        (field(0, 6), 0, "stride"),
        (field(0, 8), 1, "padding"),
        (field(0, 10), 0, "dilation is out of range"),
        (field(0, 11), 2**15, "dilation is out of range"),
        (field(0, 12), 0, "groups do not part the channels"),
        (field(0, 12), 7, "groups do not part the channels"),
        (field(1, 10), 1, "does not use"),
        (field(1, 12), 1, "does not use"),
        (field(0, 13), 6, "encoding"),
        (field(0, 17), 9, "tensor is out of range"),
        (field(1, 3), 1, "does not use"),
        (field(1, 14), 1, "columns do not fit"),
        (field(1, 17), 0, "does not use"),
        (field(1, 20), 0, "does not use"),
        (field(2, 14), 1, "does not use"),
        (field(2, 15), 0, "does not use"),
        (field(2, 16), 0, "does not use"),
    ],
)
def test_refusals_name_the_field(position: int, value: int, message: str) -> None:
    program = flatten_graph(tiny_network())
    program.words[position] = value
    with pytest.raises(ValueError, match=message):
        network(program)


@pytest.mark.parametrize(("begin", "count"), [(-1, 2), (5, 1), (0, 0), (0, 6), (3, 3), (2**31 - 1, 2**31 - 1)])
def test_a_slice_beyond_the_channels_is_refused(begin: int, count: int) -> None:
    b = Builder((5, 2, 2), 1, 0)
    program = flatten_graph(b.graph(b.slice(INPUT, 0, 5)))
    program.words[field(0, 14)], program.words[field(0, 3)] = begin, count
    with pytest.raises(ValueError, match="node 0: slice is beyond the channels"):
        network(program)


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (4, 0, "factor is out of range"),
        (5, 2**15, "factor is out of range"),
        (6, 1, "does not use"),
        (7, 1, "does not use"),
        (8, 1, "does not use"),
    ],
)
def test_the_fields_of_upsample_are_checked(position: int, value: int, message: str) -> None:
    b = Builder((2, 3, 3), 1, 0)
    program = flatten_graph(b.graph(b.add("upsample", INPUT, factor=(2, 3))))
    network(program)
    program.words[field(0, position)] = value
    with pytest.raises(ValueError, match=f"node 0: .*{message}"):
        network(program)


def test_an_upsampling_beyond_the_most_entries_is_refused() -> None:
    b = Builder((1, 2**8, 2**8), 1, 0)
    pooled = b.add("global_sum_pool", b.add("upsample", INPUT, factor=(1, 1)))
    program = flatten_graph(Graph(tuple(b.nodes), pooled, 1, b.record(), ("a",)))
    program.words[field(0, 4)] = program.words[field(0, 5)] = 2**8
    with pytest.raises(ValueError, match="node 0: output has too many entries"):
        network(program)
    b.nodes[0] = replace(b.nodes[0], attributes={"factor": (2**8, 2**8)})
    with pytest.raises(ArtefactError, match=r"shape \[1, 65536, 65536\] has more than"):
        infer_values(Graph(tuple(b.nodes), pooled, 1, b.record(), ("a",)))


@pytest.mark.parametrize("op", ["conv", "flatten"])
def test_values_that_differ_beyond_their_channels_are_not_joined(op: str) -> None:
    b = Builder((2, 3, 3) if op == "conv" else (2, 1, 1), 1, 0)
    x = b.conv(INPUT, 2, padding=(0, 0)) if op == "conv" else b.add("flatten", INPUT)
    program = flatten_graph(b.graph(b.concat(x, x)))
    network(program)
    program.words[field(1, 1)] = 0
    with pytest.raises(ValueError, match="node 1: concat takes shapes that differ in channels alone"):
        network(program)


def test_channels_that_pass_the_most_entries_are_not_joined() -> None:
    b = Builder((1, 1, 1), 1, 0)
    b.add("global_sum_pool", b.concat(INPUT, INPUT))
    program = flatten_graph(Graph(tuple(b.nodes), b.nodes[-1].name, 1, b.record(), ("a", "b")))
    # as many entries as a value may have, though not as many as a row may
    program.words[2] = 2**29
    with pytest.raises(TooLongError, match=r"node 0 takes 8589934592 operations in one piece"):
        network(program)
    program.words[2] = 2**29 + 1
    with pytest.raises(ValueError, match="node 0: output has too many entries"):
        network(program)


def test_bytes_that_are_no_weights_are_refused() -> None:
    program = flatten_graph(tiny_network())
    program.buffers[0] = np.array([0, 243], np.uint8)
    with pytest.raises(ValueError, match="above 242"):
        network(program)
    program.buffers[0] = np.array([0, 9], np.uint8)
    with pytest.raises(ValueError, match="fill of the weight's last byte is not zero"):
        network(program)
    program = flatten_graph(every_op())
    program.buffers[0][:4] = np.array([np.nan], np.float32).view(np.uint8)
    with pytest.raises(ValueError, match="not finite"):
        network(program)
    program = flatten_graph(every_op())
    program.scalars[0] = np.inf
    with pytest.raises(ValueError, match="not finite"):
        network(program)


def test_sums_that_could_pass_an_int32_are_refused() -> None:
    # 255 * 2^24 channels > 2^31; the weights themselves are never looked at
    words = [6, 1, 2**24, 1, 1, 3, 3, 0]
    none = [-1, 0, 0]
    words += [3, 0, -1, 0, 0, 0, 0, 0, 0, 0, *[0] * 3, 0, 8, -1, 0, 0, 1, 1, *none * (MAX_TENSORS - 1)]
    words += [8, 1, -1, 0, 0, 0, 0, 0, 0, 0, *[0] * 3, 0, 0, -1, -1, *none * MAX_TENSORS]
    words += [1, 2, -1, 1, 0, 0, 0, 0, 0, 0, *[0] * 3, 1, 0, -1, -1, 1, 0, 0, *none * (MAX_TENSORS - 1)]
    buffers = [np.ones(1, np.float32).view(np.uint8), np.zeros(1, np.uint8)]
    with pytest.raises(ValueError, match=r"node 2: sums of codes may pass 2\^31"):
        network(Program(words, scalars=[0.5], buffers=buffers))


@pytest.mark.parametrize(("encoding", "byte"), [("int2", 0x80), ("int4", 0x80), ("int8", 0x80)])
def test_the_least_value_of_the_bits_is_refused(encoding: str, byte: int) -> None:
    b = Builder((4, 1, 1), 1, 0)
    program = flatten_graph(b.graph(b.conv(INPUT, 2, kernel=(1, 1), padding=(0, 0), encoding=encoding)))
    program.buffers[0][0] = byte
    with pytest.raises(ValueError, match="node 0: weight holds the least value of its bits"):
        network(program)


def test_integer_sums_that_could_pass_an_int32_are_refused() -> None:
    for channels, refused in ((66_312, True), (66_311, False)):
        b = Builder((1, 1, 1), 1, 0)
        x = b.quantise(b.add("flatten", INPUT), bits=8)
        b.linear(x, 1, encoding="int8")
        program = flatten_graph(Graph(tuple(b.nodes), b.nodes[-1].name, 1, b.record(), ("only",)))
        program.words[4] = channels
        program.buffers[-1] = np.zeros(channels, np.uint8)
        if refused:
            with pytest.raises(ValueError, match=r"node 2: sums of codes may pass 2\^31"):
                network(program)
        else:
            network(program)


@pytest.mark.parametrize("entry", [0.0, -1.0, np.nan])
def test_an_inverse_step_that_is_not_positive_is_refused(entry: float) -> None:
    b = Builder((1, 2, 2), 1, 0)
    graph = b.graph(b.quantise(INPUT))
    b.nodes[0].tensors["inverse_step"][0, 0] = entry
    with pytest.raises(ValueError, match=r"node 0: (inverse_step is not positive|tensor holds a value)"):
        network(flatten_graph(graph))


def vast_outputs() -> Graph:
    b = Builder((1, 1, 1), 1, 0)
    b.linear(b.add("flatten", INPUT), 2**14, encoding="binary")
    return Graph(tuple(b.nodes), b.nodes[-1].name, 1, b.record(), ("",) * 2**14)


def test_rows_whose_products_an_event_could_not_point_to_are_refused() -> None:
    """From a row of 2^14 pixels, the weights of 2^18 output channels are 2^32 apart; the file has 33 kB of them."""
    for width, refused in ((2**14, True), (2**14 - 1, False)):
        b = Builder((1, 1, width), 1, 0)
        x = b.conv(b.quantise(INPUT), 2**18, kernel=(1, 1), stride=(1, 2**13), padding=(0, 0), encoding="binary")
        b.add("global_sum_pool", x)
        program = flatten_graph(Graph(tuple(b.nodes), b.nodes[-1].name, 1, b.record(), ("",) * 2**18))
        if refused:
            with pytest.raises(ValueError, match="node 1: a row has too many products"):
                network(program)
        else:
            network(program)


def test_arrays_of_a_run_are_checked() -> None:
    changed = network(flatten_graph(tiny_network()))
    x, logits = np.zeros((1, 3, 1, 2, 2), np.float32), np.empty((2, 3, 7), np.float32)
    potential = np.zeros((3, 2, 2, 7), np.float32)
    changed.run(x, 2, 0, [potential], logits)
    for arguments in [
        (x[:, :, :, :1], 2, 0, [potential], logits),
        (x[:, :0], 2, 0, [potential[:0]], logits[:, :0]),
        (x, 0, 0, [potential], logits[:0]),
        (x, 3, 0, [potential], logits),
        (x, 2, -1, [potential], logits),
        (x, 2, 0, [], logits),
        (x, 2, 0, [potential[:2]], logits),
        (x, 2, 0, [potential], logits[:1]),
    ]:
        with pytest.raises((ValueError, TypeError)):
            changed.run(*arguments)
    # a converted copy would swallow the results
    for arguments in [
        (x.astype(np.float64), 2, 0, [potential], logits),
        (x, 2, 0, [potential.astype(np.float64)], logits),
        (x, 2, 0, [np.asfortranarray(potential)], logits),
        (x, 2, 0, [potential], logits.astype(np.float64)),
    ]:
        with pytest.raises(TypeError):
            changed.run(*arguments)
    # 2^30 steps of 2^20 images of 2^14 classes are 2^64 logits: none, counted in 64 bits
    vast = network(flatten_graph(vast_outputs()))
    with pytest.raises(ValueError, match="steps: a batch takes at most"):
        vast.run(np.zeros((1, 2**20, 1, 1, 1), np.float32), 2**30, 0, [], np.empty((0, 1, 1), np.float32))
    with pytest.raises(ValueError, match="values"):
        changed.run_and_keep(x, 2, 0, [potential], logits, [])
    for threads in (0, 257):
        with pytest.raises(ValueError, match="threads"):
            network(flatten_graph(tiny_network()), threads=threads)
