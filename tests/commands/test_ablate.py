"""`hdlif ablate`: which cells are trained, what is taken up again, and what the table says."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdlif.commands import ablate as module
from hdlif.commands.ablate import Table, ablate, cells, load_table, shipped_tables
from hdlif.commands.table_runs import firing_rate, recipe_digest
from hdlif.errors import InputError, InUseError, RecipeError, TrainingError
from hdlif.recipe import Recipe, builders
from hdlif.recipe.runs.summary import Layer, Neuron, TrainResult
from series_files import write_public_arrays
from sound_files import write_public_voices

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


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of a finished table, and its result."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.yaml").write_text(TABLE)
    return folder / "out", ablate(folder / "tiny.yaml", out=folder / "out")


@pytest.fixture
def trained(trained_once: tuple[Path, dict[str, Any]], tmp_path: Path) -> dict[str, Any]:
    """The result of the table, finished in `tmp_path / "out"`."""
    shutil.copytree(trained_once[0], tmp_path / "out")
    return trained_once[1]


def test_cells_are_trained_once_and_more_seeds_add_to_them(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    train = module.train

    def counting(recipe, **arguments):  # type: ignore[no-untyped-def]
        trained.append(str(arguments["out"].relative_to(tmp_path / "out")))
        return train(recipe, **arguments)

    monkeypatch.setattr(module, "train", counting)
    first = ablate(table, out=tmp_path / "out")
    assert trained == ["hd_lif/fp32/seed_42", "hd_lif/4_bit/seed_42", "lif/fp32/seed_42"]
    assert first["rows"]["HD-LIF"]["fp32"]["n"] == 1
    assert first["rows"]["HD-LIF"]["fp32"]["std"] is None
    assert ablate(table, out=tmp_path / "out")["rows"] == first["rows"]
    assert len(trained) == 3
    both = ablate(table, seeds=2, out=tmp_path / "out")
    assert [name[-7:] for name in trained[3:]] == ["seed_43"] * 3
    cell = both["rows"]["HD-LIF"]["fp32"]
    assert cell["n"] == 2
    assert cell["accuracy"] == pytest.approx(sum(cell["accuracies"]) / 2)
    assert cell["accuracies"][0] == first["rows"]["HD-LIF"]["fp32"]["accuracy"]
    assert "4 bit" not in both["rows"]["LIF"]
    lines = (tmp_path / "out" / "table.md").read_text().splitlines()
    assert lines[0] == "| tiny, accuracy % | fp32 | 4 bit |"
    assert lines[3].startswith("| LIF | ")
    assert lines[3].endswith("(2) | — |")
    assert json.loads((tmp_path / "out" / "table.json").read_text())["rows"] == both["rows"]


def test_every_summary_is_read_once(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    finished = module.finished

    def counting(folder: Path, recipe: Recipe) -> TrainResult | None:
        if (summary := finished(folder, recipe)) is not None:
            read.append(folder)
        return summary

    monkeypatch.setattr(module, "finished", counting)
    first = ablate(table, out=tmp_path / "out")
    folders = [cell.folder for cell in cells(load_table(table), tmp_path / "out")]
    assert read == []
    # What was kept of a training is what stands in its file.
    assert ablate(table, out=tmp_path / "out")["rows"] == first["rows"]
    assert read == folders


@pytest.mark.usefixtures("trained")
def test_the_table_has_finished_cells_before_their_turn(table: Path, tmp_path: Path) -> None:
    (tmp_path / "out/hd_lif/fp32/seed_42/summary.json").unlink()
    written: list[dict[str, Any]] = []

    def say(line: str) -> None:
        if (path := tmp_path / "out/table.json").exists():
            written.append(json.loads(path.read_text())["rows"])

    (tmp_path / "out/table.json").unlink()
    ablate(table, out=tmp_path / "out", say=say)
    assert list(written[0]["LIF"]) == ["fp32"]
    assert list(written[0]["HD-LIF"]) == ["fp32", "4 bit"]


def test_a_cell_that_another_process_finishes_during_the_last_training_is_in_the_table(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, said = module.train, list[str]()
    shared, *_, last = [cell.folder for cell in cells(load_table(table), tmp_path / "out")]
    of_other: list[Recipe] = []

    def beside_another(recipe: Recipe, **arguments: Any) -> TrainResult | None:
        if arguments["out"] == shared:
            of_other.append(recipe)
            raise InUseError("another process is training there")
        if arguments["out"] == last:
            train(of_other[0], **{**arguments, "out": shared})
        return train(recipe, **arguments)

    monkeypatch.setattr(module, "train", beside_another)
    assert ablate(table, out=tmp_path / "out", say=said.append)["rows"]["HD-LIF"]["fp32"]["n"] == 1
    assert not [line for line in said if "still training" in line]


@pytest.mark.usefixtures("trained")
def test_cells_may_tell_their_operations(table: Path, tmp_path: Path) -> None:
    chosen = load_table(table).model_copy(update={"quantities": ["accuracy", "sops"]})
    result = json.loads((tmp_path / "out" / "table.json").read_text())
    cell = result["rows"]["LIF"]["fp32"]
    expected = f"| LIF | {100 * cell['accuracy']:.2f}, {cell['sops'] / 1e6:.3f} M SOPs (1) | — |"
    assert module.markdown(chosen, result).splitlines()[3] == expected


def test_a_cell_of_another_recipe_is_trained_anew_and_said_to_be(
    table: Path, trained: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.write_text(TABLE.replace("neuron={kind: lif}", "neuron={kind: lif, leak: 0.75}"))
    train, said, labels = module.train, list[str](), list[str]()

    def labelled(recipe: Recipe, **arguments: Any) -> TrainResult | None:
        labels.append(arguments["label"])
        return train(recipe, **arguments)

    monkeypatch.setattr(module, "train", labelled)
    after = ablate(table, out=tmp_path / "out", say=said.append)
    assert said[:3] == [
        "1/3 HD-LIF, fp32, seed 42: done before",
        "2/3 HD-LIF, 4 bit, seed 42: done before",
        "3/3 LIF, fp32, seed 42: training, in place of an earlier one of another recipe",
    ]
    assert labels == ["LIF, fp32, seed 42"]
    summary = json.loads((tmp_path / "out/lif/fp32/seed_42/summary.json").read_text())
    assert summary["recipe"]["neuron"]["leak"] == 0.75
    assert trained["rows"] != after["rows"]


TABLES_OF_SERIES = ("hapt", "vowels", "mackey_glass")
"""Whose neurons and rules are all those that the tables of longer series have, too."""


def seen_once(table: Table) -> Table:
    """The table without the cells that are neither in the first row nor in the first column."""
    (first, *_), (_, *others) = table.rows, table.columns
    left_out = {row: [*table.left_out.get(row, ()), *others] for row in table.rows if row != first}
    return table.model_copy(update={"left_out": table.left_out | left_out})


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", shipped_tables())
def test_every_cell_of_a_shipped_table_can_be_built(name: str, whole: bool, tmp_path: Path) -> None:
    # One seed is built as the others are.
    table = load_table(name).model_copy(update={"seeds": 1})
    table = table if whole else seen_once(table)
    write_public_arrays(tmp_path / "hapt", classes=12, steps=128, channels=6)
    write_public_arrays(tmp_path / "vowels", classes=9, steps=29, channels=12)
    write_public_voices(tmp_path / "voices")
    queue = list(cells(table, tmp_path, data_root=tmp_path))
    assert len({cell.folder for cell in queue}) == len(queue)
    missing = {
        (row, column)
        for of_row in (table.undefined, table.left_out)
        for row, columns in of_row.items()
        for column in columns
    }
    assert len(queue) == len(table.rows) * len(table.columns) - len(missing)


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES_OF_SERIES)
def test_every_cell_of_a_table_of_series_takes_an_update(name: str, tmp_path: Path) -> None:
    table = load_table(name).model_copy(update={"seeds": 1})
    write_public_arrays(tmp_path / "hapt", classes=12, steps=128, channels=6)
    write_public_arrays(tmp_path / "vowels", classes=9, steps=29, channels=12)
    for cell in cells(table, tmp_path, data_root=tmp_path):
        builders.try_update(cell.recipe)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("undefined:", "absent:"), 'absent = {"LIF": ["4 bit"]} is unknown; choose one of base, columns, '),
        (
            ("rows:", "rwos:"),
            "left_out, like, memory_repeats, overrides, quantities, rows, seeds, title, undefined (did "
            'you mean "rows"?)',
        ),
        (("title: tiny, accuracy %", ""), "title is missing; a table has the keys title, base, like, seeds, "),
        (("title: tiny, accuracy %", "title: 3"), "title = 3 is refused; it should be a valid string"),
        (
            ("seeds: 1", "quantities: [acuracy]"),
            'quantities.0 = "acuracy" is unknown; choose one of accuracy, firing_rate, metric, nops, parameters, '
            'peak_bytes, sops, stored_mb, train_seconds (did you mean "accuracy"?)',
        ),
        (
            ('["neuron={kind: lif}"]', '"neuron.kind=lif"'),
            'rows.LIF = "neuron.kind=lif" is refused; it should be a list, for example ["neuron.kind=lif"]',
        ),
        (("LIF: [4 bit]", "LIF: 3"), "undefined.LIF = 3 is refused; it should be a list, for example [a column]"),
        (('["neuron={kind: lif}"]', '["neuron={kind: lfi}"]'), "tiny.yaml: LIF, fp32: "),
        (("LIF: [4 bit]", "LIF: [5 bit]"), "undefined: '5 bit' is unknown; choose one of 4 bit, fp32"),
        (("undefined:\n  LIF: [4 bit]", ""), 'LIF, 4 bit: spikes.kind = "quantised" does not go with'),
        (("HD-LIF:", '"-lif":'), "'-lif' would share the folder 'lif' with another"),
        (
            ('  fp32: []\n  4 bit: ["spikes={kind: quantised}"]', "  {}"),
            "columns = {} is refused; it should have one entry or more",
        ),
        (("rows:", "rows:\n  LIF: []"), "the key LIF is repeated"),
        (("seeds: 1", "seeds: 0"), "seeds = 0 is refused; it should be greater than or equal to 1"),
    ],
)
def test_tables_that_cannot_be_trained_are_refused(
    change: tuple[str, str], message: str, table: Path, tmp_path: Path
) -> None:
    table.write_text(TABLE.replace(*change))
    with pytest.raises(RecipeError) as refused:
        ablate(table, out=tmp_path / "out")
    assert message in str(refused.value)
    assert not (tmp_path / "out" / "hd_lif").exists()


@pytest.mark.parametrize(
    ("change", "together"),
    [
        (("undefined:\n  LIF: [4 bit]", ""), True),
        (("neuron={kind: lif}", "neuron={kind: lfi}"), False),
        (("neuron={kind: lif}", "neuron.leek=0.5"), False),
        (("neuron={kind: lif}", "neuron={kind: lif"), False),
        (("spikes={kind: quantised}", "spikes={kind: quantised, bits: x}"), False),
        (("model.width=4", "model.width=0"), False),
    ],
)
def test_a_cell_is_said_not_to_exist_where_row_and_column_are_good_by_themselves(
    change: tuple[str, str], together: bool, table: Path, tmp_path: Path
) -> None:
    table.write_text(TABLE.replace(*change))
    with pytest.raises(RecipeError, match=rf"^{table}: .*, ") as refused:
        ablate(table, out=tmp_path / "out")
    said = "; name the cell in undefined if it does not exist"
    assert str(refused.value).endswith(said) == together


def test_a_table_like_another_adds_rows_and_changes_those_of_the_same_name(table: Path) -> None:
    other = table.with_name("other.yaml")
    other.write_text("title: other\nbase: digits_lif\nlike: tiny.yaml\nseeds: 2\nrows:\n  LIF: [seed=1]\n  third: []\n")
    one, like = load_table(table), load_table(other)
    assert like.rows == {"LIF": ["seed=1"], "HD-LIF": one.rows["HD-LIF"], "third": []}
    assert (like.columns, like.undefined, like.quantities) == (one.columns, one.undefined, one.quantities)
    assert (like.title, like.base, like.overrides, like.seeds) == ("other", "digits_lif", [], 2)
    last = table.with_name("last.yaml")
    last.write_text("title: last\nbase: digits_lif\nlike: other.yaml\noverrides: [seed=3]\n")
    assert load_table(last).rows == like.rows
    assert load_table(last).seeds == 2
    last.write_text("title: last\nbase: digits_lif\nlike: other.yaml\nrows: {LIF: null}\n")
    assert (list(load_table(last).rows), load_table(last).undefined) == (["HD-LIF", "third"], {})
    last.write_text('title: last\nbase: digits_lif\nlike: other.yaml\ncolumns: {"4 bit": null}\n')
    assert (list(load_table(last).columns), load_table(last).undefined) == (["fp32"], {"LIF": []})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("like: absent.yaml", 'like = "absent.yaml": there is no such file and no shipped table of that name; give'),
        ("like: digit", '(did you mean "digits"?)'),
        ("like: ../table.yaml", 'like = "../table.yaml" is refused; give a shipped table, or a file at or below'),
        ("like: 3", "like = 3 is refused; it should be a valid string"),
        ("like: list.yaml", "list.yaml: [1] is not a table; a table is a YAML mapping with the keys title, base"),
        ("like: round.yaml", 'round.yaml: like = "round.yaml" comes back to '),
        ("like: back.yaml", "round.yaml; leave like out, and give rows and columns"),
        ("like: typed.yaml", 'typed.yaml: quantites = ["accuracy"] is unknown; choose one of '),
        (
            "like: hapt\nundefined: 3",
            "undefined = 3 is refused; it should be lists by name, for example {LIF: [a column]}",
        ),
        (
            "like: hapt\nrows: {LIF: null}\nleft_out: {resonate: 3}",
            "left_out.resonate = 3 is refused; it should be a list",
        ),
        ("like: one_0.yaml", "is the last of 9 tables that are each like the next; give at most 8"),
        (
            "like: digits\nrows: {LIF: null, third: null, fourth: 3}",
            "rows.fourth = 3 is refused; it should be a list, for example [neuron.kind=lif]",
        ),
    ],
)
def test_tables_that_are_like_none_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("[1]")
    (tmp_path / "back.yaml").write_text("title: back\nbase: digits_lif\nlike: round.yaml\n")
    (tmp_path / "typed.yaml").write_text(TABLE + "quantites: [accuracy]\n")
    for number in range(10):
        other = f"title: one\nbase: digits_lif\nlike: one_{number + 1}.yaml\n"
        (tmp_path / f"one_{number}.yaml").write_text(other)
    path = tmp_path / "round.yaml"
    path.write_text(f"title: round\nbase: digits_lif\n{text}\n")
    with pytest.raises(RecipeError) as refused:
        load_table(path)
    assert message in str(refused.value)


def test_unknown_table_names_those_that_ship() -> None:
    with pytest.raises(RecipeError, match="no shipped table of that name; give the path of a YAML file or"):
        load_table("digit")


def test_a_cell_that_fails_does_not_keep_the_others_from_training(table: Path, tmp_path: Path) -> None:
    table.write_text(TABLE.replace('HD-LIF: ["neuron={kind: hdlif}"]', "HD-LIF: [training.learning_rate=1.0e+30]"))
    with pytest.raises(TrainingError, match=r"2 of 3 cells failed, the others are in .*; first HD-LIF, fp32, seed 42"):
        ablate(table, out=tmp_path / "out")
    rows = json.loads((tmp_path / "out" / "table.json").read_text())["rows"]
    assert rows["HD-LIF"] == {}
    assert rows["LIF"]["fp32"]["n"] == 1


@pytest.mark.usefixtures("trained")
def test_the_page_has_the_table_and_its_curves(table: Path, tmp_path: Path) -> None:
    table.write_text(TABLE + "quantities: [accuracy, sops]\n")
    result = ablate(table, seeds=2, out=tmp_path / "out")
    page = (tmp_path / "out" / "table.html").read_text()
    cell = result["rows"]["LIF"]["fp32"]
    accuracy = f"{100 * cell['accuracy']:.2f} ± {100 * cell['std']:.2f}"
    assert f"<td>{accuracy}<br><small>{cell['sops'] / 1e6:.3f} M SOPs (2)</small></td>" in page
    assert '<td class="absent">—</td>' in page
    for heading in ("Accuracy", "Accuracy against operations", "Accuracy over time"):
        assert f">{heading}</h2>" in page
    for place in ("by-column", "by-operations", "over-time-0"):
        assert f'id="{place}-title"' in page
    assert page.count("<script") == 1
    assert page.count("<svg") > 4


@pytest.mark.usefixtures("trained")
def test_a_cell_that_cannot_be_resumed_does_not_keep_the_others_from_being_trained(table: Path, tmp_path: Path) -> None:
    cell = tmp_path / "out/lif/fp32/seed_42"
    (cell / "summary.json").unlink()
    for name in ("last", "previous"):
        (cell / f"{name}.safetensors").write_bytes(b"damaged")
    (tmp_path / "out/hd_lif/fp32/seed_42/summary.json").unlink()
    with pytest.raises(TrainingError, match=r"1 of 3 cells failed.*LIF, fp32, seed 42.*last.safetensors"):
        ablate(table, out=tmp_path / "out")
    assert (tmp_path / "out/hd_lif/fp32/seed_42/summary.json").exists()


def test_firing_rate_is_that_of_all_neurons_by_their_number() -> None:
    layers = [
        Layer(name="act1", shape=(2, 3), density=0.5),
        Layer(name="conv", shape=(9, 9), density=1.0),
        Layer(name="act2", shape=(2,), density=0.1),
    ]
    neurons = (Neuron(name="act1"), Neuron(name="act2"))
    found = TrainResult(name="net", accuracy=1.0, accuracy_per_step=(), layers=tuple(layers), neurons=neurons)
    # (6 * 0.5 + 2 * 0.1) / 8
    assert firing_rate(found) == pytest.approx(0.4)


def test_trainings_of_another_table_are_taken_as_they_are(
    table: Path, trained_once: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, whole = trained_once[0] / "table.json", trained_once[1]["rows"]
    monkeypatch.setattr(module, "train", None)
    said: list[str] = []
    result = ablate(table, out=tmp_path / "elsewhere", known=[known], say=said.append)
    assert result["rows"] == whole
    assert said[0] == f"{known}: 3 of its 3 trainings are of this table's cells, recipes and seeds"
    assert said[1] == "1/3 HD-LIF, fp32, seed 42: done elsewhere"
    # What was taken is kept, and may be taken again.
    again = ablate(table, out=tmp_path / "third", known=[tmp_path / "elsewhere" / "table.json"])
    assert again["rows"] == whole
    assert "Accuracy over time" in (tmp_path / "third" / "table.html").read_text()


@pytest.mark.parametrize(
    ("other", "differ"), [({}, ""), ({"nops": 7.0}, "NOPs (7 and "), ({"parameters": 9}, "parameters (9 and ")]
)
def test_seeds_that_were_measured_by_different_versions_are_named(
    other: dict[str, Any],
    differ: str,
    table: Path,
    trained_once: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = trained_once[1]["rows"]
    recipe = next(c for c in cells(load_table(table).model_copy(update={"seeds": 2}), tmp_path) if c.seed == 43).recipe
    record = rows["HD-LIF"]["fp32"]
    second = {**record["runs"][0], "seed": 43, "recipe": recipe_digest(recipe), **other}
    record = record | {"runs": [*record["runs"], second]}
    (tmp_path / "known.json").write_text(json.dumps({"rows": {"HD-LIF": {"fp32": record}}}))
    monkeypatch.setattr(module, "train", None)
    said: list[str] = []
    only = table.with_name("only.yaml")
    only.write_text(TABLE.replace('  LIF: ["neuron={kind: lif}"]\n', "").replace("undefined:\n  LIF: [4 bit]\n", ""))
    only.write_text(only.read_text().replace('  4 bit: ["spikes={kind: quantised}"]\n', ""))
    ablate(only, seeds=2, out=tmp_path / "out", known=[tmp_path / "known.json"], say=said.append)
    warnings = [line for line in said if line.startswith("warning")]
    assert len(warnings) == bool(differ)
    if differ:
        assert warnings[0].startswith(f"warning: HD-LIF, fp32: its seeds differ in {differ}")


@pytest.mark.usefixtures("trained")
def test_seeds_of_two_machines_make_one_table(table: Path, tmp_path: Path) -> None:
    both = json.loads((tmp_path / "out/table.json").read_text())
    record = both["rows"]["LIF"]["fp32"]
    other = {**record["runs"][0], "seed": 43, "accuracy": record["accuracy"] + 0.02, "hardware": {"cpu": "another"}}
    recipe = next(
        cell.recipe
        for cell in cells(load_table(table).model_copy(update={"seeds": 2}), tmp_path)
        if (cell.row, cell.column, cell.seed) == ("LIF", "fp32", 43)
    )
    other["recipe"] = recipe_digest(recipe)
    table.write_text(TABLE.replace('  HD-LIF: ["neuron={kind: hdlif}"]\n', ""))
    known = tmp_path / "known.json"
    known.write_text(json.dumps({"rows": {"LIF": {"fp32": {"runs": [other], "accuracy_per_step": [0.0] * 4}}}}))
    cell = ablate(table, seeds=2, out=tmp_path / "out", known=[known])["rows"]["LIF"]["fp32"]
    assert cell["n"] == 2
    assert cell["accuracies"] == [record["accuracy"], record["accuracy"] + 0.02]
    assert cell["accuracy_per_step"] == pytest.approx([step / 2 for step in record["accuracy_per_step"]])
    assert "cpu another" in (tmp_path / "out/table.html").read_text()
    # Of a cell that is taken in part, the curve of the part is not known.
    both_runs = [other, {**other, "seed": 99}]
    known.write_text(json.dumps({"rows": {"LIF": {"fp32": {"runs": both_runs, "accuracy_per_step": [0.0] * 4}}}}))
    assert ablate(table, seeds=2, out=tmp_path / "out", known=[known])["rows"]["LIF"]["fp32"]["accuracy_per_step"] == []


def test_the_folder_of_data_is_no_part_of_what_a_training_was_on(tmp_path: Path) -> None:
    recipes = []
    for root in ("one", "another"):
        write_public_arrays(tmp_path / root / "vowels", classes=9, steps=29, channels=12)
        first = next(cells(load_table("vowels"), tmp_path, data_root=tmp_path / root))
        recipes.append(first.recipe)
    assert recipes[0] != recipes[1]
    assert recipe_digest(recipes[0]) == recipe_digest(recipes[1])
    np.save(tmp_path / "another/vowels/x.npy", 2 * np.load(tmp_path / "one/vowels/x.npy"))
    other = next(cells(load_table("vowels"), tmp_path, data_root=tmp_path / "another")).recipe
    assert recipe_digest(other) != recipe_digest(recipes[0])


@pytest.mark.parametrize("change", [{"seed": 7}, {"recipe": "0" * 16}])
def test_trainings_of_other_recipes_are_not_taken(
    change: dict[str, Any],
    table: Path,
    trained_once: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = json.loads((trained_once[0] / "table.json").read_text())["rows"]
    for columns in rows.values():
        for cell in columns.values():
            cell["runs"] = [{**run, **change} for run in cell["runs"]]
    (tmp_path / "known.json").write_text(json.dumps({"rows": rows}))

    def failing(recipe: Recipe, **_: Any) -> TrainResult:
        raise TrainingError("asked to train")

    monkeypatch.setattr(module, "train", failing)
    with pytest.raises(TrainingError, match="3 of 3 cells failed"):
        ablate(table, out=tmp_path / "elsewhere", known=[tmp_path / "known.json"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no such file; give a table.json that hdlif ablate has written"),
        ("base: digits", r"known.json: is not JSON \(expected value at line 1 column 1\); give a table.json that"),
        (
            '{"rows": {"LIF": {"fp32": {"n": 1}}}}',
            r"rows.LIF.fp32.runs: .*; give a table.json .* with the runs of each",
        ),
        (
            '{"rows": {"LIF": {"fp32": {"runs": [{"seed": "42"}]}}}}',
            r"rows.LIF.fp32.runs.0.seed: Input should be a valid",
        ),
    ],
)
def test_what_is_no_table_is_refused(text: str | None, message: str, table: Path, tmp_path: Path) -> None:
    path = tmp_path / "known.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        ablate(table, out=tmp_path / "out", known=[path])
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("trained")
def test_a_cell_that_is_left_out_is_not_run_and_says_so(table: Path, tmp_path: Path) -> None:
    table.write_text(TABLE + "left_out:\n  HD-LIF: [4 bit]\n")
    assert "4 bit" not in ablate(table, out=tmp_path / "out")["rows"]["HD-LIF"]
    assert (tmp_path / "out/table.md").read_text().splitlines()[2].endswith("(1) | not run |")
    table.write_text(TABLE + "left_out:\n  HD-LIF: [5 bit]\n")
    with pytest.raises(RecipeError, match="left_out: '5 bit' is unknown"):
        load_table(table)


@pytest.mark.usefixtures("trained")
def test_cells_may_tell_what_they_cost(table: Path, tmp_path: Path) -> None:
    costs = ["accuracy", "parameters", "train_seconds", "peak_bytes", "stored_mb", "nops"]
    chosen = load_table(table).model_copy(update={"quantities": costs})
    result = json.loads((tmp_path / "out" / "table.json").read_text())
    cell = result["rows"]["HD-LIF"]["4 bit"]
    run = json.loads((tmp_path / "out/hd_lif/4_bit/seed_42/summary.json").read_text())
    assert cell["parameters"] == run["parameters"] > 100
    head, _, row, *_ = module.markdown(chosen, result).splitlines()
    # Parameters and NOPs are those of the row; the stored bytes depend on how spikes are quantised.
    assert head == "| tiny, accuracy % | parameters | M NOPs | fp32 | 4 bit |"
    assert row.startswith(f"| HD-LIF | {run['parameters']:,} | {run['nops'] / 1e6:.3f} | ")
    assert row.endswith(f", {run['train_seconds']:,.0f} s, — MB, {1000 * run['stored_mb']:,.1f} kB stored (1) |")
    one_column = chosen.model_copy(update={"columns": {"fp32": []}, "undefined": {}})
    assert f"{run['parameters']:,} parameters, " in module.markdown(one_column, result).splitlines()[2]


VALUES = """
title: Mackey-Glass, error
base: mackey_glass_hdlif
overrides: [training.epochs=1, "model={kind: dense, widths: [4]}"]
rows:
  HD-LIF: ["neuron={kind: hdlif}"]
