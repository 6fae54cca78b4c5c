"""A network that has no deployed form is trained, evaluated, profiled and reported all the same, and not exported."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cases import every
from hdlif.cli.ablation_text import markdown
from hdlif.cli.eval import evaluate
from hdlif.cli.export import export_file as export
from hdlif.cli.profile import layers_table
from hdlif.cli.profile import profile as profile_command
from hdlif.cli.recipes import check, check_all
from hdlif.cli.report import report
from hdlif.cli.seeds import SeedsResult
from hdlif.cli.table_runs import cell_of, run_of
from hdlif.data import Samples
from hdlif.errors import LoweringError
from hdlif.models import NeuronFactory
from hdlif.nn import HDLIF, Neuron, State
from hdlif.recipe import Recipe, builders, load_recipe
from hdlif.recipe.builders.neuron import AnyNeuron
from hdlif.recipe.runs.ablation_tables import Table
from hdlif.recipe.runs.summary import TrainResult
from hdlif.report.accounting import outline, profile
from hdlif.report.tables import networks_table
from hdlif.report.trained_network import first_images, measure
from hdlif.training import Fit, Trainer
from trainings import train

FAST = ["training.epochs=1", "data.batch_size=256", "model.width=4", "model.blocks=[1]", "data.train=256"]
NULL = ("stored_mb", "sops", "nops", "energy_mj", "energy_mj_honest")
WHY = r"body\.stage1\.0\.act1 \(Wave\): a neuron without an equation"


class Wave(Neuron):
    """A neuron of a user's: no state, and no lowering."""

    accumulates = False

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, None]:
        return torch.relu(torch.sin(x.expand(len(steps), *x.shape[1:]))), None


class _Waves(AnyNeuron, kind="wave"):
    """Every second neuron is one of ours."""

    def _layers(self, recipe: Recipe) -> tuple[NeuronFactory, ...]:
        return (lambda place: HDLIF(recipe.time_steps) if place.index % 2 else Wave(),)


