"""`hdlif coherence` on the bundled digits: which networks, losses and rules are compared, and what is said of them."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from command_line import hdlif
from hdlif.cli.coherence import as_text, coherence
from hdlif.cli.eval import evaluate
from hdlif.cli.export import export_file as export
from hdlif.errors import CheckpointError, DataError, RecipeError
from hdlif.nn import Neuron
from hdlif.recipe import load_recipe
from hdlif.report import rule_gradients as module
from hdlif.training.threads import Threads
from trainings import train

SMALL = ["model.width=4", "model.blocks=[1]", "data.batch_size=16"]
RULES = ["sltt", "ottt", "ndot", "stochastic_step"]


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("coherence") / "new"
    found = coherence(["digits_hdlif"], overrides=SMALL, batches=1, out=folder, threads=1)
    assert json.loads((folder / "coherence.json").read_text()) == found
    return found


def test_a_recipe_has_its_own_neuron_and_lif_beside_it_under_each_loss(untrained: dict[str, Any]) -> None:
    entries = untrained["networks"]
    assert [(entry["neuron"], entry["loss"]) for entry in entries] == [
        (neuron, loss) for neuron in ("hdlif", "lif") for loss in ("mean_logits", "per_step", "as_trained")
    ]
    promised = {"name", "cosine", "norm_ratio", "equal", "dropped", "wrong", "firing_rate", "per_step"}
    for entry in entries:
        assert (entry["target"], entry["trained"]) == ("digits_hdlif", False)
        assert (entry["images"], entry["time_steps"], list(entry["rules"])) == (16, 4, RULES)
        for rule in entry["rules"].values():
            assert all(promised <= set(layer) for view in ("local", "end_to_end") for layer in rule[view]["layers"])
        whole = entry["rules"]["sltt"]["local"]["whole"]
        assert whole["equal"] + whole["dropped"] + whole["wrong"] == pytest.approx(1)
        assert (whole["wrong"] == 0) == (entry["neuron"] == "hdlif")
    chosen = {"neurons": ["lif"], "losses": ["per_step"]}
    found = module.coherence(["digits_hdlif"], overrides=SMALL, batches=1, threads=1, **chosen)["networks"]
    assert found == [one for one in entries if (one["neuron"], one["loss"]) == ("lif", "per_step")]


def test_a_run_its_network_and_its_state_are_each_shown_alone_along_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    brief = [*SMALL, "training.epochs=1", "data.train=32", "time_steps=2"]
    train("digits_hdlif", overrides=brief, out=run, memory_repeats=0)
    capsys.readouterr()
    paths = [str(run), str(run / "model.safetensors"), str(run / "last.safetensors")]
    entries = coherence(paths, batches=1, progress=True, threads=1)["networks"]
    assert (len(entries), {entry["trained"] for entry in entries}) == (9, {True})
    # One epoch: the same weights, beside which a training has running statistics of its own.
    assert entries[0]["rules"] == entries[3]["rules"] == entries[6]["rules"]
    # Each network is a line of progress where there is no terminal.
    printed = capsys.readouterr()
    assert (printed.out, len(re.findall(r": compared in \d+ s\n", printed.err))) == ("", 3)
    state = run / "last.safetensors"
    export(state, out=tmp_path / "net")
    accuracies = [evaluate(path, data="digits").accuracy for path in (state, tmp_path / "net")]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.01)


def test_gradients_are_compared_with_pytorchs_threads_or_those_that_are_given_or_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = []

    def timed(update: Any, counts: list[int], *, rounds: int) -> Threads:
        update(0)
        assert counts == [1, 2, 3]
        return Threads(3, "measured", {1: 2.0, 3: 1.0})

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("hdlif.training.threads.available_cores", lambda: 3)
    monkeypatch.setattr(module, "measured", timed)
    monkeypatch.setattr(module, "compare", lambda *_, **__: compared.append(torch.get_num_threads()) or {})
    before = torch.get_num_threads()
    # Of LIF and HD-LIF, for which threads are measured once.
    for given, threads in ((None, before), (2, 2), ("auto", 3)):
        coherence(["digits_hdlif"], overrides=SMALL, batches=1, threads=given)
        assert compared == [threads] * 6
        compared.clear()
    assert torch.get_num_threads() == before


def test_lif_beside_another_neuron_has_the_same_weights_and_float_spikes() -> None:
    overrides = [*SMALL, "neuron={kind: hdlif, granularity: layer}", "spikes={kind: quantised}"]
    own, other = module._networks("digits_hdlif", overrides)
    assert (own.neuron, other.neuron) == ("hdlif", "lif")
    neurons = tuple(f"{name}." for name, part in own.module.named_modules() if isinstance(part, Neuron))
    theirs = other.module.state_dict()
    compared = [name for name in own.module.state_dict() if not name.startswith(neurons)]
    assert "body.stage1.0.conv2.weight" in compared
    for name in compared:
        assert torch.equal(own.module.state_dict()[name], theirs[name]), name
    shown = module._networks("digits_hdlif", [*SMALL, "neuron={kind: parallel_hdlif}"])
    assert [network.neuron for network in shown] == ["parallel_hdlif", "lif", "hdlif"]


def end_to_end(rule: str) -> dict[str, Any]:
    overrides = [*SMALL, f"rule={{{rule}}}"]
    found = module.coherence(
        ["digits_hdlif"], overrides=overrides, batches=1, neurons=["hdlif"], losses=["mean_logits"]
    )
    return {name: figures["end_to_end"] for name, figures in found["networks"][0]["rules"].items()}


def test_the_rule_of_the_recipe_stands_for_its_kind() -> None:
    found = end_to_end("kind: stochastic_step, k: 2, draw: stratified")
    plans = found["stochastic_step"]["plans"]
    assert [plan["steps"] for plan in plans] == [[0, 2], [0, 3], [1, 2], [1, 3]]
    assert len(found["sltt"]["plans"]) == 1
    of_window, of_own = (
        list(module._rules(load_recipe("digits_hdlif", [*SMALL, f"rule={{{words}}}"])))
        for words in ("kind: stochastic_window, length: 2", 'kind: "own_parts:Plainly"')
    )
    assert (of_own, of_window) == (RULES, [*RULES, "stochastic_window"])


@pytest.mark.slow
def test_a_leak_of_the_recipes_rule_is_that_of_its_traces() -> None:
    default, short, long = (end_to_end(f"kind: ottt, leak: {leak}") for leak in (0.5, 0.1, 0.9))
    assert short["ottt"]["norm_ratio"] < default["ottt"]["norm_ratio"] < long["ottt"]["norm_ratio"]
    assert [found["ndot"] for found in (short, long)] == [default["ndot"]] * 2
    # Updates at every step are no other gradient.
    assert end_to_end("kind: ottt, leak: 0.1, update: each") == short
    assert default == end_to_end("kind: stochastic_step")


def test_a_rule_that_cannot_learn_from_the_network_has_a_dash_and_its_reason(tmp_path: Path) -> None:
    overrides = [*SMALL[2:], "model={kind: 'own_models:Untraceable'}", "neuron={kind: lif}"]
    found = coherence(["digits_hdlif"], overrides=[*overrides, "rule={kind: stbp}"], batches=1)["networks"]
    for entry in found:
        assert (set(entry["rules"]), set(entry["refused"])) == ({"sltt", "stochastic_step"}, {"ottt", "ndot"})
    text = as_text(found)
    assert re.search(r"^digits_hdlif lif \(untrained\) +mean_logits +ottt +— +— +—", text, re.MULTILINE)
    assert text.count("digits_hdlif, ndot: ") == 1
    for target, batches, error, words in (
        ("digits_hdlif", 20, DataError, "--batches 20"),
        ("digits_hdlf", 1, RecipeError, "digits_hdlf"),
        (str(tmp_path), 1, CheckpointError, "there is no trained network"),
    ):
        with pytest.raises(error, match=words):
            coherence([target], batches=batches)


def test_the_text_has_every_layer_rule_and_loss(untrained: dict[str, Any]) -> None:
    text = as_text(untrained["networks"])
    for words in ("sltt and stochastic_step: dL/dm", "body.stage1.0.act2", "stem.conv", "as_trained", "0.0% wrong"):
        assert words in text
    # The classifier has no neuron after it.
    (row, *_) = [line.split() for line in text.splitlines() if line.startswith("classifier")]
    assert row[2:5] == ["—", "—", "1.0000"]
    # Rules with other figures have rows of their own.
    network = json.loads(json.dumps(untrained["networks"][0]))
    network["rules"]["stochastic_step"]["local"]["layers"][0]["cosine"] -= 0.1
    assert "(untrained), sltt: dL/dm" in as_text([network])


@pytest.mark.slow
def test_the_report_of_a_run_shows_what_the_command_wrote(run_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run_folder, tmp_path / "net")
    assert "0.0% wrong" in hdlif("coherence", folder, "--batches", 1, "--out", folder).stdout
    assert hdlif("report", folder).returncode == 0
    assert ">Gradient coherence</h2>" in (folder / "report.html").read_text()