columns:
  STBP: ["rule={kind: stbp}"]
  random step: ["rule={kind: stochastic_step}"]
"""


@pytest.mark.slow
def test_a_table_of_values_has_errors_and_no_accuracies(tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(VALUES)
    with pytest.raises(RecipeError, match=r'task.kind = "regress", and the table compares accuracies; set quantities'):
        ablate(path, out=tmp_path / "out")
    path.write_text(VALUES + "quantities: [metric, parameters]\nmemory_repeats: 1\n")
    result = ablate(path, out=tmp_path / "out", seeds=2)
    cell = result["rows"]["HD-LIF"]["STBP"]
    errors = [
        json.loads((tmp_path / f"out/hd_lif/stbp/seed_{seed}/summary.json").read_text())["metrics"]["rmse"]
        for seed in (42, 43)
    ]
    assert cell["metric"] == "rmse"
    assert cell["value"] == pytest.approx(sum(errors) / 2)
    first, second = cell["runs"]
    assert cell["peak_bytes"] == first["peak_bytes"] > 0
    assert second["peak_bytes"] is None
    assert "accuracy" not in cell
    text = (tmp_path / "out" / "table.md").read_text()
    assert f"| HD-LIF | {cell['parameters']:,.0f} | rmse {cell['value']:.4g} ± {cell['value_std']:.3g} (2) |" in text
    page = (tmp_path / "out" / "table.html").read_text()
    assert "The first figure of the task on the test set" in page
    assert "Accuracy over time" not in page
