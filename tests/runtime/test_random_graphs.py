"""Any graph runs as its reference does: values shared by several readers, dead ends, constants in time, passed-on rows.

What the compiled runtime fuses, keeps in a thread's tile or writes over must not show in a single bit.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import every
from deployed_graphs import Builder, random_input
from hdlif._native import instruction_sets
from hdlif.graph.artefact import INPUT, Graph
from hdlif.runtime import Session, reference

POINTWISE = (
    "affine",
    "passing",
    "hd_lif",
    "parallel",
    "lif",
    "graded_lif",
    "glif",
    "program",
    "quantise",
    "add",
    "pass",
    "slice",
    "concat",
    "gate",
    "delay",
)
REDUCING = ("conv", "sum_pool", "max_pool", "seca", "flatten", "upsample")


def random_rows(draw: st.DrawFn, op: str) -> dict[str, bool]:
    rows = {"per_step": draw(st.booleans())}
    return rows if op in ("affine", "seca") else rows | {"per_channel": draw(st.booleans())}


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Up to 24 nodes, each of which reads any earlier values that fit; some are read by none."""
    shape = draw(st.tuples(st.sampled_from([1, 2, 3, 5]), st.integers(1, 5), st.integers(1, 5)))
    b = Builder(shape, draw(st.sampled_from([1, 2, 3])), draw(st.integers(0, 99)))
    names = [INPUT]
    for _ in range(draw(st.integers(1, 24))):
        # mostly the latest values, so that stages grow long
        x = names[-1 - min(draw(st.integers(0, 6)), len(names) - 1)]
        is_map = len(b.value_shape(x)) == 3
        op = draw(st.sampled_from(POINTWISE if draw(st.integers(0, 3)) else REDUCING))
        names.append(append(draw, b, op, x, names) if is_map or op in POINTWISE else b.linear(x, draw(WIDTHS)))
    values = b.values()
    for node in b.nodes:
        if node.op == "delay":
            alike = [name for name in names if replace(values[name], constant=False) == values[node.name]]
            b.lead_back(node.name, draw(st.sampled_from(alike)))
    maps = len(b.value_shape(names[-1])) == 3 and draw(st.booleans())
    return b.maps(names[-1]) if maps else b.graph(names[-1])


IDENTITIES = st.sampled_from(
    [(True,), (True, False, True), (False, True, True), (True, True, True, False, False), (False, True, False, True)]
)
WIDTHS = st.sampled_from([2, 3, 17])
MOST_JOINED = LARGEST_MAP = 10
"""Channels of each value that is joined, and rows and columns of upsampled maps: they do not double each time."""


def append(draw: st.DrawFn, b: Builder, op: str, x: str, names: list[str]) -> str:
    shape = b.value_shape(x)
    if op == "add":
        values = b.values()
        alike = [name for name in names if values[name].shape == shape]
        return b.add("add", *draw(st.permutations([x, draw(st.sampled_from(alike))])))
    if op == "delay":
        values = b.values()
        alike = [values[name].max_code for name in names if values[name].shape == shape]
        return b.delay(x, draw(st.sampled_from(alike)) or 0)
    if op == "slice":
        begin = draw(st.integers(0, shape[0] - 1))
        return b.slice(x, begin, draw(st.integers(begin + 1, shape[0])))
    if op == "concat":
        values = b.values()
        alike = [name for name in names if values[name].shape[1:] == shape[1:]]
        parts = [x, draw(st.sampled_from(alike))]
        narrow = [y if values[y].shape[0] <= MOST_JOINED else b.slice(y, 0, MOST_JOINED) for y in parts]
        return b.concat(*draw(st.permutations(narrow)))
    if op == "gate":
        values = b.values()
        fitting = [
            name
            for name in names
            if shape[0] % (of := values[name].shape)[0] == 0 and (of[1:] == shape[1:] or math.prod(of[1:]) == 1)
        ]
        return b.add("gate", x, draw(st.sampled_from(fitting)))
    if op == "pass":
        x = append(draw, b, "affine", x, names) if draw(st.booleans()) else x
        x = append(draw, b, "add", x, names) if draw(st.booleans()) else x
        names.append(x)  # others may read what the neuron does
        return append(
            draw, b, "quantise", append(draw, b, draw(st.sampled_from(["hd_lif", "parallel"])), x, names), names
        )
    if op == "passing":
        return b.passing(x, identity=draw(IDENTITIES))
    if op == "quantise":
        return b.quantise(x, bits=draw(st.sampled_from([1, 2, 4])), inverse_step=2.0, **random_rows(draw, op))
    if op in POINTWISE or op == "seca":
        return getattr(b, op)(x, **random_rows(draw, op))
    if op == "flatten":
        return b.add("flatten", x)
    if op == "upsample":
        limits = [LARGEST_MAP // size for size in shape[1:]]
        return b.add(op, x, factor=tuple(draw(st.integers(1, max(1, min(3, most)))) for most in limits))
    kernel = tuple(draw(st.integers(1, min(3, size))) for size in shape[1:])
    if op == "conv" and draw(st.booleans()):
        return dilated_or_grouped(draw, b, x, kernel)
    padding = tuple(draw(st.integers(0, size - 1)) for size in kernel)
    stride = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (3, 3)]))
    if op == "conv":
        encoding = draw(st.sampled_from(["float32", "ternary", "binary", "int4"]))
        return b.conv(x, draw(WIDTHS), kernel=kernel, stride=stride, padding=padding, encoding=encoding)
    if op == "max_pool":
        return b.add(op, x, kernel=kernel, stride=stride, padding=padding)
    return b.add(op, x, kernel=kernel, stride=stride)


