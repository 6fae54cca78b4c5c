"""docs/how_to/your_own_parts.md can be followed: its augmentations are trained with, and offered by a package."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from distributions import WAVE, install
from hdlif.recipe import builders
from hdlif.recipe.builders.installed import GROUPS
from hdlif.recipe.builders.registry import KINDS
from pages import followed, page
from small_recipes import recipe

PAGE = page("how_to/your_own_parts")
(CODE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(TOML,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def test_every_command_of_the_page_runs_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_augmentations.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_augmentations", raising=False)
    quick = ["training.epochs=1", "data.train=64", "model={kind: resnet, width: 2, blocks: [1]}"]
    said = followed(PAGE, tmp_path, monkeypatch, training=[part for one in quick for part in ("--set", one)])
    assert list(said) == ["recipes", "train"]
    assert (tmp_path / "runs/speckled/parts.json").exists()


def test_the_package_of_the_page_offers_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = tomllib.loads(TOML)["project"]["entry-points"]
    install(tmp_path, monkeypatch, groups=groups, my_augmentations=CODE, my_neurons=WAVE)
    builders.check(recipe("data.augment=[speckle]", "neuron={kind: wave}"))


def test_the_page_names_every_group_that_a_recipe_takes() -> None:
    assert set(re.findall(r"`(hdlif\.\w+)`", PAGE)) == {GROUPS[key] for key in KINDS}
