"""Data of the user in a recipe: inspected once and stated in the recipe, or a recipe that follows from it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cases import naming
from hdlif.errors import DataError, RecipeError
from hdlif.recipe import Recipe, builders, dump_recipe, load_recipe
from hdlif.recipe.builders import defaults
from hdlif.recipe.runs.recipe_data import load_with_data
from hostile import one_printable_line
from picture_folders import CLASSES, write_pictures


def on(root: Path, *overrides: str, kind: str = "digits_hdlif") -> Recipe:
    given = builders.data_overrides(load_recipe(kind), str(root))
    return load_recipe(kind, [*given, "model.width=4", "data.batch_size=4", *overrides])


def found(root: Path, *overrides: str) -> Recipe:
    return builders.with_data_found(on(root, *overrides))[0]


def test_what_was_found_stands_in_the_recipe_and_makes_its_network(tmp_path: Path) -> None:
    unseen = on(write_pictures(tmp_path / "x", 6), "data.size=8")
    builders.check_names(unseen)
    with pytest.raises(RecipeError, match=r'data.kind = "folder": its classes and sizes are unknown until'):
        builders.check(unseen)
    chosen, data = builders.with_data_found(unseen)
    assert data is not None
    builders.check(chosen)
    assert builders.data_kind(chosen).labels == CLASSES
    assert builders.input_record(chosen) == data.input
    assert data.input.shape == (3, 8, 8)
    torch.manual_seed(0)
    network = builders.build_model(chosen).eval()
    x, _ = builders.build_data(chosen, found=data).train.sequence(torch.arange(4))
    logits, _ = network(x, steps=range(4))
    assert logits.shape == (4, 4, 3)
    path = tmp_path / "kept.yaml"
    path.write_text(dump_recipe(chosen))
    assert load_recipe(path) == chosen
    noise, labels = builders.random_batch(chosen, torch.Generator().manual_seed(0))
    assert (noise.shape, int(labels.max())) == ((1, 4, 3, 8, 8), 2)


def test_a_folder_may_be_shown_pixel_by_pixel_where_its_pictures_are_square(tmp_path: Path) -> None:
    write_pictures(tmp_path, 6)
    chosen = found(tmp_path, "data.size=8", "data.frames=pixels", "time_steps=64")
    builders.check(chosen)
    taken = builders.found_data(str(tmp_path), record=builders.input_record(chosen), labels=CLASSES, time_steps=64)
    own = builders.build_data(chosen)
    for sets in (own, taken):
        assert sets.test.sequence(torch.arange(2))[0].shape == (64, 2, 3, 1, 1)
    kept = chosen.data.found
    assert kept is not None
    oblong = kept.model_copy(update={"input": kept.input.model_copy(update={"shape": (3, 4, 16)})})
    data = chosen.data.model_copy(update={"found": oblong, "size": None})
    with pytest.raises(RecipeError, match=r'"pixels" shows square images, but these are 4x16; set data\.size'):
        builders.check(chosen.model_copy(update={"data": data}))


def test_another_folder_is_taken_as_the_network_takes_its_own(tmp_path: Path) -> None:
    chosen = found(write_pictures(tmp_path / "a", 6), "data.size=8", "data.fit=crop")
    write_pictures(tmp_path / "b" / "train", 6, mode="L", first=20)
    write_pictures(tmp_path / "b" / "test", 2, mode="L", first=40)
    sets = builders.data_of_ones_own(chosen, str(tmp_path / "b"))
    assert (sets.mean, sets.std) == (builders.input_record(chosen).mean, builders.input_record(chosen).std)
    assert (len(sets.test), sets.shape) == (6, (3, 8, 8))
    write_pictures(tmp_path / "c", 6, classes=("cat", "cow", "dog"))
    path, record = str(tmp_path / "c"), builders.input_record(chosen)
    for take in (
        lambda: builders.data_of_ones_own(chosen, path),
        lambda: builders.found_data(path, record=record, labels=CLASSES, time_steps=4),
    ):
        with pytest.raises(DataError, match=r"has a class that the network lacks: cow; give data of the network's"):
            take()


def test_data_replaces_what_a_recipe_says_of_its_own_set_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pictures(tmp_path / "x", 6)
    section = on(tmp_path / "x").data
    assert (section.kind, section.validation, section.train, section.size) == ("folder", None, None, None)
    assert section.augment == ("shift",)
    assert builders.data_overrides(load_recipe("digits_hdlif"), "synthetic") == ["data.kind=synthetic"]
    assert on(tmp_path / "x", kind="imagenet_resnet34_hdlif").data.size == 224
    with pytest.raises(DataError, match=r'--data "digit": there is no such file or folder.*did you mean "digits"'):
        builders.data_overrides(load_recipe("digits_hdlif"), "digit")
    with pytest.raises(DataError, match=r"digits_events_hdlif is for event data; start from a recipe for images"):
        builders.data_overrides(load_recipe("digits_events_hdlif"), str(tmp_path / "x"))
    # A relative path starts from the root, or from the working folder.
    monkeypatch.chdir(tmp_path)
    assert builders.data_overrides(on(tmp_path / "x"), "x") == [f"data.path={json.dumps(str(tmp_path / 'x'))}"]
    assert builders.data_overrides(on(tmp_path / "x"), "x/cat") == [f"data.path={json.dumps(str(tmp_path / 'x/cat'))}"]
    for root in (tmp_path, None):
        found, _ = builders.with_data_found(on(tmp_path / "x", "data.path=x"), root)
        assert found.data.arguments == {"path": str(tmp_path / "x")}


def test_what_was_found_is_checked_as_any_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = found(write_pictures(tmp_path, 6))
    tree = chosen.model_dump(mode="json")
    tree["data"]["found"]["input"]["std"] = [0.0, 1.0, 1.0]
    with pytest.raises(RecipeError, match=r"data.found.input.std = \[0.0, 1.0, 1.0\]; it must be 3 finite"):
        builders.check(Recipe.model_validate(tree))
    tree["data"] = {"kind": "digits", "batch_size": 4, "validation": 10, "found": chosen.data.found}
    with pytest.raises(RecipeError, match=r"data.found is for your own data, but digits is a built-in data set"):
        builders.check(Recipe.model_validate(tree))
    monkeypatch.setattr("hdlif.recipe.builders.own_data.MOST_BYTES", 500)
    with pytest.raises(
        DataError, match=r"with 3 classes and 3 channels, the recipe takes .* at most 500 are supported"
    ):
        found(tmp_path)


def test_refusals_name_the_key_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pictures(tmp_path, 6)
    for override, start in (
        ("data.validation=10", "data.validation = 10 counts samples of a built-in data set; "),
        ("data.unreadable=ignore", 'data.unreadable = "ignore" is unknown; choose one of refuse, skip'),
        ("data.channels=true", "data.channels = true is refused"),
        ("data.channels=1.0", "data.channels = 1.0 is refused"),
        ("data.channels=2", "data.channels = 2 is refused"),
        ("data.fits=crop", 'data.fits = "crop" is unknown; choose one of '),
        ("data.split={test: half}", 'data.split = {"test": "half"} is refused; '),
        ("data.split={test: 2.0}", "data: split.test = 2.0 is refused"),
        ("data={kind: folder, batch_size: 4}", "data.path is missing; give it a value"),
        ("data.augment=[event_policy]", 'data.augment: "event_policy" takes counts, but folder gives 8-bit pixels'),
        ('data={kind: "own_sets:nothing", batch_size: 4}', "own_sets:nothing: is None, which is not a map-style"),
    ):
        with naming(override), pytest.raises((RecipeError, DataError)) as refused:
            found(tmp_path, override)
        assert one_printable_line(refused.value).startswith(start)
    monkeypatch.chdir(write_pictures(tmp_path / "a" / "b", 3))
    monkeypatch.setattr("hdlif.data.folders.MOST_FILES", 1000)
    for path in ("", "\0", "a\nb", "x" * 5000, "..", "/", "/dev/null", "~", "\x1b[31m"):
        with naming(path), pytest.raises((DataError, RecipeError)) as refused:
            found(tmp_path, f"data.path={json.dumps(path)}")
        one_printable_line(refused.value)


def test_the_kind_of_data_at_a_path_follows_from_its_files(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("a,b,load\n" + "".join(f"{n},{n % 5},{n % 3}.5\n" for n in range(40)))
    files = ("arrays/x.npy", "saved/dataset_info.json", "shards/0.tar", "sounds/a/1.wav", "csv/a/1.csv")
    for file in (*files, "photos/a/1.png", "photos/a/labels.csv"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    kinds = {"table.csv": "series", "arrays": "series", "saved": "arrow", "shards": "shards", "sounds": "series"}
    kinds |= {"csv": "series", "photos": "folder", "absent": "folder", "absent.NPZ": "series"}
    assert {name: builders.kind_at(str(tmp_path / name)) for name in kinds} == kinds
    assert builders.kind_by_keys(str(table), ()) == "table"
    assert builders.kind_at("own_sets:Squares") == "own_sets:Squares"
    # A plain name stands for a list of one.
    found = builders.look("table", str(table), {"values": "load"})
    assert (found.classes, len(found.target_std)) == (("load",), 1)
    with pytest.raises(RecipeError, match=r'^data.values = "a, b" is refused; it should be a list: \[a, b\]$'):
        builders.look("table", str(table), {"values": "a, b"})


DRAWS = np.random.default_rng(0)


def save(path: Path, x: np.ndarray[Any, Any], y: Any) -> Path:
    np.savez(path, x=x, y=y)
    return path


def default_recipe(path: Path, *overrides: str) -> tuple[Recipe, list[str]]:
    said: list[str] = []
    recipe, _ = load_with_data(None, overrides, data=str(path), say=said.append)
    return recipe, said


def chosen(recipe: Recipe) -> str:
    """All that is chosen: the recipe without what was found."""
    tree = recipe.model_dump(mode="json", exclude={"name"})
    del tree["data"]["found"], tree["data"]["path"]
    return json.dumps(tree, sort_keys=True)


SERIES = DRAWS.normal(size=(60, 20, 2))
TARGETS = np.arange(60) % 3


def test_names_orders_and_units_change_no_choice(tmp_path: Path) -> None:
    shuffled = DRAWS.permutation(60)
    same = [
        save(tmp_path / "first.npz", SERIES, TARGETS),
        save(tmp_path / "renamed.npz", SERIES, np.array(["z", "a", "m"])[TARGETS]),
        save(tmp_path / "permuted.npz", SERIES[shuffled][..., ::-1], (2 - TARGETS)[shuffled]),
        save(tmp_path / "rescaled.npz", 1e3 * SERIES + 273.15, TARGETS),
    ]
    assert len({chosen(default_recipe(path)[0]) for path in same}) == 1


def test_choices_for_a_short_series_are_printed_with_reasons_unless_overridden(tmp_path: Path) -> None:
    path = save(tmp_path / "few.npz", SERIES, TARGETS)
    recipe, said = default_recipe(path)
    assert (recipe.name, recipe.time_steps, recipe.rule.kind, recipe.norm.kind) == ("few", 20, "stbp", "affine")
    # 15 % of each class of 20 test; the other 51 all train, for 9 of them would choose no epoch.
    assert recipe.data.arguments["split"] == {"validation": 0}
    assert (recipe.data.batch_size, recipe.training.epochs) == (8, 134)
    assert "  data.batch_size = 8: 51 training samples" in said
    _, said = default_recipe(path, "data.split={validation: 0.15}")
    assert "  data.batch_size = 8: 42 training samples" in said
    mine = "norm={kind: batch_norm}", "model.kernel=3", "training.epochs=2", "data.batch_size=4"
    recipe, said = default_recipe(path, *mine)
    assert (recipe.norm.kind, recipe.model.arguments["kernel"], recipe.training.epochs) == ("batch_norm", 3, 2)
    assert (recipe.data.batch_size, recipe.model.arguments["widths"]) == (4, list(defaults.WIDTHS))
    assert not any(line.startswith(("  norm", "  training.epochs", "  data.batch_size")) for line in said)
    assert recipe.training.warmup_epochs == 1


def test_many_samples_are_validated_in_larger_batches_and_long_series_resampled(tmp_path: Path) -> None:
    recipe, _ = default_recipe(save(tmp_path / "many.npz", DRAWS.normal(size=(900, 4, 1)), np.arange(900) % 2))
    assert "split" not in recipe.data.arguments
    # 900 less 2 · 68 of each part.
    assert (recipe.data.batch_size, recipe.training.epochs, recipe.model.arguments["kernel"]) == (32, 43, 4)
    recipe, _ = default_recipe(save(tmp_path / "long.npz", DRAWS.normal(size=(20, 600, 1)), np.arange(20) % 2))
    assert (recipe.time_steps, recipe.data.arguments["rate"], recipe.data.arguments["resample"]) == (256, 600, 256)
    assert recipe.rule.kind == "stbp"
    whole, _ = default_recipe(tmp_path / "long.npz", "data.rate=600")
    assert whole.time_steps == 600
    # A network too large for all steps gets an online rule.
    rule = defaults._rule(2000, 64, 1728)
    assert rule.value["kind"] == "stochastic_window"
    assert 4 * 8 * 1728 * 64 * rule.value["length"] <= defaults.MOST_BYTES
    assert defaults._rule(4, 64, 10**7).value == {"kind": "stochastic_step"}


def test_the_network_follows_from_the_kind_of_data_and_of_target(tmp_path: Path) -> None:
    for mode, augment in (("RGB", ("crop", "flip")), ("L", ("shift",))):
        for number in range(24):
            folder = tmp_path / mode / ("a", "b")[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            pixels = DRAWS.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).convert(mode).save(folder / f"{number}.png")
        recipe, _ = default_recipe(tmp_path / mode)
        assert (recipe.name, recipe.model.kind, recipe.data.augment) == (mode, "resnet", augment)
        assert recipe.training.optimizer.kind == "adamw"
    rows = [f"{a:.3f},{b:.3f},{'no' if a > b else 'yes'}" for a, b in DRAWS.normal(size=(40, 2))]
    (tmp_path / "table.csv").write_text("\n".join(["a,b,label", *rows]))
    recipe, _ = default_recipe(tmp_path / "table.csv")
    assert (recipe.model.kind, recipe.norm.kind, recipe.data.kind) == ("dense", "affine", "table")
    path = save(tmp_path / "values.npz", SERIES, DRAWS.normal(size=(60, 1)))
    recipe, said = default_recipe(path, "data.values=[load]")
    assert (recipe.task.kind, recipe.model.kind) == ("regress", "conv1d")
    assert any(line.startswith("  task = ") for line in said)
    recipe, _ = default_recipe(path, "data.values=[load]", "task.learn_from=last")
    assert recipe.task.arguments == {"learn_from": "last"}
    recipe, said = default_recipe(path, "data.values=[load]", "task={kind: regress, loss: huber}")
    assert recipe.task.arguments == {"loss": "huber"}
    assert not any(line.startswith("  task = ") for line in said)
    recipe, _ = default_recipe(path, "data.ahead=3")
    assert (recipe.task.kind, recipe.task.arguments) == ("regress", {"combine": "each"})
    labels = save(tmp_path / "labels.npz", SERIES, DRAWS.integers(0, 2, (60, 2)))
    assert default_recipe(labels, "data.labels=[a, b]")[0].task.kind == "multilabel"
    steps = save(tmp_path / "steps.npz", SERIES, DRAWS.integers(0, 2, (60, 20)))
    assert default_recipe(steps, "data.each_step=true")[0].task.kind == "sequence"


def test_without_data_of_ones_own_a_recipe_is_asked_for() -> None:
    for data, words in ((None, "give RECIPE .* --data PATH"), ("digits", "--data digits is a built-in data set")):
        with pytest.raises(RecipeError, match=words):
            load_with_data(None, data=data)
