"""Time series: spiking networks compared with a GRU of as many parameters and a forest on hand-made features.

    python benchmarks/series_table.py [--data-root DIR] [--sets hapt,vowels] [--seeds 42,43,44] [--out FILE]

The sets are those of `hdlif data get`. A row is a recipe, or a peer of the set's first recipe: on the same samples of
the same parts, normalised alike, in one thread.

GRU: torch.nn.GRU of one layer and a linear head at each step, of the hidden size that comes next to the recipe's number
    of parameters; the recipe's task (what is learned, at which steps, by which loss, and what is measured), AdamW, as
    many epochs of as many batches, the recipe's learning rate with a cosine; tested as it was in its best epoch on the
    validation part, as recipes are.
random forest: scikit-learn's, 300 trees. Features of each channel, and of the length of acceleration and of rotation
    where there are six: mean, deviation, least, most, quartiles, deviation and mean size of the differences from one
    step to the next, and the first 16 magnitudes of the Fourier transform. It needs no validation, and is fitted on
    both parts.

accuracy: of the test part; mean ± standard deviation (n - 1) over seeds.
CPU seconds: of this process, for a training with its validations (recipes: the whole command, without measuring
    memory).
stored: of a recipe the deployed form, of the GRU 4 bytes a parameter, of the forest its pickle, whose parameters are
    nodes.

Every cell is written to --out when it is there, and one that is there is not run again.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from figures.tables.series import beside_peers
from recorded import write_record
from series import Cell, of_forest, of_gru, of_recipe

RECIPES: Mapping[str, tuple[str, ...]] = {
    "hapt": ("hapt_hdlif", "hapt_hdlif_random_step", "hapt_lif", "hapt_dense_hdlif", "hapt_lif_random_step"),
    "voices": ("voices_hdlif", "voices_hdlif_random_step", "voices_lif"),
    "vowels": ("vowels_hdlif", "vowels_lif", "vowels_hdlif_random_step", "vowels_lif_random_step"),
}
"""By set; the first recipe gives the peers their data and their task, and the GRU its size."""


def makers(chosen: str, root: Path, record: dict[str, Any]) -> dict[str, Callable[[int], Cell]]:
    """Return by the name of a row the function that makes its cell from a seed."""
    first, *others = RECIPES[chosen]

    def gru(seed: int) -> Cell:
        return of_gru(first, seed, root, next(iter(record["cells"][chosen][first].values()))["parameters"])

    def recipe(name: str) -> Callable[[int], Cell]:
        return lambda seed: of_recipe(name, seed, root)

    # The GRU right after the recipe that gives it its size.
    return {
        first: recipe(first),
        "GRU": gru,
        "random forest": lambda seed: of_forest(first, seed, root),
        **{name: recipe(name) for name in others},
    }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    record: dict[str, Any] = {"cells": {}}
    if arguments.out and arguments.out.exists():
        record = json.loads(arguments.out.read_text())
    for chosen in arguments.sets.split(","):
        cells = record["cells"].setdefault(chosen, {})
        for seed in map(int, arguments.seeds.split(",")):
            for row, make in makers(chosen, arguments.data_root, record).items():
                if str(seed) in cells.setdefault(row, {}):
                    continue
                cells[row][str(seed)] = make(seed)
                if arguments.out:
                    write_record(arguments.out, record, seeds=[int(one) for one in arguments.seeds.split(",")])
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path())
    parser.add_argument("--sets", default=",".join(RECIPES))
    parser.add_argument("--seeds", default="42,43,44")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    record = measure(arguments)
    print("\n\n".join(beside_peers(record, chosen) for chosen in record["cells"]))


if __name__ == "__main__":
    main()
