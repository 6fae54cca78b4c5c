"""Fixed point: the oracle is near the reference. Its integers in C: test_translation.py."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from c_networks import joined
from cases import every, naming
from deployed_graphs import Builder, random_input, residual_network
from hdlif.deploy.c import translate
from hdlif.deploy.c.building import FLAGS, Library
from hdlif.deploy.c.fixed.fixed_point import fixed_point, reals
from hdlif.errors import InputError
from hdlif.graph.artefact import INPUT, Graph, InputRecord
from hdlif.graph.equations import Instruction, Program
from hdlif.graph.ops import OPS
from hdlif.inputs.fitting import normalised
from hdlif.runtime import reference
from one_op import of_one_op

QUICK = tuple(flag for flag in FLAGS if flag != "-O2")
pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")


def off(graph: Graph, x: np.ndarray) -> float:
    """The largest difference of the outputs to the reference's, as a share of the largest output."""
    fixed = fixed_point(graph, x, len(x))
    expected = reference.run(graph, x)
    found = reals(fixed.run(fixed.frame(x), len(x)), fixed.fractions[graph.output])
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@every(op=sorted(OPS.keys() - {"program", "delay"}))
def test_every_op_is_near_the_reference(op: str) -> None:
    graph = joined(of_one_op(op))
    assert off(graph, random_input(graph, 4, 2)) < 0.01


def alone(b: Builder, x: str) -> Graph:
    """The sums of a value's channels as outputs."""
    return replace(b.graph(x), output=b.add("global_sum_pool", x), nodes=tuple(b.nodes), labels=("a", "b", "c"))


@every("scale", "shift", of=[(0.01, 0.001), (0.001, 0.0005), (1e-7, 0.0), (1e4, -3e4), (1e10, 1e11)])
def test_an_affine_of_any_size_has_the_precision_of_16_bits(scale: float, shift: float) -> None:
    b = Builder((3, 1, 1), 1, 0)
    rows = {"scale": np.full((1, 3), scale, np.float32), "shift": np.full((1, 3), shift, np.float32)}
    graph = alone(b, b.add("affine", INPUT, tensors=rows))
    assert off(graph, random_input(graph, 1, 50)) < 0.0005


@every(operation=["minimum", "maximum"], bound=[1e4, 1e30, 3e-5])
def test_a_constant_bound_costs_the_other_operand_no_precision(operation: str, bound: float) -> None:
    b = Builder((3, 1, 1), 1, 0)
    value = bound if operation == "minimum" else -bound
    program = Program((), (), (Instruction("constant", (), value), Instruction(operation, (0, 1))), 2, ())
    graph = alone(b, b.program(INPUT, program=program))
    assert off(graph, random_input(graph, 1, 50)) < 0.0005


def test_what_fixed_point_cannot_hold_is_refused_by_name() -> None:
    """Sums of a pool and of a layer beyond 32 bits, and samples that are not finite."""
    pooled, wide = Builder((3, 300, 300), 1, 0), Builder((700, 1, 1), 1, 0)
    for name, graph, first in (
        ("global_sum_pool", alone(pooled, pooled.affine(INPUT)), 1.0),
        ("conv2d", wide.graph(wide.conv(INPUT, 3, kernel=(1, 1), padding=(0, 0), encoding="int8")), 1.0),
        ("input", residual_network(), np.inf),
        ("input", residual_network(), np.nan),
    ):
        x = random_input(graph, 1, 1)
        x[0, 0, 0, 0, 0] = first
        with naming(name, first), pytest.raises(InputError, match=f"{name}: "):
            fixed_point(graph, x, 1)


def test_a_frame_of_pixels_is_that_of_the_oracle(tmp_path: Path) -> None:
    graph = residual_network()
    record = InputRecord(graph.input.shape, (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))
    graph = replace(graph, input=record)
    fixed = fixed_point(graph, random_input(graph, 1, 1), 1)
    library = Library(translate(graph, fixed=fixed), tmp_path, flags=QUICK)
    pixels = np.random.default_rng(0).integers(0, 256, record.shape).astype(np.uint8)
    expected = fixed.frame(normalised(pixels, record.mean, record.std))
    # at a half one of them may round the other way
    assert np.abs(library.frame(pixels) - expected).max() <= 1


def test_a_frame_of_readings_is_that_of_the_oracle_with_halves_and_beyond_16_bits(tmp_path: Path) -> None:
    graph = residual_network()
    record = InputRecord(graph.input.shape, (0.0, 0.25, 0.1), (1.0, 0.5, 0.3), kind="events", resize="none")
    fixed = fixed_point(replace(graph, input=record), random_input(graph, 1, 1), 1)
    library = Library(translate(fixed.graph, fixed=fixed), tmp_path, flags=QUICK)
    values = np.random.default_rng(0).normal(size=record.shape).astype(np.float32)
    values[0].flat[:6] = np.array([0.5, 1.5, -0.5, -1.5, 2**16, -(2**16)]) / 2.0**fixed.input_fraction
    np.testing.assert_array_equal(
        library.frame(values), fixed.frame(normalised(values, record.mean, record.std, whole=1))
    )


def test_numbers_beyond_the_formats_are_held_at_the_largest() -> None:
    graph = residual_network()
    fixed = fixed_point(graph, random_input(graph, 1, 1), 1)
    x = np.full((1, 1, *graph.input.shape), 1e20, np.float32)
    assert set(np.unique(fixed.frame(x))) == {2**15 - 1}
    assert set(np.unique(fixed.frame(-x))) == {-(2**15)}
