"""How recipes, seeds, tables and searches name data of one's own, and what follows from the data."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cli.own_kinds import CUT, KINDS, PICTURES
from command_line import hdlif
from hdlif.cli import recipes
from hdlif.cli.ablate import ablate
from hdlif.cli.eval import evaluate
from hdlif.cli.report import report
from hdlif.cli.seeds import train_seeds
from hdlif.cli.sweep import sweep
from hdlif.errors import DataError, RecipeError
from hdlif.recipe import Recipe, builders, load_recipe
from hdlif.recipe.runs.recipe_data import load_with_data
from own_shards import sounds_of, write_shard
from picture_folders import write_pictures
from series_files import write_arrays, write_public_arrays, write_recording
from sound_files import tone, wav_bytes
from stub_training import stub
from trainings import train

ON_PHOTOS = [*PICTURES, "training.epochs=1", "data={kind: folder, path: photos, batch_size: 8, size: 8}"]


def test_a_recipe_of_ones_own_names_its_folder(tmp_path: Path) -> None:
    write_pictures(tmp_path / "photos", 6)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "base: digits_hdlif\n"
        "model: {width: 4, blocks: [1]}\n"
        f"data: {{kind: folder, path: {tmp_path}/photos, batch_size: 8, size: 8, fit: crop, channels: 1}}\n"
        "training: {epochs: 1}\n"
    )
    result = train(recipe, out=tmp_path / "run", memory_repeats=0)
    found = result.recipe["data"]["found"]["input"]
    assert (found["shape"], found["fit"]) == ([1, 8, 8], "crop")
    assert load_recipe(tmp_path / "run" / "recipe.yaml").model_dump(mode="json") == result.recipe


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
        with pytest.raises(RecipeError, match="time_steps = 9, and a series has 8"):
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
    data = builders.FOUND["folder"].MAKES(None, size=None, known=None, path=str(photos))
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


def test_a_folder_and_a_data_set_measure_each_other(own: Any, tmp_path: Path) -> None:
    photos = write_pictures(tmp_path / "photos", 10, size=(8, 8), mode="L")
    for network in (own("data set").run, own("data set").network):
        assert evaluate(network, data="own_sets:TrainOrTest").n == 9
        assert evaluate(network, data=str(photos)).n == 6


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
    with pytest.raises(RecipeError, match="each_step and ahead are of series"):
        builders.look("shards", shards, {"ahead": 2})


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