@pytest.fixture(scope="module", autouse=True)
def _waves() -> object:
    """Let recipes name the neuron."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(builders.NEURONS._kinds, "wave", _Waves)  # type: ignore[attr-defined]
        yield


def trained(out: Path, *overrides: str) -> TrainResult:
    return train("digits_hdlif", overrides=[*FAST, *overrides], out=out, memory_repeats=0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, TrainResult]]:
    """A run of such a network, and one of another."""
    root = tmp_path_factory.mktemp("undeployed")
    overrides = {"waves": ["neuron={kind: wave}"], "usual": []}
    return {name: (root / name, trained(root / name, *given)) for name, given in overrides.items()}


def test_figures_of_the_deployed_form_are_absent_and_the_others_there(
    runs: dict[str, tuple[Path, TrainResult]],
) -> None:
    (run, waves), (_, usual) = runs["waves"], runs["usual"]
    assert [getattr(waves, key) for key in NULL] == [None] * len(NULL)
    assert {row.sops for row in waves.layers} == {None}
    assert json.loads((run / "summary.json").read_text()) == waves.as_dict()
    assert waves.as_dict().keys() == usual.as_dict().keys()
    assert (waves.params_mb, waves.fp32_mb) == pytest.approx((usual.params_mb, usual.fp32_mb))
    # Means over seeds, and tables, have none either.
    assert SeedsResult.of("net", [waves]).sops.as_dict() == {"mean": None, "std": None, "values": [None]}
    cell = cell_of([run_of(waves, Recipe.model_validate(waves.recipe))])
    assert (cell["sops"], 0 < cell["firing_rate"] < 1) == (None, True)
    table = Table(title="waves", base="digits_hdlif", quantities=["sops"], rows={"a": []}, columns={"b": []})
    assert markdown(table, {"rows": {"a": {"b": cell}}}).splitlines()[2] == "| a | — M SOPs (1) |"
    *_, row = networks_table([usual, waves]).splitlines()
    assert row.count("—") == 2


def test_it_is_evaluated_profiled_and_reported_and_not_exported(
    runs: dict[str, tuple[Path, TrainResult]], tmp_path: Path
) -> None:
    (run, waves), (usual, of_usual) = runs["waves"], runs["usual"]
    assert evaluate(run).accuracy == waves.accuracy
    counted = profile_command(str(run), counting="honest").as_dict()
    rows = {row["name"]: row for row in counted["layers"]}
    assert [rows[f"body.stage1.0.act{i}"]["kind"] for i in (1, 2)] == ["Wave", "HDLIF"]
    assert [rows[f"body.stage1.0.act{i}"]["nops"] for i in (1, 2)] == [None, 3 * 4 * 4 * 64]
    assert rows["stem.conv"]["shape"] == rows["body.stage1.0.act1"]["shape"] == [4, 8, 8]
    assert 0 < rows["body.stage1.0.act1"]["density"] < 1
    assert counted["params_mb"] == pytest.approx(of_usual.params_mb)
    assert [counted[key] for key in NULL[:4]] == [None] * 4
    assert counted.keys() == profile_command(str(usual), counting="honest").as_dict().keys()
    assert "note: body.stage1.0.act1 (Wave)" in layers_table(counted)
    assert "(Wave)" in report([usual, run], out=tmp_path / "page.html")["left_out"]
    assert "—" in (tmp_path / "page.html").read_text()
    with pytest.raises(LoweringError, match=f"^{WHY}"):
        export(run, out=tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_it_is_said_before_a_training_that_a_network_cannot_be_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fit(*_: object) -> Fit:
        raise RuntimeError("begun")

    monkeypatch.setattr(Trainer, "fit", fit)
    with pytest.raises(RuntimeError, match="begun"):
        trained(tmp_path, "neuron={kind: wave}")
    assert "can be trained, but not exported: body.stage1.0.act1 (Wave)" in capsys.readouterr().err
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("base: digits_hdlif\nname: mine\nneuron: {kind: wave}\nmodel: {width: 4, blocks: [1]}\n")
    assert "not_exported" not in check(recipe)
    said, lines = check(recipe, build=True)["not_exported"], list[str]()
    assert said.startswith("body.stage1.0.act1 (Wave)")
    assert check_all([recipe, "digits_hdlif"], build=True, say=lines.append)["not_exported"] == {"mine": said}
    assert lines == [f"{recipe}: can be trained, but not exported: {said}", "digits_hdlif: good"]
    assert profile_command(str(recipe)).sops is None
    with pytest.raises(LoweringError, match="neuron without an equation"):
        profile_command(str(recipe), learn="classifier")


def test_a_learned_step_that_has_run_away_costs_the_figures_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class RunsAway(Trainer):
        def fit(self, train: Samples, validation: Samples) -> Fit:
            fitted = super().fit(train, validation)
            with torch.no_grad():
                self.model.get_submodule("body.stage1.0.act2.quantizer").step.fill_(-1.0)
            return fitted

    monkeypatch.setattr("hdlif.cli.training_run.Trainer", RunsAway)
    assert trained(tmp_path, "spikes={kind: quantised, bits: 4, learned: true}").energy_mj is None
    assert "body.stage1.0.act2.quantizer: step = -1.0" in "".join(capsys.readouterr())


@every(name=["digits_lif", "digits_hdlif", "digits_hdlif_w1p5_s4_parallel"])
def test_what_the_modules_show_is_what_the_graph_shows(name: str) -> None:
    recipe = load_recipe(name, ["model.width=4", "model.blocks=[1]"])
    torch.manual_seed(0)
    network = builders.build_model(recipe).train()
    images = first_images(builders.build_data(recipe, None).test, 8)
    found = outline(network, images, time_steps=recipe.time_steps)
    expected = profile(network, images, time_steps=recipe.time_steps)
    rows = {row.name: row for row in expected.layers}
    assert (found.params_mb, found.packed_mb) == pytest.approx((expected.params_mb, expected.packed_mb))
    assert found.nops == expected.nops
    for row in found.layers:
        of_graph = rows[row.name]
        assert (row.kind, row.shape, row.nops) == (of_graph.kind, of_graph.shape, of_graph.nops)
        assert row.density == pytest.approx(of_graph.density, abs=1e-3)
    assert {row.name for row in found.layers} == {
        name for name, row in rows.items() if row.kind in ("conv2d", "linear", "seca") or row.nops
    }


def test_measuring_leaves_every_module_in_its_mode() -> None:
    recipe = load_recipe("digits_hdlif", FAST)
    sets, network = builders.build_data(recipe, None), builders.build_model(recipe).train()
    network.body.eval()
    before = {name: module.training for name, module in network.named_modules()}
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    measure(network, recipe, sets, torch.device("cpu"))
    assert {name: module.training for name, module in network.named_modules()} == before
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
