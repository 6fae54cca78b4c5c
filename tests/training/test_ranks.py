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
    FEW,
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
)

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
    """The events of a run without its times, floats to ten digits."""
    events = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [
        {key: round(v, 10) if isinstance(v, float) else v for key, v in event.items() if key != "seconds"}
        for event in events
    ]


def stop_alone(folder: Path) -> None:
    """One process begins what several ranks go on with."""
    stop(one_process(), folder / "stopped alone")
    assert steps(folder / "stopped alone") == STOPPED


def agree_on_files(folder: Path) -> None:
    train(one_process(), folder / "alone")
    expected = weights(folder / "alone")
    assert_close(weights(folder / "straight"), expected)
    assert numbers(folder / "straight") == numbers(folder / "alone")
    # What several ranks began goes on in one process.
    assert steps(folder / "stopped") == STOPPED
    train(one_process(), folder / "stopped", resume=True)
    assert_close(weights(folder / "stopped"), expected)
    assert numbers(folder / "stopped") == numbers(folder / "alone")
    # And the other way round.
    assert_close(weights(folder / "stopped alone"), expected)
    assert numbers(folder / "stopped alone") == numbers(folder / "alone")
    train(one_process(), folder / "extras alone", config=EXTRAS)
    assert_close(weights(folder / "extras"), weights(folder / "extras alone"))
    assert numbers(folder / "extras") == numbers(folder / "extras alone")


@pytest.mark.alone
@pytest.mark.slow
def test_two_ranks_learn_as_one_process_and_stop_and_fail_as_one(tmp_path: Path) -> None:
    stop_alone(tmp_path)
    on_ranks(2, tmp_path, partial(learn, cases=FEW), *TRAININGS, fail_together)
    agree(2, tmp_path, FEW)
    agree_on_files(tmp_path)


@pytest.mark.alone
@pytest.mark.slow
def test_four_ranks_learn_as_one_process_whatever_the_rule_the_penalty_and_the_neuron(tmp_path: Path) -> None:
    stop_alone(tmp_path)
    on_ranks(4, tmp_path, partial(learn, cases=ALL), *TRAININGS, fail_together)
    agree(4, tmp_path, ALL)
    agree_on_files(tmp_path)


def test_batches_that_cannot_be_shared_equally_are_refused() -> None:
    for batch_size, ranks, paired, fix in (
        (50, 4, False, "set a multiple of 4, such as 48"),
        (3, 8, False, "set a multiple of 8, such as 8"),
        (12, 4, True, "set a multiple of 8, such as 16"),
    ):
        with pytest.raises(RecipeError, match=fix):
            check_share(batch_size, ranks, paired=paired)
    check_share(48, 4)
    check_share(16, 4, paired=True)


THIRD = Accelerator("cpu", rank=2, world_size=4)


def test_shares_are_contiguous_and_a_small_last_batch_goes_with_the_one_before() -> None:
    ranks = Ranks(THIRD)
    batches = list(torch.arange(18).split(8))
    assert [share.tolist() for share in ranks.shares(batches)] == [[4, 5], [14, 15]]
    assert ranks.shares([]) == []
    with pytest.raises(DataError, match="3 samples cannot be shared by 4 ranks"):
        ranks.shares([torch.arange(3)])


def test_every_rank_has_noise_of_its_own() -> None:
    assert Ranks(one_process()).seed_name("noise") == "noise"
    assert Ranks(THIRD).seed_name("noise") == "noise of rank 2"
