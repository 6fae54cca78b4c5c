"""Neurons with more memory than HD-LIF from their recipes to the compiled runtime."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hdlif._native import instruction_sets
from hdlif.cli.export import export_file as export
from hdlif.cli.predict import predict_files as run
from hdlif.cli.profile import profile
from hdlif.graph.artefact import load
from hdlif.graph.equations import counts
from hdlif.recipe import builders, load_recipe
from hdlif.runtime import Session, reference
from trainings import train

SMALL = [
    "model={kind: resnet, blocks: [1], width: 4}",
    "training.epochs=1",
    "data.train=256",
    "weights={kind: ternary}",
]


@pytest.mark.parametrize(
    ("kind", "spikes"), list(zip(builders.EQUATIONS, ("exact", "quantised", "exact", "quantised"), strict=True))
)
def test_trained_from_its_recipe_it_runs_natively_as_the_oracle_does(kind: str, spikes: str, tmp_path: Path) -> None:
    recipe = f"digits_rows_{kind}"
    overrides = [*SMALL, f"spikes={{kind: {spikes}}}"]
    summary = train(recipe, overrides=overrides, out=tmp_path / "run", memory_repeats=0)
    artefact = tmp_path / "net.hdlif.safetensors"
    export(tmp_path / "run", out=artefact)
    graph, test = load(artefact), builders.build_data(load_recipe(recipe, overrides)).test
    x = test.sequence(torch.arange(3))[0].numpy()
    expected = reference.run(graph, x)
    assert {node.attributes["kind"] for node in graph.nodes if node.op == "program"} == {
        builders.EQUATIONS[kind].get().__name__
    }
    # Rows differ from step to step, so that what is remembered counts.
    assert len(x) == 8
    assert np.ptp(expected, axis=0).max() > 0.01
    for instructions in instruction_sets():
        session = Session(graph, instructions=instructions)
        np.testing.assert_array_equal(session.run(x), expected, strict=True)
        state, logits = None, None
        for frame, of_step in zip(x, expected, strict=True):
            logits, state = session.step(frame, state)
            np.testing.assert_array_equal(logits, of_step, strict=True)
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", x[:, i])
    found = run(artefact, [tmp_path / f"{i}.npy" for i in range(3)]).as_dict()["inputs"]
    np.testing.assert_allclose([one["logits"] for one in found], expected.mean(0), rtol=1e-6)
    neurons = 2 * 4 * 8
    operations = counts(builders.EQUATIONS[kind].get()(1).program()).operations
    assert summary.nops == profile(str(artefact), data="digits").nops == 8 * neurons * operations
