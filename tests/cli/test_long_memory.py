"""Neurons with more memory than HD-LIF from their recipes to the compiled runtime."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hdlif._native import instruction_sets
from hdlif.cli.predict import predict_files as run
from hdlif.cli.profile import profile
from hdlif.deploy import export
from hdlif.graph.artefact import load
from hdlif.graph.equations import counts
from hdlif.recipe import builders, load_recipe
from hdlif.runtime import Session, reference


@pytest.mark.parametrize(
    ("kind", "spikes"), list(zip(builders.EQUATIONS, ("exact", "quantised", "exact", "quantised"), strict=True))
)
def test_built_from_its_recipe_it_runs_natively_as_the_oracle_does(kind: str, spikes: str, tmp_path: Path) -> None:
    small = ["model={kind: resnet, blocks: [1], width: 4}", "weights={kind: ternary}", f"spikes={{kind: {spikes}}}"]
    recipe = load_recipe(f"digits_rows_{kind}", small)
    equation = builders.EQUATIONS[kind].get()
    torch.manual_seed(0)
    network, path = builders.build_model(recipe), tmp_path / "net.hdlif.safetensors"
    x = builders.build_data(recipe).test.sequence(torch.arange(16))[0]
    # Batch norm lets some neurons fire once it has seen samples.
    network(x, steps=range(8))
    record, labels = builders.input_record(recipe), builders.data_kind(recipe).labels
    export(network.eval(), path, input=record, labels=labels, time_steps=8)
    graph, frames = load(path), x[:, :3].numpy()
    expected = reference.run(graph, frames)
    assert {node.attributes["kind"] for node in graph.nodes if node.op == "program"} == {equation.__name__}
    # Rows differ from step to step, so that what is remembered counts.
    assert np.ptp(expected, axis=0).max() > 0.01
    for instructions in instruction_sets():
        session = Session(graph, instructions=instructions)
        np.testing.assert_array_equal(session.run(frames), expected, strict=True)
        state, logits = None, None
        for frame, of_step in zip(frames, expected, strict=True):
            logits, state = session.step(frame, state)
            np.testing.assert_array_equal(logits, of_step, strict=True)
    np.save(tmp_path / "x.npy", frames[:, 0])
    (found,) = run(path, [tmp_path / "x.npy"]).inputs
    np.testing.assert_allclose(found.answer["logits"], expected.mean(0)[0], rtol=1e-6)
    neurons = 2 * 4 * 8
    assert profile(str(path), data="digits").nops == 8 * neurons * counts(equation(1).program()).operations
