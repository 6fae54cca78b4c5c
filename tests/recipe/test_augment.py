"""The key `data.augment`: augmentations by name, with arguments, and of one's own."""

from pathlib import Path

import pytest
import torch

from distributions import install
from hdlif.data import Augmentation
from hdlif.errors import RecipeError
from hdlif.recipe import Component, Recipe, builders, dump_recipe, load_recipe
from hdlif.recipe.runs.own_parts import own_parts
from small_recipes import recipe


def augmented(stated: str) -> Recipe:
    return recipe(f"data.augment={stated}")


def test_one_s_own_are_checked_and_made_beside_those_that_ship(tmp_path: Path) -> None:
    chosen = augmented(
        '[shift, "own_parts:noise", {kind: "own_parts:noise", strength: 3}, {kind: "own_parts:Dim", most: 0.25}]'
    )
    builders.check(chosen)
    first, *own = builders.build_data(chosen).train.augment
    assert first == "shift"
    assert all(isinstance(one, Augmentation) for one in own)
    assert [one.normalised for one in own] == [False, False, True]  # type: ignore[union-attr]
    assert chosen.data.augment[2] == Component.model_validate({"kind": "own_parts:noise", "strength": 3})
    (tmp_path / "digits_hdlif.yaml").write_text(dump_recipe(chosen))
    assert load_recipe(tmp_path / "digits_hdlif.yaml") == chosen
    assert Recipe.model_validate(chosen.model_dump(mode="json")) == chosen
    assert list(own_parts(chosen)) == ["own_parts"]


def test_one_of_an_installed_package_is_named_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(
        tmp_path, monkeypatch, groups={"hdlif.augmentations": {"noise": "own_parts:noise", "flip": "own_parts:Dim"}}
    )
    chosen = augmented("[flip, {kind: noise, strength: 3}]")
    builders.check(chosen)
    assert list(own_parts(chosen)) == ["hdlif.augmentations:noise", "own_parts"]
    (line,) = builders.hidden_kinds(chosen)
    assert line.startswith('data.augment = "flip" of spiking-waves 1.2 is not used: ')


def test_series_are_jittered_and_scaled() -> None:
    def sines(stated: str) -> Recipe:
        return load_recipe("sines_hdlif", [f"data.augment={stated}"])

    builders.check(sines("[jitter, {kind: scale, deviation: 0.2}]"))
    plain, same, jittered, more = (
        builders.build_data(sines(stated)).train.batch(torch.arange(480))[0]
        for stated in ("[]", "[]", "[jitter]", "[{kind: jitter, deviation: 0.5}]")
    )
    assert torch.equal(plain, same)
    assert abs((jittered - plain).std().item() - 0.05) < 0.005
    assert abs((more - plain).std().item() - 0.5) < 0.05
    with pytest.raises(RecipeError, match='"flip" takes 8-bit pixels or counts, and sines gives series; leave it out'):
        builders.check(sines("[flip]"))
