"""A process that trains, stops after its first epoch to say so, and goes on when it is told to."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from after_epoch import AfterEpoch
from hdlif.cli import ablation_queue
from hdlif.cli.ablate import ablate
from hdlif.cli.training_run import TrainingOptions, train_in_one_process
from hdlif.recipe import Recipe
from hdlif.recipe.runs.summary import TrainResult
from hdlif.training.tasks import Evaluation
from trainings import train

RECIPE = "digits_hdlif"
OVERRIDES = ["model.width=4", "model.blocks=[1]", "training.epochs=2", "data.batch_size=128", "data.train=256"]


def wait(epoch: int, result: Evaluation) -> None:
    if epoch == 1:
        print("training", flush=True)
        sys.stdin.readline()


def waiting(*targets: Any, **options: Any) -> TrainResult | None:
    return train(*targets, **options, callbacks=[AfterEpoch(wait)])


def waiting_cell(recipe: Recipe, out: Path, options: TrainingOptions) -> TrainResult:
    return train_in_one_process(recipe, out, replace(options, callbacks=[AfterEpoch(wait)]))


def main(table: str, out: Path) -> None:
    if table:
        ablation_queue.train_in_one_process = waiting_cell
        ablate(table, out=out)
    else:
        waiting(RECIPE, overrides=OVERRIDES, out=out, memory_repeats=0)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
