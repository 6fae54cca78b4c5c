"""Neurons of one's own in recipes, by the name of their class."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hdlif.cli.eval import evaluate
from hdlif.cli.neurons import show, text
from hdlif.errors import RecipeError
from hdlif.recipe import builders
from own_neurons import AdaptiveHDLIF
from small_recipes import built, neurons, recipe
from trainings import train

ADAPTIVE = 'kind: "own_neurons:AdaptiveHDLIF"'


def test_every_layer_is_of_the_class_and_takes_the_recipe_s_values() -> None:
    layers = neurons(built(f"neuron={{{ADAPTIVE}, rise: 0.3, leak: 0.25, granularity: channel}}"))
    assert all(type(layer) is AdaptiveHDLIF for layer in layers)
    assert all(float(layer.rise.values()[0, 0]) == pytest.approx(0.3) for layer in layers)
    assert all(layer.leak.channels is not None for layer in layers)
    assert not any(layer.quantizer for layer in layers)


def test_a_module_that_fails_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_neurons.py").write_text("import a_library_that_is_not_there\n")
    (tmp_path / "raising_neurons.py").write_text("raise ValueError('bad\\nthings')\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match="importing failing_neurons failed: No module named 'a_library"):
        builders.check(recipe('neuron={kind: "failing_neurons:A"}'))
    with pytest.raises(RecipeError, match="importing raising_neurons failed: bad"):
        builders.check(recipe('neuron={kind: "raising_neurons:A"}'))


def test_a_parameter_of_several_numbers_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vector_neurons.py").write_text(
        "from hdlif.nn import EquationNeuron, Parameter\nclass A(EquationNeuron):\n    leak = Parameter([0.5, 0.6])\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=r"importing vector_neurons failed: start = \[0.5, 0.6\]; a parameter starts"):
        builders.check(recipe('neuron={kind: "vector_neurons:A"}'))
    with pytest.raises(RecipeError, match="importing vector_neurons failed: start = "):
        train("digits_hdlif", overrides=['neuron={kind: "vector_neurons:A"}'], out=tmp_path / "run")
    with pytest.raises(RecipeError, match=r"neuron.leak = \[0.5, 0.6\] is refused"):
        train("digits_hdlif", overrides=[f"neuron={{{ADAPTIVE}, leak: [0.5, 0.6]}}"], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_is_shown_of_a_neuron() -> None:
    shown = show("own_neurons:AdaptiveHDLIF")
    assert shown["states"] == ["potential", "adaptation"]
    assert (shown["counts"]["operations"], shown["counts"]["state_bytes"]) == (7, 8)
    assert shown["surrogates"] == []
    # v, and a bit for whether it fired, and the adaptation, whose leak is learned
    assert shown["saved_bytes"] == 8.125
    assert "membrane = leak * potential + current" in shown["equation"]
    for words in (
        "7 operations",
        "derivatives are true",
        "parameter threshold = 0.5, learned in (0, ∞)",
        "rise = 0.1, fixed",
    ):
        assert words in text(shown)
    assert "which is Triangle(width=1.0)" in text(show("own_neurons:LIF"))
    for kind in ("own_neurons:LongWay", "hdlif.nn:EquationNeuron"):
        with pytest.raises(RecipeError):
            show(kind)


def test_every_kind_that_ships_is_shown_by_its_equation() -> None:
    counts = {"lif": 3, "glif": 5, "graded_lif": 3, "hdlif": 3, "parallel_hdlif": 1}
    states = {kind: ["potential"] for kind in counts} | {"glif": ["potential", "fired"], "parallel_hdlif": []}
    for kind, operations in counts.items():
        shown = show(kind)
        assert (shown["counts"]["operations"], shown["states"]) == (operations, states[kind]), kind
        assert shown["equation"].startswith("def ")
        assert '"""' not in shown["equation"]
        learned = {parameter["name"]: parameter["learned"] for parameter in shown["parameters"]}
        assert learned["threshold"] == (kind != "lif")
        assert f"{operations} operation{'s' * (operations != 1)} a neuron and step" in text(shown)
    for kind, layer in builders.EQUATIONS.items():
        shown = show(kind)
        assert shown | {"kind": layer.place} == show(layer.place), kind
        assert shown["equation"].splitlines()[-1].startswith("    return ")
    assert counts.keys() | builders.EQUATIONS.keys() == builders.CLASSES.keys() == builders.NEURONS.keys()


NEURON = """
import torch
from hdlif.nn import EquationNeuron, Parameter

class Mine(EquationNeuron):
    states = ("potential", "trace")
    leak = Parameter(0.5)

    @staticmethod
    def step(current, potential, trace, leak):
        membrane = leak * potential + current
        spike = torch.relu(membrane - 0.5 - trace)
        return spike, membrane - spike, 0.5 * trace + 0.25 * spike
"""


def test_a_neuron_in_the_working_folder_trains_resumes_and_is_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a command of its own; what follows has the folder of that command."""
    (tmp_path / "mine.py").write_text(NEURON)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    overrides = [
        "data={kind: synthetic, batch_size: 64, validation: 40}",
        "model={kind: resnet, blocks: [1], width: 2}",
        "training.warmup_epochs=0",
        "training.epochs=2",
        'neuron={kind: "mine:Mine"}',
    ]
    settings = [part for word in overrides for part in ("--set", word)]
    done = subprocess.run(
        [sys.executable, "-m", "hdlif", "train", "digits_hdlif", *settings, "--memory-repeats=0", "--out=r", "--json"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    trained = json.loads(done.stdout)
    assert trained["nops"] is not None
    assert trained["stored_mb"] is not None
    try:
        assert evaluate(Path("r")).accuracy == trained["accuracy"]
        assert show("mine:Mine")["states"] == ["potential", "trace"]
        again = train("digits_hdlif", overrides=overrides, out=Path("r"), memory_repeats=0, resume=True)
        assert again.accuracy == trained["accuracy"]
    finally:
        sys.modules.pop("mine", None)
