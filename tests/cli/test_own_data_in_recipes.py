"""How recipes, seeds, tables and searches name data of one's own, or a package's, and what follows from the data."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cli.own_kinds import CUT, KINDS, PICTURES
from command_line import hdlif
from distributions import install
from hdlif.cli import recipes
from hdlif.cli.ablate import ablate
from hdlif.cli.data import inspect
from hdlif.cli.eval import evaluate
from hdlif.cli.export import export_file as export
from hdlif.cli.report import report
from hdlif.cli.seeds import train_seeds
from hdlif.cli.sweep import sweep
from hdlif.errors import CheckpointError, DataError, RecipeError
from hdlif.recipe import Recipe, builders, load_recipe
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.recipe.runs.recipe_data import load_with_data
from own_shards import series_of, sounds_of, write_shard
from picture_folders import write_pictures
from series_files import write_arrays, write_public_arrays, write_recording
from sound_files import tone, wav_bytes
from stub_training import stub
from trainings import train

ON_PHOTOS = [*PICTURES, "training.epochs=1", "data={kind: folder, path: photos, batch_size: 8, size: 8}"]


def test_time_steps_follow_the_data_that_are_given_unless_they_are_set(tmp_path: Path) -> None:
    said: list[str] = []
    data = str(write_recording(tmp_path / "r.csv"))
    recipe, _ = load_with_data("sines_hdlif", CUT, data=data, say=said.append)
    assert (recipe.time_steps, len(said), "time_steps = 8" in said[0]) == (8, 1, True)
    whole = f"data={{kind: series, path: {write_arrays(tmp_path / 'x.npz')}, batch_size: 4}}"
    assert load_with_data("sines_hdlif", [whole])[0].time_steps == 8
    # A file that states both is as it stands.
    own = tmp_path / "own.yaml"
    own.write_text(f"base: sines_hdlif\ntime_steps: 9\n{whole.replace('=', ': ', 1)}\n")
    for name, overrides, at in (("sines_hdlif", [*CUT, "time_steps=9"], data), (own, [], None)):
        with pytest.raises(RecipeError, match="time_steps = 9, but a time series has 8"):
            load_with_data(name, overrides, data=at)


def test_a_training_without_a_recipe_keeps_the_one_that_followed_and_is_resumed_by_its_folder(tmp_path: Path) -> None:
    data, out, said = write_arrays(tmp_path / "x.npz"), tmp_path / "run", list[str]()
    few = ["training.epochs=2", "model.widths=[4]"]
    result = train(None, data=str(data), overrides=few, out=out, memory_repeats=0, say=said.append)
    assert (result.name, result.best_epoch, result.validation_accuracy) == ("x", 2, None)
    kept = load_recipe(out / "recipe.yaml")
    assert (kept.model.kind, kept.norm.kind, kept.training.epochs) == ("conv1d", "affine", 2)
    assert any(line.startswith("  rule = ") for line in said)
    assert train(None, out=out, resume=True, memory_repeats=0).as_dict() == result.as_dict()
    with pytest.raises(RecipeError, match="--data PATH"):
        train(None, out=tmp_path / "other")


def test_a_check_that_builds_finds_the_data_below_their_root(tmp_path: Path) -> None:
    write_public_arrays(tmp_path / "vowels", classes=9, steps=29, channels=12)
    assert recipes.check_all(["vowels_hdlif"], build=True, data_root=tmp_path) == {"recipes": ["vowels_hdlif"]}
    with pytest.raises(DataError, match="there is no such file or folder"):
        recipes.check("vowels_hdlif", build=True, data_root=tmp_path / "elsewhere")
    command = ["recipes", "check", "vowels_hdlif", "--data-root", str(tmp_path)]
    refused = hdlif(*command)
    assert (refused.returncode, "--data-root" in refused.stderr) == (2, True)
    assert hdlif(*command, "--build").stdout == "vowels_hdlif: good\n"


def test_seeds_a_table_and_a_search_train_on_a_folder_as_it_was_found_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna", reason="pip install 'hdlif[sweep]'")
    write_pictures(tmp_path / "photos", 6)
    looked, seen, find = list[Any](), list[tuple[Recipe, Path, Any]](), builders.with_data_found

    def counting(recipe: Recipe, root: Path | None, **options: Any) -> Any:
        looked.append(root)
        return find(recipe, root, **options)

    monkeypatch.setattr(builders, "with_data_found", counting)
    for module in ("seeds", "ablation_queue", "sweep_trials"):
        monkeypatch.setattr(f"hdlif.cli.{module}.train_in_one_process", stub(seen))
    given: dict[str, Any] = {"overrides": ON_PHOTOS, "data_root": tmp_path}
    train_seeds("digits_hdlif", seeds=2, out=tmp_path / "runs", **given)
    cells = {"title": "t", "base": "digits_hdlif", "seeds": 2, "rows": {"a": []}, "columns": {"b": []}}
    (tmp_path / "table.yaml").write_text(json.dumps(cells | {"overrides": ON_PHOTOS}))
    for _ in range(2):
        looked.clear()
        result = ablate(str(tmp_path / "table.yaml"), data_root=tmp_path, out=tmp_path / "out")
        assert (result["rows"]["a"]["b"]["n"], looked) == (2, [tmp_path])
    (tmp_path / "space.yaml").write_text("training.learning_rate: {kind: float, low: 0.01, high: 0.3}\n")
    found = sweep("digits_hdlif", space=tmp_path / "space.yaml", trials=1, out=tmp_path / "sweep", **given)
    assert [trial.state for trial in found.trials] == ["complete"]
    assert len(seen) == 5
    # One split for all.
    assert len({one.data.found.digest for one, *_ in seen if one.data.found is not None}) == 1


@pytest.mark.slow
def test_a_report_names_the_file_that_the_neurons_see(tmp_path: Path) -> None:
    photos = write_pictures(tmp_path / "photos", 6, size=(8, 8), mode="L")
    KINDS["pictures"].train(photos, tmp_path / "mine")
    page = Path(report([tmp_path / "mine"])["report"]).read_text()
    (file,) = set(re.findall(r"on test sample 0, (\S+) \(class", page))
    data = builders.FOUND["folder"].MAKES(None, size=None, known=None, path=str(photos)).find()
    with Image.open(photos / file) as image:
        np.testing.assert_array_equal(data.make((), 0).test.read(torch.tensor([0]))[0, 0].numpy(), np.asarray(image))
    # Where it is not kept which files there were, none is named.
    (tmp_path / "mine" / "data_files.json").unlink()
    assert "on test sample 0 (class" in Path(report([tmp_path / "mine"])["report"]).read_text()


def test_floats_and_pictures_of_pil_are_the_same_samples_as_bytes() -> None:
    digests = []
    for name in ("Squares", "Split", "TrainOrTest"):
        found = builders.look(f"own_sets:{name}", f"own_sets:{name}", {})
        digests.append({entry.sha256 for entry in found.manifest.entries if entry.label == "owl"})
        assert found.make((), 0).train.read(torch.arange(2)).shape == (2, 1, 8, 8)
    squares, of_pil, of_floats = digests
    assert of_pil & squares == of_floats & squares != set()


def test_sounds_in_shards_are_those_of_files_to_the_bit(tmp_path: Path) -> None:
    write_shard(tmp_path / "shards" / "a.tar", sounds_of(range(10)))
    for name in ("high", "low"):
        for number in range(10):
            file = tmp_path / "files" / name / f"{number}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(wav_bytes(tone(name, number)))
    shards, keys = str(tmp_path / "shards"), {"mels": 8, "seconds": 0.2}
    of_shards, of_files = (
        builders.look(kind, str(tmp_path / path), keys).make((), 0)
        for kind, path in (("shards", "shards"), ("series", "files"))
    )
    raw = [torch.cat([part.read(torch.arange(len(part))) for part in sets.parts]) for sets in (of_shards, of_files)]
    assert len(raw[0]) == 20
    assert {one.numpy().tobytes() for one in raw[0]} == {one.numpy().tobytes() for one in raw[1]}
    with_values = builders.look("shards", shards, {**keys, "values": ["loud"]})
    assert (with_values.classes, len(with_values.target_std)) == (("loud",), 1)
    write_shard(tmp_path / "series.tar", series_of([0]))
    for path, key, words in (
        (shards, {"ahead": 2}, "each_step and ahead apply to time series"),
        (str(tmp_path / "series.tar"), {"mels": 8}, "mels = 8 applies to audio"),
    ):
        with pytest.raises(RecipeError, match=words):
            builders.look("shards", path, key)


def test_what_the_package_datasets_has_saved_is_trained_on(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the package datasets: pip install 'hdlif[arrow]'")

    def of_pictures(count: int) -> Any:
        rows = {"image": [Image.fromarray(np.full((8, 8), n, np.uint8)) for n in range(count)]}
        rows |= {"label": [n % 3 for n in range(count)]}
        features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog", "owl"])}
        return datasets.Dataset.from_dict(rows, features=datasets.Features(features))

    data = str(tmp_path / "data")
    datasets.DatasetDict(train=of_pictures(24), test=of_pictures(6)).save_to_disk(data)
    assert builders.kind_at(data) == "arrow"
    small = [*PICTURES, "training.epochs=1"]
    train("digits_hdlif", data=data, overrides=small, out=tmp_path / "run", memory_repeats=0)
    assert evaluate(tmp_path / "run").n == 6
    series = {"x": [np.random.default_rng(n).normal(size=(4, 2)).tolist() for n in range(20)], "label": [0, 1] * 10}
    datasets.Dataset.from_dict(series).save_to_disk(str(tmp_path / "series"))
    found = builders.look("arrow", str(tmp_path / "series"), {})
    assert (found.input.kind, found.input.shape) == ("series", (2, 4, 1))


SETS = """
from own_sets import Squares

