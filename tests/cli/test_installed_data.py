"""Data sets that installed packages offer under plain names."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from distributions import install
from hdlif.cli.data import inspect
from hdlif.cli.eval import evaluate
from hdlif.cli.export import export_file as export
from hdlif.errors import CheckpointError, DataError, RecipeError
from hdlif.recipe import builders, load_recipe
from hdlif.recipe.runs.checkpoints import load_trained
from picture_folders import write_pictures
from trainings import train

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
    assert line.startswith('data.kind = "digits" of gait-data 1.2 is not used: the name ships with hdlif')
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
