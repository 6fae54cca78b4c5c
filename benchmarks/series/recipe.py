"""A recipe, trained and measured by its command."""

import tempfile
import time
from pathlib import Path

from hdlif.cli.training_run import TrainingOptions, train_in_one_process
from hdlif.recipe import builders, load_recipe
from series.cells import Cell


def of_recipe(name: str, seed: int, root: Path) -> Cell:
    with tempfile.TemporaryDirectory() as folder:
        begin = time.process_time()
        options = TrainingOptions(data_root=root, memory_repeats=0, threads=1, workers=0)
        summary = train_in_one_process(load_recipe(name, [f"seed={seed}"]), Path(folder), options)
        seconds = time.process_time() - begin
        recipe, _ = builders.with_data_found(load_recipe(name), root)
        parameters = sum(one.numel() for one in builders.build_model(recipe).parameters())
    return {
        "metrics": summary.metrics or {"accuracy": summary.accuracy},
        "parameters": parameters,
        "cpu_seconds": seconds,
        "stored_kb": 1000 * (summary.stored_mb or 0),
    }