def dilated_or_grouped(draw: st.DrawFn, b: Builder, x: str, kernel: tuple[int, ...]) -> str:
    channels, *sizes = b.value_shape(x)
    dilation = draw(st.sampled_from([(1, 1), (2, 1), (1, 2), (3, 2)]))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding = tuple(draw(st.integers(max(0, (r - size + 1) // 2), r - 1)) for r, size in zip(reach, sizes, strict=True))
    groups = draw(st.sampled_from([1, channels, next(n for n in (2, 3, 5, 1) if channels % n == 0)]))
    encoding = draw(st.sampled_from(["float32", "ternary", "binary", "int4"]))
    out = draw(WIDTHS) if groups == 1 else groups * draw(st.sampled_from([1, 2]))
    stride = draw(st.sampled_from([(1, 1), (2, 1)]))
    return b.conv(
        x, out, kernel=kernel, stride=stride, padding=padding, dilation=dilation, groups=groups, encoding=encoding
    )


def finite(values: np.ndarray) -> np.ndarray:
    """Deep chains may overflow; which of the NaN it is then is no property of the arithmetic."""
    return np.where(np.isnan(values), np.float32(0), values)


def assert_runs_as_the_reference(graph: Graph, threads: int) -> None:
    session = {name: Session(graph, threads, instructions=name) for name in instruction_sets()}
    # plans of one session follow each other; 17 steps are two chunks, of which the second has one
    for steps, batch in ((2, 2), (17, 1), (1, 3)):
        frames = random_input(graph, steps, batch, seed=steps)
        for x in (frames, frames[:1]):
            with np.errstate(all="ignore"):
                expected = reference.run(graph, x, steps)
            for name in instruction_sets():
                np.testing.assert_array_equal(finite(session[name].run(x, steps)), finite(expected), err_msg=name)


@settings(max_examples=20)
@given(graph=graphs(), threads=st.integers(1, 2))
def test_random_graphs(graph: Graph, threads: int) -> None:
    assert_runs_as_the_reference(graph, threads)
    x = random_input(graph, 3, 2)
    session = Session(graph, threads)
    for frames in (x, x[:1]):
        kept = session.values(frames, 3)[graph.output]
        np.testing.assert_array_equal(finite(kept), finite(session.run(frames, 3)))


@pytest.mark.slow
@settings(max_examples=1000)
@given(graph=graphs(), threads=st.integers(1, 3))
def test_many_random_graphs(graph: Graph, threads: int) -> None:
    assert_runs_as_the_reference(graph, threads)


def one_pixel(b: Builder) -> str:
    """A stride of maps of one pixel leads over no step."""
    pooled = b.conv(INPUT, 3, kernel=(4, 5), stride=(2, 3), padding=(0, 0))
    spikes = b.quantise(b.hd_lif(pooled))
    return b.conv(spikes, 4, kernel=(1, 1), stride=(3, 1), padding=(0, 0))


def constant_behind_neurons(b: Builder) -> str:
    """At the second step the neurons run again, and the constant after them does not."""
    stream = b.affine(INPUT)
    spikes = b.hd_lif(b.hd_lif(stream))
    return b.add("add", spikes, b.affine(stream))


def constant_behind_codes(b: Builder) -> str:
    """Codes as floats are not written over it."""
    stream = b.affine(INPUT)
    spikes = b.hd_lif(b.lif(stream))
    return b.add("add", spikes, b.affine(stream))


def codes_of_one_line(b: Builder) -> str:
    """12 floats and 12 codes take one cache line each, so that one could take the place that its pass still reads."""
    joined = b.add("add", b.affine(b.affine(b.hd_lif(b.affine(INPUT)))), INPUT)
    b.affine(b.quantise(b.hd_lif(joined), bits=1))
    return joined


def read_by_nobody(b: Builder) -> str:
    x = b.affine(INPUT)
    b.add("flatten", x)
    b.add("sum_pool", x, kernel=(2, 2), stride=(1, 1))
    b.add("upsample", x, factor=(2, 2))
    b.conv(x, 4)
    b.concat(b.slice(x, 1, 3), INPUT)
    b.add("gate", x, b.slice(x, 1, 2))
    b.seca(b.affine(x))
    b.hd_lif(x)
    return b.hd_lif(x)


@every(make=[one_pixel, constant_behind_neurons, constant_behind_codes, codes_of_one_line, read_by_nobody])
def test_graphs_that_search_finds_seldom(make: Callable[[Builder], str]) -> None:
    b = Builder((3, 4, 5) if make is not codes_of_one_line else (3, 4, 4), 3, 0)
    assert_runs_as_the_reference(b.graph(make(b)), 2)
