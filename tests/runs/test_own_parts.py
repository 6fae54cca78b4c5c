"""A run folder says which modules of the user's it was begun with, and is not resumed with others."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from after_epoch import AfterEpoch
from hdlif.commands.train import train
from hdlif.config import Recipe, load_recipe
from hdlif.errors import CheckpointError
from hdlif.runs.own_parts import check_parts, keep_parts, own_parts

MODULE = """
from torch import nn


def net(*, in_channels, classes, neuron):
    return nn.Sequential(nn.Conv2d(in_channels, 2, 3), neuron(2), nn.Flatten(), nn.Linear(72, classes))
"""


class StopError(Exception):
    pass


def stop(epoch: int, _: object) -> None:
    """Behind the first epoch, whose checkpoint is there."""
    if epoch == 2:
        raise StopError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a module of the user's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path, MODULE)
    return tmp_path


def write(folder: Path, text: str) -> None:
    (folder / "edited_models.py").write_text(text)
    importlib.invalidate_caches()
    sys.modules.pop("edited_models", None)


def recipe(*overrides: str) -> Recipe:
    return load_recipe("digits_hdlif", ['model={kind: "edited_models:net"}', "training.epochs=2", *overrides])


def test_a_training_is_resumed_with_the_module_that_it_began_with_alone(folder: Path) -> None:
    arguments = {"out": folder / "run", "memory_repeats": 0}
    with pytest.raises(StopError):
        train(recipe(), callbacks=[AfterEpoch(stop)], **arguments)
    assert json.loads((folder / "run" / "parts.json").read_text()).keys() == {"edited_models"}
    write(folder, MODULE + "\n# edited\n")
    words = r"edited_models.py \(edited_models\) is another than when this training began \(edited\).*--overwrite"
    with pytest.raises(CheckpointError, match=words):
        train(recipe(), resume=True, **arguments)
    write(folder, MODULE)
    assert train(recipe(), resume=True, **arguments)["best_epoch"] in (1, 2)


def test_a_run_without_own_modules_has_no_list_of_them(folder: Path) -> None:
    plain = load_recipe("digits_hdlif")
    assert own_parts(plain) == {}
    keep_parts(plain, folder)
    assert not (folder / "parts.json").exists()
    check_parts(plain, folder)


def test_every_kind_is_looked_at_and_a_version_is_kept(folder: Path) -> None:
    chosen = recipe('rule={kind: "own_parts:LastStep"}', 'training.optimizer={kind: "torch.optim:RMSprop"}')
    found = own_parts(chosen)
    assert list(found) == ["edited_models", "own_parts", "torch.optim"]
    assert found["torch.optim"]["version"] == sys.modules["torch"].__version__
    assert len(found["edited_models"]["sha256"]) == 64


@pytest.mark.parametrize("text", ["", "[]", "{", '{"edited_models": 3}', "[" * 10_000])
def test_a_damaged_list_is_refused(folder: Path, text: str) -> None:
    (folder / "parts.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"parts.json: is damaged; start anew"):
        check_parts(recipe(), folder)


def test_a_module_of_another_version_is_named(folder: Path) -> None:
    write(folder, MODULE + '__version__ = "1.2"\n')
    keep_parts(recipe(), folder)
    stated = json.loads((folder / "parts.json").read_text())
    stated["edited_models"]["version"] = "1.1"
    (folder / "parts.json").write_text(json.dumps(stated))
    with pytest.raises(CheckpointError, match=r"\(version 1.1, now 1.2\)"):
        check_parts(recipe(), folder)
