"""A damaged newest checkpoint: the run goes on from the one before, says so, and ends as if nothing had happened."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hdlif.errors import CheckpointError
from hdlif.learning import StochasticStep
from hdlif.training import checkpoint, progress_bar
from training.test_loop import CrashError, crash, events, model_bytes, scalars
from training.tiny import BATCHES, EPOCHS, At, train


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nothing interrupted."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("straight")
    train(out)
    return out


def stop(out: Path, batch: int = 15) -> Path:
    """A training stopped before its batch `batch`, which last.safetensors has done, and previous.safetensors not."""
    with pytest.raises(CrashError):
        train(out, rule=At(batch, crash, StochasticStep()), checkpoint_every=0)
    assert step_of(out / "last.safetensors") == batch
    assert step_of(out / "previous.safetensors") < batch
    return out


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


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
@pytest.mark.parametrize("batch", [15, 21])
def test_run_goes_on_from_the_one_before_and_ends_with_the_same_bytes(
    straight: Path, tmp_path: Path, damage: Callable[[Path], None], batch: int
) -> None:
    stop(tmp_path, batch)
    damage(tmp_path / "last.safetensors")
    train(tmp_path, resume=True)
    assert model_bytes(tmp_path) == model_bytes(straight)
    assert without_fallback(tmp_path) == events(straight)
    assert scalars(tmp_path, "train/loss") == scalars(straight, "train/loss")


@pytest.mark.parametrize(
    ("damage", "fault"), [(cut, "is not a whole safetensors file"), (flip, "its digest is not that of its content")]
)
def test_fallback_is_told_on_standard_error_and_among_the_metrics(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], fault: str
) -> None:
    stop(tmp_path)
    damage(tmp_path / "last.safetensors")
    with progress_bar(enabled=False) as bar:
        train(tmp_path, resume=True, progress=bar)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert fault in printed.err
    assert f"going on from {tmp_path / 'previous.safetensors'}, step 14" in printed.err
    (found,) = [event for event in events(tmp_path) if event["event"] == "fallback"]
    assert (found["epoch"], found["step"]) == (2, 14)
    assert fault in str(found["damage"])


def test_undamaged_run_tells_of_no_fallback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(stop(tmp_path), resume=True)
    assert without_fallback(tmp_path) == events(tmp_path)
    assert "warning" not in capsys.readouterr().err


def test_damaged_file_never_takes_the_place_of_the_whole_one(tmp_path: Path) -> None:
    stop(tmp_path)
    cut(tmp_path / "last.safetensors")
    # Ends just after its first checkpoint, which has moved what was last.
    with pytest.raises(CrashError):
        train(tmp_path, resume=True, rule=At(0, crash, StochasticStep()), checkpoint_every=0)
    assert step_of(tmp_path / "last.safetensors") == step_of(tmp_path / "previous.safetensors") == 14
    with pytest.raises(CheckpointError):
        checkpoint.load(tmp_path / "damaged.safetensors")


def test_finished_training_with_a_damaged_last_file_ends_the_same_again(straight: Path, tmp_path: Path) -> None:
    first = train(tmp_path)
    flip(tmp_path / "last.safetensors")
    assert step_of(tmp_path / "previous.safetensors") == (EPOCHS - 1) * BATCHES
    again = train(tmp_path, resume=True)
    assert (again.best_epoch, again.per_step) == (first.best_epoch, first.per_step)
    assert model_bytes(tmp_path) == model_bytes(straight)
    assert without_fallback(tmp_path) == events(straight)


def test_two_damaged_files_are_refused_and_both_named(tmp_path: Path) -> None:
    stop(tmp_path)
    cut(tmp_path / "last.safetensors")
    flip(tmp_path / "previous.safetensors")
    with pytest.raises(CheckpointError, match=r"last\.safetensors: is not a whole.*previous\.safetensors: its digest"):
        train(tmp_path, resume=True)


def test_first_checkpoint_alone_is_refused_when_damaged(tmp_path: Path) -> None:
    with pytest.raises(CrashError):
        train(tmp_path, rule=At(0, crash, StochasticStep()), checkpoint_every=0)
    cut(tmp_path / "last.safetensors")
    with pytest.raises(CheckpointError, match=r"last\.safetensors: is not a whole"):
        train(tmp_path, resume=True)


def test_training_anew_takes_nothing_of_an_earlier_one(straight: Path, tmp_path: Path) -> None:
    stop(tmp_path)
    cut(tmp_path / "last.safetensors")
    train(tmp_path, epochs=1, resume=True, record={"seed": 7, "training": {"epochs": EPOCHS}})
    train(tmp_path)
    assert model_bytes(tmp_path) == model_bytes(straight)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in straight.iterdir()}
