"""The recipe that follows from data where none is named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hdlif.errors import RecipeError
from hdlif.recipe import Recipe
from hdlif.recipe.builders import defaults
from hdlif.recipe.runs.recipe_data import load_with_data

DRAWS = np.random.default_rng(0)


def write(path: Path, x: np.ndarray[Any, Any], y: Any) -> Path:
    np.savez(path, x=x, y=y)
    return path


def recipe_of(path: Path, *overrides: str) -> tuple[Recipe, list[str]]:
    said: list[str] = []
    recipe, _ = load_with_data(None, overrides, data=str(path), say=said.append)
    return recipe, said


def chosen(recipe: Recipe) -> str:
    """All that is chosen: the recipe without what was found."""
    tree = recipe.model_dump(mode="json", exclude={"name"})
    del tree["data"]["found"], tree["data"]["path"]
    return json.dumps(tree, sort_keys=True)


SERIES = DRAWS.normal(size=(60, 20, 2))
CLASSES = np.arange(60) % 3


def test_names_orders_and_units_change_no_choice(tmp_path: Path) -> None:
    shuffled = DRAWS.permutation(60)
    same = [
        write(tmp_path / "first.npz", SERIES, CLASSES),
        write(tmp_path / "renamed.npz", SERIES, np.array(["z", "a", "m"])[CLASSES]),
        write(tmp_path / "permuted.npz", SERIES[shuffled][..., ::-1], (2 - CLASSES)[shuffled]),
        write(tmp_path / "rescaled.npz", 1e3 * SERIES + 273.15, CLASSES),
    ]
    assert len({chosen(recipe_of(path)[0]) for path in same}) == 1


def test_choices_for_a_short_series_are_printed_with_reasons_unless_overridden(tmp_path: Path) -> None:
    path = write(tmp_path / "few.npz", SERIES, CLASSES)
    recipe, said = recipe_of(path)
    assert (recipe.name, recipe.time_steps, recipe.rule.kind, recipe.norm.kind) == ("few", 20, "stbp", "affine")
    # 15 % of each class of 20 test; the other 51 all train, for 9 of them would choose no epoch.
    assert recipe.data.arguments["split"] == {"validation": 0}
    assert (recipe.data.batch_size, recipe.training.epochs) == (8, 134)
    assert "  data.batch_size = 8: 51 training samples" in said
    mine = "norm={kind: batch_norm}", "model.kernel=3", "training.epochs=2", "data.batch_size=4"
    recipe, said = recipe_of(path, *mine)
    assert (recipe.norm.kind, recipe.model.arguments["kernel"], recipe.training.epochs) == ("batch_norm", 3, 2)
    assert (recipe.data.batch_size, recipe.model.arguments["widths"]) == (4, list(defaults.WIDTHS))
    assert not any(line.startswith(("  norm", "  training.epochs", "  data.batch_size")) for line in said)


def test_many_samples_are_validated_in_larger_batches_and_long_series_resampled(tmp_path: Path) -> None:
    recipe, _ = recipe_of(write(tmp_path / "many.npz", DRAWS.normal(size=(900, 4, 1)), np.arange(900) % 2))
    assert "split" not in recipe.data.arguments
    # 900 less 2 · 68 of each part.
    assert (recipe.data.batch_size, recipe.training.epochs, recipe.model.arguments["kernel"]) == (32, 43, 4)
    recipe, _ = recipe_of(write(tmp_path / "long.npz", DRAWS.normal(size=(20, 600, 1)), np.arange(20) % 2))
    assert (recipe.time_steps, recipe.data.arguments["rate"], recipe.data.arguments["resample"]) == (256, 600, 256)
    assert recipe.rule.kind == "stbp"
    whole, _ = recipe_of(tmp_path / "long.npz", "data.rate=600")
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
        recipe, _ = recipe_of(tmp_path / mode)
        assert (recipe.name, recipe.model.kind, recipe.data.augment) == (mode, "resnet", augment)
        assert recipe.training.optimizer.kind == "adamw"
    rows = [f"{a:.3f},{b:.3f},{'no' if a > b else 'yes'}" for a, b in DRAWS.normal(size=(40, 2))]
    (tmp_path / "table.csv").write_text("\n".join(["a,b,label", *rows]))
    recipe, _ = recipe_of(tmp_path / "table.csv")
    assert (recipe.model.kind, recipe.norm.kind, recipe.data.kind) == ("dense", "affine", "table")
    path = write(tmp_path / "values.npz", SERIES, DRAWS.normal(size=(60, 1)))
    recipe, _ = recipe_of(path, "data.values=[load]", "task={kind: regress}")
    assert (recipe.task.kind, recipe.model.kind) == ("regress", "conv1d")


def test_without_data_of_ones_own_a_recipe_is_asked_for() -> None:
    for data, words in ((None, "give RECIPE .* or --data PATH"), ("digits", "--data digits is a set that ships")):
        with pytest.raises(RecipeError, match=words):
            load_with_data(None, data=data)
