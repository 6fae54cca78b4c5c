"""From a table of one's own through training to `hdlif run` on rows, by the names of columns."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from hdlif.cli.data import inspect
from hdlif.cli.data_text import as_text
from hdlif.cli.eval import evaluate
from hdlif.cli.export import export_file as export
from hdlif.cli.predict import predict_files as run
from hdlif.cli.profile import profile
from hdlif.errors import DataError, InputError, RecipeError
from hdlif.graph.artefact import load
from hdlif.recipe import builders, load_recipe
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.runtime import Session
from hdlif.runtime.series import read_rows
from series_files import write_arrays, write_csv
from table_files import CLASSES, table_rows, write_table
from trainings import train

FAST = ["model.widths=[4, 4]", "data.batch_size=8", "training.epochs=2", "data.group=who"]


def trained(data: Path, out: Path, *overrides: str) -> None:
    train("wine_hdlif", data=str(data), overrides=[*FAST, *overrides], out=out, memory_repeats=0)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own")
    trained(write_table(root / "rows.csv"), root / "run")
    export(root / "run", out=root / "net.hdlif.safetensors")
    return root / "run"


def test_run_gives_what_training_made_of_a_row_to_the_bit(run_folder: Path) -> None:
    path, data = run_folder.parent / "net.hdlif.safetensors", run_folder.parent / "rows.csv"
    recipe = load_trained(run_folder).recipe
    record = load(path).input
    assert record == builders.input_record(recipe)
    assert (record.kind, record.shape, record.columns) == ("table", (2, 1, 1), ("width", "height"))
    answers = run(path, [data]).as_dict()["inputs"]
    assert [one["input"] for one in answers] == [f"{data}:{line}" for line in range(2, 42)]
    shown = {x.tobytes(): row[1] for (_, x), row in zip(read_rows(data, record), table_rows(), strict=True)}
    logits, session, seen = {tuple(one["logits"]) for one in answers}, Session(path), 0
    for part in builders.build_data(recipe).parts:
        for index in range(len(part)):
            x, label = part.sequence(torch.tensor([index]))
            assert x.shape == (1, 1, 2, 1, 1)
            assert shown[x.numpy().tobytes()] == CLASSES[int(label)]
            assert tuple(session.run(x.numpy()).mean(axis=0)[0].tolist()) in logits
            seen += 1
    assert seen == len(shown) == 40


def test_columns_are_found_by_name_in_any_order(run_folder: Path, tmp_path: Path) -> None:
    path, data = run_folder.parent / "net.hdlif.safetensors", run_folder.parent / "rows.csv"
    rows = [[height, "a note", width] for _, _, width, height in table_rows()]
    other = write_csv(tmp_path / "other.csv", rows, ["height", "note", "width"])
    bare = write_csv(tmp_path / "bare.csv", [[width, height] for height, _, width in rows])
    np.save(tmp_path / "x.npy", np.array([[width, height] for height, _, width in rows], np.float64))
    expected = [one["logits"] for one in run(path, [data]).as_dict()["inputs"]]
    for file in (other, bare, tmp_path / "x.npy"):
        assert [one["logits"] for one in run(path, [file]).as_dict()["inputs"]] == expected


@pytest.mark.parametrize(
    ("rows", "header", "words"),
    [
        ([[1]], ["width"], "cannot be read as a table (it has no column 'height'; choose one of width)"),
        ([[1, "tall"]], ["width", "height"], "line 2, column 'height': 'tall' is not a number"),
        ([[1, ""]], ["width", "height"], "line 2, column 'height': the cell is empty"),
        ([[1, 2, 3]], None, "its rows have 3, and the network takes rows of 2 numbers"),
    ],
)
def test_rows_that_the_network_does_not_take_are_refused(
    run_folder: Path, tmp_path: Path, rows: list[list[object]], header: list[str] | None, words: str
) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        run(run_folder.parent / "net.hdlif.safetensors", [write_csv(tmp_path / "x.csv", rows, header)])


def test_every_verb_takes_the_run_and_the_data(run_folder: Path) -> None:
    data, path = str(run_folder.parent / "rows.csv"), run_folder.parent / "net.hdlif.safetensors"
    accuracy = evaluate(run_folder).accuracy
    assert evaluate(run_folder, data=data).accuracy == accuracy
    assert profile(str(path), data=data).sops > 0
    evaluate(path, data=data)


def test_inspect_takes_a_file_of_rows_for_a_table_unless_it_is_cut(tmp_path: Path) -> None:
    path = write_table(tmp_path / "rows.csv")
    result = inspect(str(path), overrides=["data.group=who"])
    assert (result["kind"], result["samples"]) == ("table", 40)
    for line in (
        "samples        40, each a row",
        "features       2: width, height",
        'kept together  10, each a group of "who": none is in two parts',
        "trained on     each step sees the same 2 numbers",
    ):
        assert line in as_text(result).splitlines()
    cut = ["data.window=2", "data.columns=[width, height]", "data.group=who"]
    with pytest.raises(
        DataError, match=r'class "big" has at most 1 rows one after another of one group, and data.window'
    ):
        inspect(str(path), overrides=cut)
    arrays = str(write_arrays(tmp_path / "x.npz"))
    assert inspect(arrays)["kind"] == "series"
    with pytest.raises(DataError, match=r"x: it is \[20, 8, 2\], and should be \[N, F\]"):
        inspect(arrays, overrides=["data.kind=table"])
    with pytest.raises(DataError, match="is a table, of which there is no sheet"):
        inspect(str(path), out=tmp_path / "x.png", overrides=["data.group=who"])


def test_a_path_is_of_the_kind_of_the_recipe(tmp_path: Path) -> None:
    path = str(write_table(tmp_path / "rows.csv"))
    for recipe, kind in (("wine_hdlif", "table"), ("sines_hdlif", "series")):
        assert load_recipe(recipe, builders.data_overrides(load_recipe(recipe), path)).data.kind == kind
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x.wav").write_bytes(b"")
    with pytest.raises(DataError, match=r"is data of series, and wine_hdlif is of tables; .* as sines_hdlif"):
        builders.data_overrides(load_recipe("wine_hdlif"), str(tmp_path / "a"))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.frames=rows", "data.frames = 'rows' is not of tables, which table gives"),
        ("data.size=8", "data.size = 8 is not of tables"),
        ("data.augment=[flip]", "gives rows of numbers"),
        ("data.window=8", "data.window = .* is unknown; choose one of .*columns"),
    ],
)
def test_what_does_not_go_with_tables_is_refused_before_training(tmp_path: Path, override: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        trained(write_table(tmp_path / "rows.csv"), tmp_path / "run", override)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]