NUMBER = 3
"""
FAST = ["model.width=4", "model.blocks=[1]", "data.batch_size=8", "training.epochs=1", "data.augment=[]"]
OFFERED = {"gait": "gait_sets:Squares", "digits": "gait_sets:Squares", "number": "gait_sets:NUMBER"}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with data sets; the working folder is elsewhere."""
    install(tmp_path, monkeypatch, name="gait-data", groups={"hdlif.data": OFFERED}, gait_sets=SETS)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def trained(data: str | None, out: Path, *overrides: str, **options: Any) -> None:
    train("digits_hdlif", data=data, overrides=[*FAST, *overrides], out=out, memory_repeats=0, **options)


def test_a_recipe_and_data_name_it_and_the_run_keeps_the_package(site: Path) -> None:
    named, whole = (inspect(name, overrides=["data.count=24"]) for name in ("gait", "gait_sets:Squares"))
    assert (named["path"], named["kind"]) == ("gait", "gait")
    assert {**named, "path": "", "kind": ""} == {**whole, "path": "", "kind": ""}
    trained("gait", site / "run", "data.count=33")
    parts = json.loads((site / "run" / "parts.json").read_text())
    place = {"distribution": "gait-data", "version": "1.2", "place": "gait_sets:Squares"}
    assert parts["hdlif.data:gait"] == place
    recipe = load_trained(site / "run").recipe
    assert (recipe.data.kind, recipe.data.arguments) == ("gait", {"count": 33})
    tested = evaluate(site / "run")
    export(site / "run", out=site / "net.hdlif.safetensors")
    for network in (site / "run", site / "net.hdlif.safetensors"):
        other = evaluate(network, data="gait", overrides=["data.count=33"])
        assert (other.n, other.accuracy) == (tested.n, tested.accuracy)
        assert evaluate(network, data="gait", overrides=["data.count=9"], part="all").n == 9


