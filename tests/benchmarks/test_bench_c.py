"""Instructions of a step on a microcontroller: what is counted runs as it should, beside all layers as dense ones."""

import json
import sys
from pathlib import Path

import pytest
import torch

import bench_c
from hdlif.artefact import load, save
from hdlif.c_code.devices import installed
from hdlif.deploy.lower import lower
from hdlif.recipe import builders, load_recipe


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits' network with the weights that training begins with."""
    recipe = load_recipe("digits_hdlif_w1p5_s4_parallel", ["model.width=4"])
    torch.manual_seed(0)
    graph = lower(
        builders.build_model(recipe).eval(),
        input=builders.input_record(recipe),
        labels=builders.data_kind(recipe).labels,
        time_steps=recipe.time_steps,
    )
    path = tmp_path_factory.mktemp("digits") / "digits.hdlif.safetensors"
    save(graph, path)
    return path


@pytest.mark.slow
@pytest.mark.skipif("cortex-m4" not in installed(), reason="no tools for cortex-m4")
def test_a_step_is_counted_and_recorded(
    artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "c.json"
    given = ["--data", "digits", "--samples", "2", "--devices", "cortex-m4", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["bench_c.py", str(artefact), *given])
    assert bench_c.main() == 0
    rows = json.loads(out.read_text())["devices"]["cortex-m4"]
    assert set(rows) == {"float", "fixed", "dense int8"}
    assert all(0 < row["mean"] <= row["longest"] for row in rows.values())
    assert f"{rows['fixed']['mean']:,.0f}" in capsys.readouterr().out


def test_the_dense_program_has_every_layer_of_weights(artefact: Path) -> None:

    graph = load(artefact)
    files = bench_c.dense(graph)
    layers = [node for node in graph.nodes if "weight" in node.tensors]
    assert files["dense.c"].count("static const struct layer") == len(layers)
    for place, node in enumerate(layers):
        assert f"int8_t WEIGHTS_{place}[{node.tensors['weight'].size}]" in files["dense.c"]
