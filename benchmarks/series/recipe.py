"""A recipe, trained and measured by its command."""

import tempfile
import time
from pathlib import Path

from hdlif.commands.train import in_one_process, train
from hdlif.recipe import builders, load_recipe
from series.cells import Cell


def of_recipe(name: str, seed: int, root: Path) -> Cell:
    with tempfile.TemporaryDirectory() as folder:
        begin = time.process_time()
        trained = train(
            name, overrides=[f"seed={seed}"], data_root=root, out=Path(folder), memory_repeats=0, threads=1, workers=0
        )
        seconds, summary = time.process_time() - begin, in_one_process(trained)
        recipe, _ = builders.with_data_found(load_recipe(name), root)
        parameters = sum(one.numel() for one in builders.build_model(recipe).parameters())
    return {
        "metrics": summary.metrics or {"accuracy": summary.accuracy},
        "parameters": parameters,
        "cpu_seconds": seconds,
        "stored_kb": 1000 * (summary.stored_mb or 0),
    }
