"""Whatever a table or a search space holds, it is one that can be run, or a `RecipeError` of one printable line."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cases import every
from hdlif.cli.ablate import ablate
from hdlif.errors import RecipeError
from hdlif.recipe.runs.ablation_tables import MOST_CELLS, cells, load_table
from hdlif.recipe.runs.search_space import load_space, override
from hostile import NAMES, YAML, one_printable_line
from resource_limits import within_cpu_seconds
from special_files import NO_FILES

TABLE: dict[str, Any] = {
    "title": "tiny",
    "base": "digits_hdlif",
    "rows": {"HD-LIF": []},
    "columns": {"fp32": []},
}


def write(folder: Path, table: dict[str, Any]) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(json.dumps(table))
    return path


def queue(path: Path, out: Path) -> list[Path] | None:
    """The folders of the cells; None where the table is refused as it should be."""
    try:
        with within_cpu_seconds(30):
            return [cell.folder for cell in cells(load_table(path), out)]
    except RecipeError as error:
        one_printable_line(error)
        return None


@every(key=["title", "base", "seeds", "overrides", "rows", "columns", "quantities", "undefined", "x"])
def test_any_value_of_any_key_gives_cells_or_one_line(key: str, tmp_path: Path) -> None:
    for text in [*YAML, "{a: [seed=1]}", "{a: [name=../../x]}", "[time_steps=1000000000]", "{'..': []}"]:
        lines = [f"{name}: {json.dumps(value)}" for name, value in TABLE.items() if name != key]
        (tmp_path / "tiny.yaml").write_bytes("\n".join([*lines, f"{key}: {text}"]).encode("utf-8", "surrogatepass"))
        queue(tmp_path / "tiny.yaml", tmp_path / "out")


def test_the_folder_of_a_cell_is_below_the_table_s(tmp_path: Path) -> None:
    for name in NAMES.values():
        for where in ("rows", "columns"):
            folders = queue(write(tmp_path, {**TABLE, where: {name: [], "other": []}}), tmp_path / "out")
            for folder in folders or []:
                inside = folder.relative_to(tmp_path / "out").parts
                assert (len(inside), ".." in inside) == (3, False)
                assert all(part.isprintable() and len(part.encode()) < 256 for part in inside)


def test_what_comes_to_no_end_or_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    for changes, words in (
        ({"seeds": 10**9}, f"1,000,000,000 cells with all seeds; at most {MOST_CELLS:,}"),
        ({"rows": {f"r{i}": [] for i in range(200)}, "columns": {f"c{i}": [] for i in range(200)}}, "40,000 cells"),
        ({"rows": {"x" * 300: []}}, "at most 200 bytes"),
        ({"rows": {"\x1b[31m": []}}, "printable"),
        ({"base": "../other.yaml"}, "at or below"),
    ):
        with pytest.raises(RecipeError, match=words), within_cpu_seconds(20):
            list(cells(load_table(write(tmp_path, {**TABLE, **changes})), tmp_path))
    with pytest.raises(RecipeError, match="cells with all seeds"), within_cpu_seconds(20):
        ablate(str(write(tmp_path, TABLE)), seeds=10**9, out=tmp_path / "out")


def test_a_base_of_a_table_is_at_or_below_its_folder_and_an_error_says_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text("base: digits_hdlif\nseed: 9\n")
    path = write(tmp_path, TABLE | {"base": "mine.yaml"})
    monkeypatch.chdir(tmp_path.parent)
    assert [cell.seed for cell in cells(load_table(path), tmp_path)] == [9]
    (tmp_path / "mine.yaml").write_text("secret: 9\n")
    with pytest.raises(RecipeError) as refused:
        load_table(path)
    assert "secret" not in one_printable_line(refused.value)
    # What is no text file is refused soon.
    for name, make in NO_FILES.items():
        path = tmp_path / name.replace(" ", "_") / "x.yaml"
        path.parent.mkdir()
        make(path)
        for load in (load_table, lambda path: load_space(path, "digits_hdlif")):
            with pytest.raises(RecipeError) as refused, within_cpu_seconds(5):
                load(path)
            one_printable_line(refused.value)


SPACES = [
    "{kind: float, low: 0, high: .inf}",
    "{kind: float, low: -1, high: 1}",
    "{kind: int, low: 1, high: 9000000000}",
    "{kind: choice, values: []}",
    '{kind: choice, values: ["\\x1b[31m"]}',
    "{kind: choice, values: [../x, [[]]]}",
]


@every(key=["training.learning_rate", "model.width", "name", "model.blocks", "neuron", '"\\x1b.a"', "a..b"])
def test_any_space_is_one_or_refused_in_one_line(key: str, tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    for text in [*YAML, *SPACES]:
        path.write_bytes(f"{key}: {text}\n".encode("utf-8", "surrogatepass"))
        try:
            with within_cpu_seconds(30):
                load_space(path, "digits_hdlif")
        except RecipeError as error:
            one_printable_line(error)


def test_suggested_values_are_overrides_of_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        "training.learning_rate: {kind: float, low: 0.01, high: 0.3}\nmodel.width: {kind: int, low: 4, high: 8}\n"
        "neuron: {kind: choice, values: [{kind: lif}, {kind: hdlif}]}\n"
    )
    # A trial that suggests the first value, as Optuna would give it.
    lowest = SimpleNamespace(
        suggest_float=lambda name, low, high, *, log: low,
        suggest_int=lambda name, low, high, *, log: low,
        suggest_categorical=lambda name, choices: choices[0],
    )
    given = [override(key, one.suggest(lowest, key)) for key, one in load_space(path, "digits_hdlif").items()]
    assert given == ["training.learning_rate=0.01", "model.width=4", 'neuron={"kind": "lif"}']


@every(
    *("text", "words"),
    of=[
        (
            "training.learning_rate: {kind: float, low: 0.3, high: 0.1}",
            r"learning_rate\.float: .*low must be below high",
        ),
        ("training.learning_rate: {kind: float, low: 0.0, high: 0.1, log: true}", "above 0 if log is true"),
        ("training.learning_rate: {kind: floating, low: 0.1, high: 0.2}", "training.learning_rate: .*'float', 'int'"),
        ("[1]", "the file: .*valid dictionary"),
        ("{}", "has no key"),
        ("a: {", "fix the YAML"),
        # What stands in the file is well formed, but the recipe would not be.
        ("training.epoch: {kind: int, low: 1, high: 2}", r'training\.epoch: .*did you mean "epochs"'),
        ("training.momentum: {kind: float, low: 0.5, high: 1.5}", r"training\.momentum: .*less than 1"),
        ("neuron: {kind: choice, values: [{kind: lif}, {kind: hdlf}]}", r'neuron: .*did you mean "hdlif"'),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_by_file_and_key(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=rf"space\.yaml: .*{words}"):
        load_space(path, "digits_hdlif")
