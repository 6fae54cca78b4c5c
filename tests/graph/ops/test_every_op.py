"""Every op, by the same questions: its homes, its number, and that all of its forms compute what its oracle does."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import hdlif
from cases import every
from deploy.test_onnx import assert_equals_reference
from deployed_graphs import Builder, random_input
from hdlif._native import check_artefact, instruction_sets
from hdlif.deploy import GraphModule
from hdlif.deploy.ops import FORMS
from hdlif.errors import ArtefactError
from hdlif.graph.artefact import INPUT, dumps, loads
from hdlif.graph.dataflow import is_recurrent, state_names
from hdlif.graph.inference import infer_values
from hdlif.graph.ops import OPS
from hdlif.report.small_graphs import small_graphs
from hdlif.runtime import Session, reference
from model_files import put, rewritten
from one_op import of_one_op
from runtime.ways_of_running import assert_runs_as_steps
from same_bits import assert_same_bits

ROOT = Path(hdlif.__file__).parents[2]
STEPS, BATCH = 4, 2


def test_every_op_has_its_forms() -> None:
    assert FORMS.keys() == OPS.keys()


def test_the_homes_that_the_page_lists_are_there_for_every_op() -> None:
    """docs/contributing/index.md names each home as a path with NAME in it."""
    page = (ROOT / "docs" / "contributing" / "index.md").read_text()
    homes = set(re.findall(r"`([\w./]*NAME[\w./]*)`", page))
    assert len(homes) == 4
    for home in homes:
        missing = [name for name in OPS if not (ROOT / home.replace("NAME", name)).is_file()]
        assert not missing, f"{home}: no file for {missing}"


def test_every_op_is_in_the_small_networks_that_a_machine_is_checked_by() -> None:
    assert {node.op for _, graph in small_graphs() for node in graph.nodes} == OPS.keys()


@every(op=sorted(OPS))
def test_the_runtime_gives_the_bits_of_the_oracle_for_every_op(op: str) -> None:
    """Each value of the graph and each state, on every instruction set, by run, by step and as a sequence."""
    graph = of_one_op(op)
    assert op in {node.op for node in graph.nodes}
    x = random_input(graph, STEPS, BATCH)
    assert_same_bits(graph, x)
    assert_runs_as_steps(graph, x)


@every(op=sorted(OPS))
def test_the_torch_form_of_every_op_gives_what_the_oracle_does(op: str) -> None:
    """As a whole, in chunks, and node by node on what the oracle gave the node unless steps come one by one."""
    graph = of_one_op(op)
    x = random_input(graph, STEPS, BATCH)
    module, frames = GraphModule(graph), torch.from_numpy(x)
    logits, whole = module(frames, steps=range(STEPS))
    torch.testing.assert_close(logits, torch.from_numpy(reference.run(graph, x)), atol=1e-4, rtol=1e-4)
    first, between = module(frames[:1], steps=range(1))
    rest, after = module(frames[1:], between, steps=range(1, STEPS))
    torch.testing.assert_close(torch.cat([first, rest]), logits, atol=1e-6, rtol=1e-6)
    assert all(torch.equal(after[n][s], whole[n][s]) for n in whole or () for s in whole[n])
    if is_recurrent(graph):
        return
    state = {
        f"{node.name}.{name}": np.zeros((BATCH, *infer_values(graph)[node.name].shape), np.float32)
        for node in graph.nodes
        for name in state_names(node)
    }
    steps = [reference.evaluate(graph, frame, state, t) for t, frame in enumerate(x)]
    values = {name: torch.from_numpy(np.stack([step[name] for step in steps]).astype(np.float32)) for name in steps[0]}
    for node in graph.nodes:
        output, after = module.run_node(node, tuple(values[name] for name in node.inputs), None, range(STEPS))
        torch.testing.assert_close(output.expand_as(values[node.name]), values[node.name], atol=1e-4, rtol=1e-4)
        for name in state_names(node):
            assert after is not None
            np.testing.assert_allclose(after[name], state[f"{node.name}.{name}"], atol=1e-5)


@every(op=sorted(OPS))
def test_a_file_of_every_op_reads_back_the_same(op: str) -> None:
    graph = of_one_op(op)
    assert dumps(loads(dumps(graph), "x")) == dumps(graph)


@pytest.mark.peers
@every(op=sorted(OPS))
def test_the_onnx_forms_of_every_op_give_what_the_oracle_does(op: str) -> None:
    assert_equals_reference(of_one_op(op))


def test_a_gate_of_other_channels_or_another_map_is_refused() -> None:
    b = Builder((4, 3, 3), 2, 0)
    gated = b.add("gate", INPUT, b.slice(INPUT, 0, 2))
    b.add("gate", gated, b.add("sum_pool", INPUT, kernel=(3, 3), stride=(1, 1)))
    content = dumps(b.graph(b.nodes[-1].name))
    for path, value in (("0/attributes/end", 3), ("2/attributes/kernel", [2, 2])):
        changed = rewritten(put(f"graph/nodes/{path}", value), content)
        with pytest.raises(ArtefactError, match="gate takes"):
            loads(changed, "x")
        with pytest.raises(ArtefactError, match="gate takes"):
            check_artefact(changed)


def test_an_open_gate_passes_every_bit_and_a_nan_closes_it() -> None:
    """In the runtime as in the oracle: each special number in the value, by columns, with each in the gate, by rows."""
    b = Builder((2, 6, 6), 1, 0)
    gated = b.add("gate", b.slice(INPUT, 0, 1), b.slice(INPUT, 1, 2))
    graph = b.graph(gated)
    special = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0], np.float32)
    x, a = np.meshgrid(special, special)
    with np.errstate(invalid="ignore"):
        expected = reference.evaluate(graph, np.stack([x, a])[None], {}, 0)[gated]
    assert expected.tobytes() == np.where(a > 0, x, np.float32(0)).tobytes()
    for name in instruction_sets():
        found = Session(graph, 1, instructions=name).values(np.stack([x, a])[None, None], 1)[gated]
        assert found.tobytes() == expected.tobytes(), name
