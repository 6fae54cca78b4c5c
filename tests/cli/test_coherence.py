"""`hdlif coherence` on the bundled digits: what is compared, and what is said of it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from hdlif.cli.coherence import as_text, coherence
from hdlif.cli.eval import evaluate
from hdlif.cli.export import export_file as export
from hdlif.errors import CheckpointError, DataError, RecipeError
from hdlif.nn import Neuron
from hdlif.recipe import load_recipe
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.report import rule_gradients as module
from hdlif.training.threads import Threads

SMALL = ["model.width=4", "model.blocks=[1]", "data.batch_size=16"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("coherence") / "new"


@pytest.fixture(scope="module")
def untrained(folder):
    return coherence(["digits_hdlif"], overrides=SMALL, batches=1, out=folder, threads=1)


@pytest.fixture(scope="module")
def along(run_folder):
    """Of the folder of a training, of its network, and of its state."""
    files = [run_folder, *(run_folder / f"{name}.safetensors" for name in ("model", "last"))]
    return coherence([*map(str, files)], batches=1)["networks"]


def test_a_recipe_has_its_own_neuron_and_lif_beside_it_under_each_loss(untrained) -> None:
    entries = untrained["networks"]
    assert [(entry["neuron"], entry["loss"]) for entry in entries] == [
        (neuron, loss) for neuron in ("hdlif", "lif") for loss in ("mean_logits", "per_step", "as_trained")
    ]
    assert all(entry["target"] == "digits_hdlif" and not entry["trained"] for entry in entries)
    assert all((entry["images"], entry["time_steps"]) == (16, 4) for entry in entries)
    assert all(set(entry["rules"]) == {"sltt", "ottt", "ndot", "stochastic_step"} for entry in entries)
    for entry in entries:
        whole = entry["rules"]["sltt"]["local"]["whole"]
        assert whole["equal"] + whole["dropped"] + whole["wrong"] == pytest.approx(1)
        assert (whole["wrong"] == 0) == (entry["neuron"] == "hdlif")
    # JSON all through
    assert json.loads(json.dumps(untrained)) is not None


def test_neurons_and_losses_that_are_not_asked_for_are_left_out(untrained) -> None:
    chosen = {"neurons": ["lif"], "losses": ["per_step"]}
    found = module.coherence(["digits_hdlif"], overrides=SMALL, batches=1, threads=1, **chosen)["networks"]
    assert found == [one for one in untrained["networks"] if (one["neuron"], one["loss"]) == ("lif", "per_step")]


def test_each_network_is_a_line_of_progress_where_there_is_no_terminal(run_folder, capsys) -> None:
    coherence([str(run_folder)], batches=1, progress=True, threads=1)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.search(r", \w+: compared in \d+ s\n$", printed.err), printed.err


def test_a_bar_counts_the_batches_under_each_loss(run_folder, capsys, monkeypatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    coherence([str(run_folder)], batches=1, progress=True)
    assert "3/3" in re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().err)


def test_gradients_are_compared_with_pytorchs_threads_or_those_that_are_given_or_measured(monkeypatch) -> None:
    compared = []

    def timed(update, counts, *, rounds):
        update(0)
        assert counts == [1, 2, 3]
        return Threads(3, "measured", {1: 2.0, 3: 1.0})

    def compare(*arguments, **options):
        compared.append(torch.get_num_threads())
        return {}

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("hdlif.training.threads.available_cores", lambda: 3)
    monkeypatch.setattr(module, "measured", timed)
    monkeypatch.setattr(module, "compare", compare)
    before = torch.get_num_threads()
    # Of LIF and HD-LIF, for which threads are measured once.
    for given, threads in ((None, before), (2, 2), ("auto", 3)):
        coherence(["digits_hdlif"], overrides=SMALL, batches=1, threads=given)
        assert compared == [threads] * 6
        compared.clear()
    assert torch.get_num_threads() == before


def test_lif_beside_hd_lif_has_the_same_weights_and_float_spikes() -> None:
    overrides = [*SMALL, "neuron={kind: hdlif, granularity: layer}", "spikes={kind: quantised}"]
    own, other = module._networks("digits_hdlif", overrides)
    assert (own.neuron, other.neuron) == ("hdlif", "lif")
    neurons = tuple(f"{name}." for name, part in own.module.named_modules() if isinstance(part, Neuron))
    theirs = other.module.state_dict()
    compared = [name for name in own.module.state_dict() if not name.startswith(neurons)]
    assert "body.stage1.0.conv2.weight" in compared
    for name in compared:
        assert torch.equal(own.module.state_dict()[name], theirs[name]), name


def test_other_neurons_are_shown_with_both() -> None:
    shown = module._networks("digits_hdlif", [*SMALL, "neuron={kind: parallel_hdlif}"])
    assert [network.neuron for network in shown] == ["parallel_hdlif", "lif", "hdlif"]


def test_a_checkpoint_is_shown_alone_and_several_along_training(along) -> None:
    entries = along
    assert len(entries) == 9
    assert all(entry["trained"] for entry in entries)
    assert entries[0]["rules"] == entries[3]["rules"]


def test_the_rule_of_the_recipe_says_how_many_steps_are_drawn() -> None:
    found = coherence(["digits_hdlif"], overrides=[*SMALL, "rule.k=2"], batches=1)["networks"][0]
    assert len(found["rules"]["stochastic_step"]["end_to_end"]["plans"]) == 6
    assert len(found["rules"]["sltt"]["end_to_end"]["plans"]) == 1


def end_to_end(rule: str) -> dict[str, Any]:
    found = coherence(["digits_hdlif"], overrides=[*SMALL, f"rule={{{rule}}}"], batches=1)["networks"][0]
    return {name: figures["end_to_end"] for name, figures in found["rules"].items()}


@pytest.mark.slow
def test_the_rule_of_the_recipe_stands_for_its_kind() -> None:
    default, short, long = (end_to_end(f"kind: ottt, leak: {leak}") for leak in (0.5, 0.1, 0.9))
    assert short["ottt"]["norm_ratio"] < default["ottt"]["norm_ratio"] < long["ottt"]["norm_ratio"]
    assert [found["ndot"] for found in (short, long)] == [default["ndot"]] * 2
    # Updates at every step are no other gradient.
    assert end_to_end("kind: ottt, leak: 0.1, update: each") == short
    assert default == end_to_end("kind: stochastic_step")


def test_a_rule_that_is_not_shown_by_default_is_shown_where_it_is_the_recipes_and_ours() -> None:
    of_window, of_own = (
        list(module._rules(load_recipe("digits_hdlif", [*SMALL, f"rule={{{words}}}"])))
        for words in ("kind: stochastic_window, length: 2", 'kind: "own_parts:Plainly"')
    )
    assert of_own == ["sltt", "ottt", "ndot", "stochastic_step"]
    assert of_window == [*of_own, "stochastic_window"]


@pytest.mark.slow
def test_a_stratified_draw_is_shown_as_one() -> None:
    plans = end_to_end("kind: stochastic_step, k: 2, draw: stratified")["stochastic_step"]["plans"]
    assert [plan["steps"] for plan in plans] == [[0, 2], [0, 3], [1, 2], [1, 3]]


def test_the_state_of_a_training_has_its_network(along, run_folder: Path, tmp_path: Path) -> None:
    state = run_folder / "last.safetensors"
    trained, network = load_trained(state), load_trained(run_folder)
    # One epoch: the same weights, beside which a training has running statistics of its own.
    for name, parameter in network.network.named_parameters():
        assert torch.equal(dict(trained.network.named_parameters())[name], parameter), name
    assert along[6]["rules"] == along[0]["rules"]
    export(state, out=tmp_path / "net")
    accuracies = [evaluate(path, data="digits").accuracy for path in (state, tmp_path / "net")]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.01)


def test_a_rule_that_cannot_learn_from_the_network_has_a_dash_and_its_reason() -> None:
    overrides = [*SMALL[2:], "model={kind: 'own_models:Untraceable'}", "neuron={kind: lif}"]
    found = coherence(["digits_hdlif"], overrides=[*overrides, "rule={kind: stbp}"], batches=1)["networks"]
    for entry in found:
        assert set(entry["rules"]) == {"sltt", "stochastic_step"}
        assert set(entry["refused"]) == {"ottt", "ndot"}
    text = as_text(found)
    assert re.search(r"^digits_hdlif lif \(untrained\) +mean_logits +ottt +— +— +—", text, re.MULTILINE)
    assert "—: the rule cannot learn from this network\ndigits_hdlif, ottt: network.mix feeds a membrane and" in text
    assert text.count("digits_hdlif, ndot: ") == 1


def test_the_result_is_written_where_asked(untrained, folder) -> None:
    assert json.loads((folder / "coherence.json").read_text()) == untrained


def test_what_cannot_be_compared_is_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="--batches 20 of 64 images are more than the 1237 training images of digits"):
        coherence(["digits_hdlif"], batches=20)
    with pytest.raises(RecipeError, match="digits_hdlf"):
        coherence(["digits_hdlf"])
    with pytest.raises(CheckpointError, match="there is no trained network"):
        coherence([str(tmp_path)])


def test_text_has_every_layer_rule_and_loss_and_the_words(untrained) -> None:
    text = as_text(untrained["networks"])
    for words in (
        "on 16 samples with T = 4",
        "digits_hdlif hdlif (untrained), sltt and stochastic_step: dL/dm of each layer",
        "body.stage1.0.act2",
        "stem.conv",
        "as_trained",
        "Theorem 4.2 promises",
        "0.0% wrong",
    ):
        assert words in text
    assert all(len(line) <= 160 for line in text.splitlines())


def test_rules_with_other_figures_have_rows_of_their_own(untrained) -> None:
    network = json.loads(json.dumps(untrained["networks"][0]))
    network["rules"]["stochastic_step"]["local"]["layers"][0]["cosine"] -= 0.1
    text = as_text([network])
    assert "digits_hdlif hdlif (untrained), sltt: dL/dm" in text
    assert "digits_hdlif hdlif (untrained), stochastic_step: dL/dm" in text


def test_a_figure_without_a_meaning_is_a_dash(untrained) -> None:
    rows = [line.split() for line in as_text(untrained["networks"]).splitlines() if line.startswith("classifier")]
    # the classifier has no neuron behind it
    assert rows[0][2:4] == ["—", "—"]
    assert rows[0][4] == "1.0000"
