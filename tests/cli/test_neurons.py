"""`hdlif neurons`: what it lists and shows of costs is what networks count and keep."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from cases import every
from command_line import hdlif
from hdlif import deploy
from hdlif._native import instruction_sets
from hdlif.cli.neurons import VARIANTS, ls, show, step_costs, text
from hdlif.errors import RecipeError
from hdlif.graph.artefact import Graph, InputRecord, infer_values
from hdlif.nn import SlidingParallelHDLIF, SteppedNeuron
from hdlif.recipe import builders
from hdlif.report.accounting import profile, step_counts
from hdlif.runtime import Session, reference
from small_recipes import built, neurons

ROWS = [(kind, keys) for kind in builders.NEURONS for keys in ([], *([key] for key in VARIANTS.get(kind, ())))]
RECORD, LABELS = InputRecord((1, 8, 8), (0.0,), (1.0,)), tuple("abcdefghij")


@pytest.fixture(scope="module")
def listed() -> dict[tuple[str, ...], dict[str, Any]]:
    return {(row["kind"], *row["keys"]): row for row in step_costs()}


@every("kind", "keys", of=ROWS)
def test_what_is_listed_is_what_the_deployed_network_counts_and_keeps(
    kind: str, keys: list[str], listed: dict[tuple[str, ...], dict[str, Any]]
) -> None:
    row = listed[kind, *keys]
    section = ", ".join([f"kind: {kind}", *(key.replace("=", ": ", 1) for key in keys)])
    network = built(f"neuron={{{section}}}", "model.blocks=[1]", "norm={kind: batch_norm, per_step: false}")
    # Batch norm lets some neurons fire once it has seen samples.
    x = torch.randn(4, 8, 1, 8, 8)
    network(x, steps=range(4))
    graph = deploy.lower(network.eval(), input=RECORD, labels=LABELS, time_steps=4)
    # Deployed, it has the bits of the oracle, on each instruction set and step by step.
    frames = x[:, :3].numpy()
    expected = reference.run(graph, frames)
    assert np.ptp(expected, axis=0).max() > 0.01
    for instructions in instruction_sets():
        session = Session(graph, instructions=instructions)
        np.testing.assert_array_equal(session.run(frames), expected, strict=True)
        state = None
        for frame, of_step in zip(frames, expected, strict=True):
            logits, state = session.step(frame, state)
            np.testing.assert_array_equal(logits, of_step, strict=True)
    entries = neurons_of(graph)
    assert profile(graph, torch.randn(4, 1, 1, 8, 8)).nops == 4 * entries * row["operations"]
    assert kept_bytes(graph) == entries * row["state_bytes"]
    layer = neurons(network)[0]
    assert isinstance(layer, SteppedNeuron)
    counted = step_counts(layer)
    for key in ("multiplications", "additions", "comparisons", "operations", "state_bytes"):
        assert row[key] == getattr(counted, key)


def neurons_of(graph: Graph) -> int:
    found = infer_values(graph)
    return sum(int(np.prod(found[node.name].shape)) for node in graph.nodes if node.op == "program")


def kept_bytes(graph: Graph) -> int:
    """What is carried from step to step, but for the number of the step."""
    _, state = Session(graph).step(np.zeros((1, 1, 8, 8), np.float32))
    return sum(value.nbytes for name, value in state.items() if name != "t")


def test_a_recurrent_layer_adds_and_keeps_what_it_emitted() -> None:
    network = built("neuron={kind: hdlif, recurrent: true}", "model.blocks=[1]").eval()
    graph = deploy.lower(network, input=RECORD, labels=LABELS, time_steps=4)
    assert kept_bytes(graph) == 8 * neurons_of(graph)
    # One of each of its two layers, beside the block's own.
    assert sum(node.op == "add" for node in graph.nodes) == 2 + 1


def test_the_command_line_lists_every_kind_that_ships_with_its_costs(
    listed: dict[tuple[str, ...], dict[str, Any]],
) -> None:
    assert [row[0] for row in listed if len(row) == 1] == list(builders.NEURONS)
    assert len(listed) == len(ROWS)
    assert "costs" not in ls()
    assert "| `hdlif` | 1 | 2 | 0 | 3 | 4 | 4.125 |" in hdlif("neurons", "ls", "--costs").stdout
    assert json.loads(hdlif("neurons", "ls", "--costs", "--json").stdout)["costs"] == list(listed.values())


def test_the_list_has_the_spikes_and_states_of_each_kind_in_100_columns() -> None:
    listed, lines = ls(), hdlif("neurons", "ls").stdout.splitlines()
    assert max(map(len, lines)) <= 100
    rows = {line.split()[0]: line for line in lines if line[0] != " "}
    for kind in builders.NEURONS:
        shown = show(kind)
        assert listed["states"][kind] == shown["states"]
        assert listed["spikes"][kind] == ("graded" if shown["emits"] == "reals" else "binary")
        assert f"  {listed['spikes'][kind]}  {', '.join(shown['states']) or 'none'}  " in rows[kind]


def test_keys_of_the_section_shape_what_is_shown() -> None:
    shown = json.loads(hdlif("neurons", "show", "sliding_parallel_hdlif", "--set", "taps=[-1, 0, 1]", "--json").stdout)
    assert shown["states"] == ["delayed_1", "delayed_2"]
    counts = {"multiplications": 0, "additions": 2, "comparisons": 0, "state_words": 2, "operations": 2}
    assert shown["counts"] == counts | {"state_bytes": 8}
    assert step_counts(SlidingParallelHDLIF(1, taps=[-1, 0, 1])).state_bytes == 8
    assert "2 numbers kept, 8 bytes" in text(shown)
    own = show("own_neurons:Delayed", ["delay=3", "threshold=0.25"])
    assert own["counts"]["state_bytes"] == 12
    assert own["parameters"][0]["start"] == 0.25


def test_keys_that_do_not_go_are_refused() -> None:
    for kind, key, words in (
        ("hdlif", "lek=3", "neuron.lek = .* is unknown; choose one of granularity, leak"),
        ("hdlif", "mem_bn=true", 'neuron "hdlif" with mem_bn=true has more than one equation; `hdlif profile`'),
        ("hdlif", "recurrent=true", "with recurrent=true has more than one equation"),
        (
            "hdlif",
            "kind=lif",
            'kind cannot be set, because it is the neuron itself, "hdlif"; name another neuron instead',
        ),
    ):
        with pytest.raises(RecipeError, match=words):
            show(kind, [key])


def test_the_leaks_that_time_constants_spread_are_shown() -> None:
    for kind, names, line in (
        ("lif", ["leak"], "neuron.time_constants spreads leak over the channels"),
        ("adaptive_hdlif", ["leak", "adaptation_leak"], "over the channels, and by name adaptation_leak"),
        ("own_neurons:AdaptiveHDLIF", ["leak", "decay"], "over the channels, and by name decay"),
        ("resonate_hdlif", ["decay"], "spreads decay over the channels"),
        ("glif", [], None),
    ):
        shown = show(kind)
        assert shown["time_constants"] == names
        lines = [one for one in text(shown).splitlines() if "time_constants" in one]
        assert [one.endswith(line) for one in lines] == [True] if line else not lines