def test_a_package_that_is_gone_is_named(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(None, site / "run", "data={kind: gait, batch_size: 8}")
    (site / "run" / "summary.json").unlink()
    install(site, monkeypatch, name="gait-data", groups={})
    for error, use in (
        (DataError, lambda: trained("gait", site / "run", resume=True)),
        (RecipeError, lambda: trained(None, site / "run", "data={kind: gait, batch_size: 8}", resume=True)),
        (CheckpointError, lambda: evaluate(site / "run")),
    ):
        with pytest.raises(error, match=r"pip install gait-data==1\.2"):
            use()


def test_what_ships_and_what_lies_there_come_first(site: Path) -> None:
    assert builders.build_data(load_recipe("digits_hdlif")).classes == tuple(map(str, range(10)))
    (line,) = builders.hidden_kinds(load_recipe("digits_hdlif"))
    assert line.startswith('data.kind = "digits" of gait-data 1.2 is not used: a part of hdlif has the same name')
    for use, error, words in (
        (lambda: inspect("gait", overrides=["data.cuont=24"]), RecipeError, 'did you mean "count"'),
        (lambda: trained("gaitt", site / "run"), DataError, 'did you mean "gait"'),
        (lambda: inspect("number"), RecipeError, "must be a class or a function"),
    ):
        with pytest.raises(error, match=words):
            use()
    # A folder of that name in the working folder is what is meant.
    write_pictures(Path("gait"), 6)
    assert inspect("gait")["kind"] == "folder"


def test_a_set_that_ships_looks_at_no_installed_package() -> None:
    program = """
import importlib.metadata
import pydantic, hdlif.config  # pydantic looks for plugins of its own
def refuse(*_, **__): raise AssertionError("looked")
importlib.metadata.distributions = importlib.metadata.entry_points = refuse
from hdlif.recipe.builders import check_names, data_overrides
from hdlif.recipe import load_recipe
check_names(load_recipe("digits_hdlif"))
check_names(load_recipe("digits_hdlif", data_overrides(load_recipe("digits_hdlif"), "synthetic")))
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
