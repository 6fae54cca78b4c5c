"""Networks in fixed point: the C code has the oracle's integers, and the oracle is near the reference."""

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings

from c_networks import assert_has_the_bits_of_fixed_point, fresh
from deployed_graphs import residual_network, two_streams
from hdlif.artefact import Graph
from hdlif.c_code.building import FLAGS
from hdlif.errors import InputError
from hdlif.ops import OPS
from one_op import of_one_op
from runtime.test_random_graphs import graphs

QUICK = tuple(flag for flag in FLAGS if flag != "-O2")
pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")


@pytest.mark.parametrize("op", sorted(OPS))
def test_every_op_has_the_oracles_integers(op: str, tmp_path: Path) -> None:
    assert_has_the_bits_of_fixed_point(of_one_op(op), tmp_path, flags=QUICK)


@pytest.mark.parametrize("encoding", ["ternary", "binary", "int4", "int8", "float32"])
def test_a_residual_network_has_the_oracles_integers(encoding: str, tmp_path: Path) -> None:
    assert_has_the_bits_of_fixed_point(residual_network(encoding=encoding, width=9), tmp_path)


def test_slices_and_joined_channels_have_the_oracles_integers(tmp_path: Path) -> None:
    assert_has_the_bits_of_fixed_point(two_streams(), tmp_path, flags=QUICK)


RANDOM = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=6, **RANDOM)
@given(graph=graphs())
def test_any_graph_has_the_oracles_integers(graph: Graph, tmp_path: Path) -> None:
    try:
        assert_has_the_bits_of_fixed_point(graph, fresh(tmp_path), flags=QUICK)
    except InputError as error:
        assume("its sums may reach" not in str(error))
        raise


@pytest.mark.slow
@settings(max_examples=250, **RANDOM)
@given(graph=graphs())
def test_many_graphs_have_the_oracles_integers(graph: Graph, tmp_path: Path) -> None:
    test_any_graph_has_the_oracles_integers.hypothesis.inner_test(graph, tmp_path)
