"""A damaged newest checkpoint: the run goes on from the one before, says so, and ends as if nothing had happened."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hdlif.errors import CheckpointError
from hdlif.training import checkpoint, progress_bar
from training.test_loop import scalars
from training.tiny import EPOCHS, events, model_bytes, stop, train


def step_of(path: Path) -> int:
    step: int = checkpoint.load(path)[1]["counters"]["step"]
    return step


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def without_fallback(out: Path) -> list[dict[str, object]]:
    return [event for event in events(out) if event["event"] != "fallback"]


@pytest.mark.parametrize(("damage", "batch"), [(cut, 15), (Path.unlink, 15), (flip, 21)])
def test_run_goes_on_from_the_one_before_and_ends_with_the_same_bytes(
    straight: Path, tmp_path: Path, damage: Callable[[Path], None], batch: int
) -> None:
    stop(tmp_path, batch)
    assert step_of(tmp_path / "last.safetensors") == batch
    damage(tmp_path / "last.safetensors")
    train(tmp_path, resume=True)
    assert model_bytes(tmp_path) == model_bytes(straight)
    assert without_fallback(tmp_path) == events(straight)
    assert scalars(tmp_path, "train/loss") == scalars(straight, "train/loss")


def test_fallback_is_told_on_standard_error_and_among_the_metrics(
    stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(stopped / "last.safetensors")
    fault = "its digest is not that of its content"
    with progress_bar(enabled=False) as bar:
        train(stopped, resume=True, progress=bar)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert fault in printed.err
    assert f"going on from {stopped / 'previous.safetensors'}, step 14" in printed.err
    (found,) = [event for event in events(stopped) if event["event"] == "fallback"]
    assert (found["epoch"], found["step"]) == (2, 14)
    assert fault in str(found["damage"])


def test_damaged_file_never_takes_the_place_of_the_whole_one(stopped: Path) -> None:
    cut(stopped / "last.safetensors")
    # Ends just after its first checkpoint, which has moved what was last.
    stop(stopped, 0, resume=True)
    assert step_of(stopped / "last.safetensors") == step_of(stopped / "previous.safetensors") == 14
    with pytest.raises(CheckpointError):
        checkpoint.load(stopped / "damaged.safetensors")


def test_two_damaged_files_are_refused_and_both_named(stopped: Path) -> None:
    cut(stopped / "last.safetensors")
    flip(stopped / "previous.safetensors")
    with pytest.raises(CheckpointError, match=r"last\.safetensors: is not a whole.*previous\.safetensors: its digest"):
        train(stopped, resume=True)
    (stopped / "previous.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"last\.safetensors: is not a whole"):
        train(stopped, resume=True)


def test_training_anew_takes_nothing_of_an_earlier_one(straight: Path, stopped: Path) -> None:
    cut(stopped / "last.safetensors")
    train(stopped, epochs=1, resume=True, record={"seed": 7, "training": {"epochs": EPOCHS}})
    train(stopped)
    assert model_bytes(stopped) == model_bytes(straight)
    assert {path.name for path in stopped.iterdir()} == {path.name for path in straight.iterdir()}
