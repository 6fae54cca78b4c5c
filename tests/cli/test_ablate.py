"""`hdlif ablate`: which cells are trained, what is taken up again, and what the table says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cases import naming
from hdlif.cli import ablation_queue as module
from hdlif.cli.ablate import ablate
from hdlif.cli.ablation_text import markdown, page
from hdlif.cli.table_runs import firing_rate, recipe_digest
from hdlif.errors import CheckpointError, InputError, InUseError, RecipeError, TrainingError
from hdlif.graph.input_record import SampleName
from hdlif.recipe import Recipe
from hdlif.recipe.runs.ablation_tables import cells, load_table
from hdlif.recipe.runs.summary import Layer, Neuron, TrainResult
from stub_training import stub

Result = dict[str, Any]
TABLE = """
title: tiny, accuracy %
base: digits_hdlif
seeds: 1
overrides: [model.width=4, "model.blocks=[1]", training.epochs=1, data.batch_size=128, data.train=256]
rows:
  HD-LIF: ["neuron={kind: hdlif}"]
  LIF: ["neuron={kind: lif}"]
columns:
  fp32: []
  4 bit: ["spikes={kind: quantised}"]
undefined:
  LIF: [4 bit]
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TABLE)
    return path


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was trained, by a stub; pages are not drawn."""
    seen: list[Any] = []
    monkeypatch.setattr(module, "train_in_one_process", stub(seen))
    monkeypatch.setattr(module, "page", lambda *_: "")
    return seen


@pytest.fixture
def finished(begun: list[Any], table: Path, tmp_path: Path) -> Result:
    """The result of the table, finished in `tmp_path / "out"`."""
    result = ablate(str(table), out=tmp_path / "out")
    begun.clear()
    return result


def names(begun: list[Any], out: Path) -> list[str]:
    return [str(folder.relative_to(out)) for _, folder, _ in begun]


def test_cells_are_trained_once_and_more_seeds_add_to_them(table: Path, tmp_path: Path, begun: list[Any]) -> None:
    out = tmp_path / "out"
    first = ablate(str(table), out=out)
    assert names(begun, out) == ["hd_lif/fp32/seed_42", "hd_lif/4_bit/seed_42", "lif/fp32/seed_42"]
    assert {options.resume for *_, options in begun} == {None}
    assert (first["rows"]["HD-LIF"]["fp32"]["n"], first["rows"]["HD-LIF"]["fp32"]["std"]) == (1, None)
    assert ablate(str(table), out=out)["rows"] == first["rows"]
    assert len(begun) == 3
    both = ablate(str(table), seeds=2, out=out)
    assert [name[-7:] for name in names(begun, out)[3:]] == ["seed_43"] * 3
    cell = both["rows"]["HD-LIF"]["fp32"]
    assert cell["n"] == 2
    assert cell["accuracy"] == pytest.approx(sum(cell["accuracies"]) / 2)
    assert cell["accuracies"][0] == first["rows"]["HD-LIF"]["fp32"]["accuracy"]
    assert "4 bit" not in both["rows"]["LIF"]
    assert json.loads((out / "table.json").read_text())["rows"] == both["rows"]


def test_a_cell_that_another_process_finishes_during_the_last_training_is_in_the_table(
    table: Path, tmp_path: Path, begun: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    train, said = stub([]), list[str]()
    shared, *_, last = [cell.folder for cell in cells(load_table(table), tmp_path / "out")]
    of_other: list[Recipe] = []

    def next_to_another(recipe: Recipe, out: Path, options: Any) -> TrainResult:
        if out == shared:
            of_other.append(recipe)
            raise InUseError("another process is training there")
        if out == last:
            train(of_other[0], shared, options)
        return train(recipe, out, options)

    monkeypatch.setattr(module, "train_in_one_process", next_to_another)
    assert ablate(str(table), out=tmp_path / "out", say=said.append)["rows"]["HD-LIF"]["fp32"]["n"] == 1
    assert not [line for line in said if "still training" in line]


def test_a_cell_of_another_recipe_is_trained_anew_after_cells_that_are_done_are_in_the_table(
    table: Path, finished: Result, tmp_path: Path, begun: list[Any]
) -> None:
    table.write_text(TABLE.replace("neuron={kind: hdlif}", "neuron={kind: hdlif, leak: 0.75}"))
    (tmp_path / "out/table.json").unlink()
    said, written = list[str](), list[dict[str, Any]]()

    def say(line: str) -> None:
        said.append(line)
        if (path := tmp_path / "out/table.json").exists():
            written.append(json.loads(path.read_text())["rows"])

    after = ablate(str(table), out=tmp_path / "out", say=say)
    assert said[0] == "1/3 HD-LIF, fp32, seed 42: training, replacing a run of another recipe"
    assert said[-1] == "3/3 LIF, fp32, seed 42: done before"
    assert [options.label for *_, options in begun] == ["HD-LIF, fp32, seed 42", "HD-LIF, 4 bit, seed 42"]
    assert finished["rows"]["HD-LIF"] != after["rows"]["HD-LIF"]
    # The last cell has not had its turn yet.
    assert {row: list(columns) for row, columns in written[0].items()} == {"HD-LIF": ["fp32"], "LIF": ["fp32"]}


def test_tables_that_cannot_be_trained_are_refused(table: Path, tmp_path: Path) -> None:
    for old, new, words in (
        ("undefined:", "absent:", "absent"),
        ("rows:", "rwos:", 'did you mean "rows"?'),
        ("title: tiny, accuracy %", "", "title is missing"),
        ("seeds: 1", "quantities: [acuracy]", 'quantities.0 = "acuracy"'),
        ("LIF: [4 bit]", "LIF: [5 bit]", "undefined: '5 bit'"),
        ("undefined:", "left_out: {HD-LIF: [5 bit]}\nundefined:", "left_out: '5 bit'"),
        ("HD-LIF:", '"-lif":', "'-lif' would share the folder 'lif'"),
        ("rows:", "rows:\n  LIF: []", "the key LIF is repeated"),
        ("seeds: 1", "seeds: 0", "seeds = 0"),
        # A cell is to be named in `undefined` only if its row and its column are good by themselves.
        ("undefined:\n  LIF: [4 bit]", "", f"{table}: "),
        ("neuron={kind: lif}", "neuron={kind: lfi}", f"{table}: "),
        ("neuron={kind: lif}", "neuron={kind: lif", f"{table}: "),
        ("model.width=4", "model.width=0", f"{table}: "),
    ):
        table.write_text(TABLE.replace(old, new))
        with naming(old, new), pytest.raises(RecipeError, match=re.escape(words)) as refused:
            ablate(str(table), out=tmp_path / "out")
        missing = str(refused.value).endswith("; name the cell in undefined if it does not exist")
        assert missing == (old == "undefined:\n  LIF: [4 bit]")
        assert not (tmp_path / "out" / "hd_lif").exists()
    with pytest.raises(RecipeError, match="digits"):
        load_table("digit")


def test_cells_that_fail_do_not_keep_the_others_from_training(
    table: Path, tmp_path: Path, begun: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(recipe: Recipe, *_: object) -> None:
        if recipe.neuron.kind == "hdlif":
            raise errors.pop()

    errors: list[Exception] = [TrainingError("the loss is nan"), CheckpointError("damaged")]
    monkeypatch.setattr(module, "train_in_one_process", stub([], failing))
    with pytest.raises(TrainingError, match=r"2 of 3 cells failed; .*; first failure: HD-LIF, fp32, seed 42: damaged"):
        ablate(str(table), out=tmp_path / "out")
    rows = json.loads((tmp_path / "out" / "table.json").read_text())["rows"]
    assert (rows["HD-LIF"], rows["LIF"]["fp32"]["n"]) == ({}, 1)


def test_trainings_of_another_table_are_taken_as_they_are(
    table: Path, finished: Result, tmp_path: Path, begun: list[Any]
) -> None:
    known, said = tmp_path / "out" / "table.json", list[str]()
    result = ablate(str(table), out=tmp_path / "elsewhere", known=[known], say=said.append)
    assert result["rows"] == finished["rows"]
    assert said[0] == f"{known}: 3 of its 3 training runs match this table's cells, recipes and seeds"
    assert said[1] == "1/3 HD-LIF, fp32, seed 42: done elsewhere"
    # What was taken is kept, and may be taken again.
    again = ablate(str(table), out=tmp_path / "third", known=[tmp_path / "elsewhere" / "table.json"])
    assert again["rows"] == finished["rows"]
    assert begun == []
    for change in ({"seed": 7}, {"recipe": "0" * 16}):
        rows = json.loads(known.read_text())["rows"]
        for cell in (cell for columns in rows.values() for cell in columns.values()):
            cell["runs"] = [{**run, **change} for run in cell["runs"]]
        (tmp_path / "other.json").write_text(json.dumps({"rows": rows}))
        ablate(str(table), out=tmp_path / str(change), known=[tmp_path / "other.json"])
    assert len(begun) == 6
    for text, words in (
        (None, "there is no such file"),
        ("base: digits", "is not JSON"),
        ('{"rows": {"LIF": {"fp32": {"n": 1}}}}', "rows.LIF.fp32.runs: "),
    ):
        if text is not None:
            (tmp_path / "wrong.json").write_text(text)
        with pytest.raises(InputError, match=words):
            ablate(str(table), out=tmp_path / "none", known=[tmp_path / "wrong.json"])
        assert not (tmp_path / "none").exists()


def test_seeds_of_two_machines_or_versions_make_one_table(table: Path, finished: Result, tmp_path: Path) -> None:
    seeds = cells(load_table(table).model_copy(update={"seeds": 2}), tmp_path)
    recipe = next(one.recipe for one in seeds if (one.row, one.column, one.seed) == ("LIF", "fp32", 43))
    record, known = finished["rows"]["LIF"]["fp32"], tmp_path / "known.json"
    second = record["runs"][0] | {"seed": 43, "recipe": recipe_digest(recipe), "accuracy": record["accuracy"] + 0.02}

    def ablated(*runs: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        said: list[str] = []
        cell = {"runs": runs, "accuracy_per_step": [0.0] * 2}
        known.write_text(json.dumps({"rows": {"LIF": {"fp32": cell}}}))
        result = ablate(str(table), seeds=2, out=tmp_path / "out", known=[known], say=said.append)
        return result["rows"]["LIF"]["fp32"], [line for line in said if line.startswith("warning")]

    cell, warnings = ablated(second | {"hardware": {"cpu": "another"}})
    assert (cell["n"], cell["accuracies"], warnings) == (2, [record["accuracy"], second["accuracy"]], [])
    assert cell["accuracy_per_step"] == pytest.approx([step / 2 for step in record["accuracy_per_step"]])
    # Of a cell that is taken in part, the curve of the part is not known.
    assert ablated(second, second | {"seed": 99})[0]["accuracy_per_step"] == []
    for changes, words in (({"nops": 7.0}, "NOPs (7 and "), ({"parameters": 9}, "parameters (9 and ")):
        (warning,) = ablated(second | changes)[1]
        assert f"LIF, fp32: its seeds differ in {words}" in warning


@pytest.mark.usefixtures("begun")
def test_the_table_and_the_page_have_operations_costs_and_curves(table: Path, tmp_path: Path) -> None:
    table.write_text(TABLE + "quantities: [accuracy, sops]\nleft_out:\n  HD-LIF: [4 bit]\n")
    result = ablate(str(table), seeds=2, out=tmp_path / "out")
    cell = result["rows"]["LIF"]["fp32"]
    accuracy = f"{100 * cell['accuracy']:.2f} ± {100 * cell['std']:.2f}"
    drawn = page(load_table(table), result, SampleName("image", "images"))
    assert f"<td>{accuracy}<br><small>{cell['sops'] / 1e6:.3f} M SOPs (2)</small></td>" in drawn
    assert '<td class="absent">—</td>' in drawn
    assert "cpu a processor" in drawn
    # A cell that is left out is not run.
    assert "4 bit" not in result["rows"]["HD-LIF"]
    head, _, first, second = (tmp_path / "out/table.md").read_text().splitlines()
    assert head == "| tiny, accuracy % | fp32 | 4 bit |"
    assert (first.endswith("(2) | not run |"), second.endswith("(2) | — |")) == (True, True)
    # Figures that are the same in all columns of a row have a column of their own.
    costs = ["accuracy", "sops", "parameters", "train_seconds", "peak_bytes", "stored_mb", "nops"]
    chosen = load_table(table).model_copy(update={"quantities": costs})
    head, _, _, row = markdown(chosen, result).splitlines()
    assert head == "| tiny, accuracy % | parameters | kB stored | M NOPs | fp32 | 4 bit |"
    assert row == f"| LIF | 1,234 | 324.0 | 0.098 | {accuracy}, 0.812 M SOPs, 41 s, 61.0 MB (2) | — |"


def test_the_firing_rate_is_that_of_all_neurons_by_their_number() -> None:
    layers = [("act1", (2, 3), 0.5), ("conv", (9, 9), 1.0), ("act2", (2,), 0.1)]
    found = TrainResult(
        name="net",
        accuracy=1.0,
        accuracy_per_step=(),
        layers=tuple(Layer(name=name, shape=shape, density=density) for name, shape, density in layers),
        neurons=(Neuron(name="act1"), Neuron(name="act2")),
    )
    # (6 * 0.5 + 2 * 0.1) / 8
    assert firing_rate(found) == pytest.approx(0.4)


VALUES = """
title: Mackey-Glass, error
base: mackey_glass_hdlif
overrides: [training.epochs=1, "model={kind: dense, widths: [4]}", data.train=64]
rows:
  HD-LIF: ["neuron={kind: hdlif}"]
columns:
  STBP: ["rule={kind: stbp}"]
quantities: [metric, parameters]
memory_repeats: 1
"""


@pytest.mark.slow
def test_a_table_of_values_is_trained_for_real_and_has_errors_and_no_accuracies(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(VALUES)
    cell = ablate(str(tmp_path / "values.yaml"), out=tmp_path / "out", seeds=2)["rows"]["HD-LIF"]["STBP"]
    folders = [tmp_path / f"out/hd_lif/stbp/seed_{seed}" for seed in (42, 43)]
    found = [json.loads((folder / "summary.json").read_text())["metrics"]["rmse"] for folder in folders]
    assert (cell["metric"], cell["value"], "accuracy" in cell) == ("rmse", pytest.approx(sum(found) / 2), False)
    first, second = cell["runs"]
    assert cell["peak_bytes"] == first["peak_bytes"] > 0
    assert second["peak_bytes"] is None
    text = (tmp_path / "out" / "table.md").read_text()
    errors = f"rmse {cell['value']:.4g} ± {cell['value_std']:.3g}"
    assert f"| HD-LIF | {errors}, {cell['parameters']:,.0f} parameters (2) |" in text
    assert "Accuracy over time" not in (tmp_path / "out" / "table.html").read_text()
