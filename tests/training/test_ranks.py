"""Several ranks against one process with the same batches: gradients, weights, buffers, files."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from hdlif.errors import DataError, RecipeError
from hdlif.training import Accelerator, Ranks, check_share, checkpoint
from small_networks import assert_close
from training.several_ranks import (
    ALL,
    EXTRAS,
    STOPPED,
    Case,
    fail_together,
    go_on,
    learn,
    learned,
    on_ranks,
    stop,
    train,
    train_and_stop,
    train_with_extras,
    train_with_metrics,
)
from training.tiny import events

TRAININGS = train_and_stop, go_on, train_with_extras


def one_process() -> Accelerator:
    return Accelerator("cpu", "64-true")


def agree(count: int, folder: Path, cases: Sequence[Case]) -> None:
    """All ranks have the same bits, and they are those that one process comes to."""
    found, *others = (load_file(folder / f"rank{rank}.safetensors") for rank in range(count))
    for other in others:
        assert [name for name, tensor in found.items() if not torch.equal(other[name], tensor)] == []
    for case in cases:
        prefix = f"{case} "
        mine = {name.removeprefix(prefix): tensor for name, tensor in found.items() if name.startswith(prefix)}
        assert_close(mine, learned(one_process(), case))


def weights(out: Path) -> dict[str, Tensor]:
    return checkpoint.load(out / "model.safetensors")[0]


def steps(out: Path) -> int:
    done: int = checkpoint.load(out / "last.safetensors")[1]["counters"]["step"]
    return done


def numbers(out: Path) -> list[dict[str, object]]:
    """The events of a run, floats to ten digits."""
    return [{key: round(v, 10) if isinstance(v, float) else v for key, v in event.items()} for event in events(out)]


def stop_alone(folder: Path) -> None:
    """One process begins what several ranks go on with."""
    stop(one_process(), folder / "stopped alone")
    assert steps(folder / "stopped alone") == STOPPED


def agree_on_files(folder: Path) -> None:
    train(one_process(), folder / "alone")
    # What several ranks began goes on in one process; go_on does so the other way round.
    assert steps(folder / "stopped") == STOPPED
    train(one_process(), folder / "stopped", resume=True)
    train(one_process(), folder / "extras alone", config=EXTRAS)
    pairs = [(name, "alone") for name in ("straight", "stopped", "stopped alone")] + [("extras", "extras alone")]
    for found, expected in pairs:
        assert_close(weights(folder / found), weights(folder / expected))
        assert numbers(folder / found) == numbers(folder / expected)


def agree_on_metrics(folder: Path) -> None:
    train_with_metrics(one_process(), folder / "one")
    several, one = folder / "metrics", folder / "one" / "metrics"
    for mine, other in zip(events(several), events(one), strict=True):
        assert mine.get("metrics", {}) == pytest.approx(other.get("metrics", {}), abs=1e-6)
    best = [checkpoint.load(out / "last.safetensors")[1]["counters"]["best_epoch"] for out in (several, one)]
    assert best[0] == best[1]
    # A test set is measured by the first rank alone, where there are several.
    alone = [json.loads((out / "alone.json").read_text()) for out in (several, one)]
    assert alone[0] == pytest.approx(alone[1], abs=1e-6)


@pytest.mark.alone
@pytest.mark.slow
def test_four_ranks_learn_as_one_process_and_stop_and_fail_as_one(tmp_path: Path) -> None:
    stop_alone(tmp_path)
    on_ranks(4, tmp_path, partial(learn, cases=ALL), *TRAININGS, train_with_metrics, fail_together)
    agree(4, tmp_path, ALL)
    agree_on_files(tmp_path)
    agree_on_metrics(tmp_path)


def test_batches_that_cannot_be_shared_equally_are_refused() -> None:
    for batch_size, ranks, paired, fix in ((50, 4, False, 48), (3, 8, False, 8), (12, 4, True, 16)):
        with pytest.raises(RecipeError, match=f"such as {fix}"):
            check_share(batch_size, ranks, paired=paired)
        check_share(fix, ranks, paired=paired)


def test_shares_are_contiguous_and_noise_is_of_each_rank() -> None:
    ranks = Ranks(Accelerator("cpu", rank=2, world_size=4))
    # A small last batch goes with the one before.
    assert [share.tolist() for share in ranks.shares(list(torch.arange(18).split(8)))] == [[4, 5], [14, 15]]
    assert ranks.shares([]) == []
    with pytest.raises(DataError, match="3 samples cannot be shared by 4 ranks"):
        ranks.shares([torch.arange(3)])
    assert ranks.seed_name("noise") == "noise of rank 2"
    assert Ranks(one_process()).seed_name("noise") == "noise"
