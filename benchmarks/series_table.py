"""Series: spiking networks beside a GRU of as many parameters, a forest on hand-made features, and the last value.

    python benchmarks/series_table.py [--data-root DIR] [--sets hapt,vowels] [--seeds 42,43,44] [--out FILE]
    python benchmarks/series_table.py --show FILE

Public sets are those of `hdlif data get`; others are made, or bundled. A row is a recipe, or a peer of the set's first
recipe: on the same samples of the same parts, normalised alike, in one thread.

GRU: torch.nn.GRU of one layer and a linear head at each step, of the hidden size that comes next to the recipe's number
    of parameters; the recipe's task (what is learned, at which steps, by which loss, and what is measured), AdamW, as
    many epochs of as many batches, the recipe's learning rate with a cosine; tested as it was in its best epoch on the
    validation part, as recipes are.
GRU behind its front: the same, which sees what the first layer of the recipe's network sees: changes of channels, and
    companded ones.
random forest: scikit-learn's, 300 trees. Features of each channel, and of the length of acceleration and of rotation
    where there are six: mean, deviation, least, most, quartiles, deviation and mean size of the differences from one
    step to the next, and the first 16 magnitudes of the Fourier transform. It needs no validation, and is fitted on
    both parts.
persistence: of forecasts, what was last seen for what comes.

accuracy, rmse, ...: what the task measures first, of the test part; mean ± standard deviation (n - 1) over seeds. CPU
seconds: of this process, for a training with its validations (recipes: the whole command, without measuring memory).
stored: of a recipe the deployed form, of the GRU 4 bytes a parameter, of the forest its pickle, whose parameters are
nodes.

Every cell is written to --out when it is there, and one that is there is not run again.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from recorded import write_record
from series import Cell, of_forest, of_gru, of_persistence, of_recipe


@dataclass(frozen=True)
class Table:
    """The rows of a set of data.

    Attributes:
        recipes: the first one gives the peers their data, their task, and the GRU its size.
        peers: beside the GRU, "GRU behind its front", "random forest" or "persistence".
        metric: what is shown.
    """

    recipes: tuple[str, ...]
    peers: tuple[str, ...] = ()
    metric: str = "accuracy"


_FOREST, _PERSISTENCE = ("random forest",), ("persistence",)
TABLES: Mapping[str, Table] = {
    "hapt": Table(
        ("hapt_hdlif", "hapt_hdlif_random_step", "hapt_lif", "hapt_dense_hdlif", "hapt_lif_random_step"), _FOREST
    ),
    "hapt_companded": Table(("hapt_hdlif_companded", "hapt_hdlif_companded_w1p5_s4"), ("GRU behind its front",)),
    "voices": Table(("voices_hdlif", "voices_hdlif_random_step", "voices_lif"), _FOREST),
    "vowels": Table(("vowels_hdlif", "vowels_lif", "vowels_hdlif_random_step", "vowels_lif_random_step"), _FOREST),
    "delayed_xor": Table(("delayed_xor_hdlif",)),
    "copy": Table(("copy_hdlif", "copy_resonate_hdlif")),
    "mackey_glass": Table(("mackey_glass_hdlif",), _PERSISTENCE, "rmse"),
    "hapt_next": Table(("hapt_next_hdlif",), _PERSISTENCE, "rmse"),
    "digits_pixels": Table(("digits_pixels_hdlif", "digits_pixels_resonate_hdlif")),
    "fashion_mnist_pixels": Table(("fashion_mnist_pixels_hdlif",)),
}


def makers(chosen: str, root: Path, record: dict[str, Any]) -> dict[str, Callable[[int], Cell]]:
    """By the name of a row, what makes its cell from a seed."""
    first, *others = TABLES[chosen].recipes

    def gru(seed: int) -> Cell:
        return of_gru(first, seed, root, next(iter(record["cells"][chosen][first].values()))["parameters"])

    def recipe(name: str) -> Callable[[int], Cell]:
        return lambda seed: of_recipe(name, seed, root)

    def gru_behind_its_front(seed: int) -> Cell:
        parameters = next(iter(record["cells"][chosen][first].values()))["parameters"]
        return of_gru(first, seed, root, parameters, with_front=True)

    peers: dict[str, Callable[[int], Cell]] = {
        "GRU behind its front": gru_behind_its_front,
        "random forest": lambda seed: of_forest(first, seed, root),
        "persistence": lambda seed: of_persistence(first, seed, root),
    }
    # The GRU right behind the recipe that gives it its size.
    return {
        first: recipe(first),
        "GRU": gru,
        **{name: peers[name] for name in TABLES[chosen].peers},
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


def shown(cells: list[Cell], metric: str) -> str:
    """A figure over seeds: a fraction in per cent, an error to 4 digits."""
    figures = [cell["metrics"][metric] if "metrics" in cell else cell[metric] for cell in cells]
    mean, spread = statistics.mean(figures), statistics.stdev(figures) if len(figures) > 1 else None
    if metric == "accuracy":
        return f"{100 * mean:.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")
    return f"{mean:.4f}" + ("" if spread is None else f" ± {spread:.4f}")


COUNTED = ("parameters", "cpu_seconds", "stored_kb")


def table(record: dict[str, Any], chosen: str) -> str:
    """In Markdown."""
    asked, cells = TABLES[chosen], record["cells"][chosen]
    rows = []
    for name in (one for one in (*asked.recipes, "GRU", *asked.peers) if cells.get(one)):
        of_name = list(cells[name].values())
        mean = {key: statistics.mean(cell[key] for cell in of_name) for key in COUNTED}
        rows.append(
            [
                name,
                shown(of_name, asked.metric),
                f"{round(mean['parameters']):,}",
                f"{mean['cpu_seconds']:.0f}",
                f"{mean['stored_kb']:,.0f}",
            ]
        )
    head = [chosen, "accuracy %" if asked.metric == "accuracy" else asked.metric, "parameters", "CPU s", "stored kB"]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path())
    parser.add_argument("--sets", default=",".join(TABLES))
    parser.add_argument("--seeds", default="42,43,44")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--show", type=Path, help="print the tables of a record, and measure nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    record = json.loads(arguments.show.read_text()) if arguments.show else measure(arguments)
    print("\n\n".join(table(record, chosen) for chosen in record["cells"]))


if __name__ == "__main__":
    main()
