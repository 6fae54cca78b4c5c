"""Public sets of series: spiking networks beside a GRU of as many parameters, and a forest on hand-made features.

    python benchmarks/series_table.py [--data-root DIR] [--sets hapt,vowels] [--seeds 42,43,44] [--out FILE]
    python benchmarks/series_table.py --show FILE

The sets are those of `hdlif data get`. A row is a recipe, or a peer of the set's first recipe: on the same samples of
the same parts, normalised alike, in one thread.

GRU: torch.nn.GRU of one layer and a linear head, of the hidden size that comes next to the recipe's number of
    parameters; mean of the logits over the steps, cross-entropy, AdamW, as many epochs of as many batches, the recipe's
    learning rate with a cosine; tested as it was in its best epoch on the validation part, as recipes are.
random forest: scikit-learn's, 300 trees. Features of each channel, and of the length of acceleration and of rotation
    where there are six: mean, deviation, least, most, quartiles, deviation and mean size of the differences from one
    step to the next, and the first 16 magnitudes of the Fourier transform. It needs no validation, and is fitted on
    both parts.

accuracy: of the test part; mean ± standard deviation (n - 1) over seeds. CPU seconds: of this process, for a training
with its validations (recipes: the whole command, without measuring memory). stored: of a recipe the deployed form, of
the GRU 4 bytes a parameter, of the forest its pickle; parameters of the forest are its nodes.

Every cell is written to --out when it is there, and one that is there is not run again.
"""

import argparse
import json
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor, nn

from hdlif import builders
from hdlif.commands.train import in_one_process, train
from hdlif.config import load_recipe
from hdlif.data import ImageSets, Samples, batches
from hdlif.runs.files import write_json
from hdlif.runs.provenance import hardware, versions

ROWS: Mapping[str, tuple[str, ...]] = {
    "hapt": ("hapt_hdlif", "hapt_hdlif_random_step", "hapt_lif", "hapt_dense_hdlif", "hapt_lif_random_step"),
    "voices": ("voices_hdlif", "voices_hdlif_random_step", "voices_lif"),
    "vowels": ("vowels_hdlif", "vowels_lif", "vowels_hdlif_random_step", "vowels_lif_random_step"),
}
PEERS = ("GRU", "random forest")
TREES, MAGNITUDES = 300, 16

Cell = dict[str, Any]


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
        "accuracy": summary.accuracy,
        "parameters": parameters,
        "cpu_seconds": seconds,
        "stored_kb": 1000 * (summary.stored_mb or 0),
    }


def sets_of(name: str, root: Path) -> tuple[Any, ImageSets]:
    recipe, found = builders.with_data_found(load_recipe(name), root)
    return recipe, builders.build_data(recipe, root, workers=0, found=found)


class Gru(nn.Module):
    """Steps [T, B, C] to the mean of their logits [B, classes]."""

    def __init__(self, channels: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.layer, self.head = nn.GRU(channels, hidden), nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layer(x)[0]).mean(0)
        return logits


def hidden_for(parameters: int, channels: int, classes: int) -> int:
    """The size whose GRU and head have the number of parameters that is nearest."""
    return min(
        range(1, 1000),
        key=lambda n: abs(3 * n * (channels + n + 2) + classes * (n + 1) - parameters),
    )


def steps_of(part: Samples, indices: Tensor) -> tuple[Tensor, Tensor]:
    x, y = part.sequence(indices)
    return x.flatten(2), y


def of_gru(name: str, seed: int, root: Path, parameters: int) -> Cell:
    recipe, sets = sets_of(name, root)
    channels, classes = sets.shape[0], len(sets.classes)
    torch.manual_seed(seed)
    model = Gru(channels, hidden_for(parameters, channels, classes), classes)
    count = sum(one.numel() for one in model.parameters())
    training, size = recipe.training, recipe.data.batch_size
    optimizer = torch.optim.AdamW(model.parameters(), training.learning_rate, weight_decay=training.weight_decay)
    total = training.epochs * (len(sets.train) // size)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    best, kept = -1.0, deepcopy(model.state_dict())
    begin = time.process_time()
    for epoch in range(training.epochs):
        sets.train.set_epoch(epoch)
        for indices in batches(len(sets.train), batch_size=size, seed=seed, epoch=epoch, drop_last=True):
            x, y = steps_of(sets.train, indices)
            nn.functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
            cosine.step()
        if (found := right(model, sets.validation)) > best:
            best, kept = found, deepcopy(model.state_dict())
    seconds = time.process_time() - begin
    model.load_state_dict(kept)
    return {
        "accuracy": right(model, sets.test),
        "parameters": count,
        "cpu_seconds": seconds,
        "stored_kb": count * 4 / 1000,
    }


@torch.no_grad()
def right(model: nn.Module, part: Samples) -> float:
    hits = 0
    for indices in torch.arange(len(part)).split(500):
        x, y = steps_of(part, indices)
        hits += int((model(x).argmax(1) == y).sum())
    return hits / len(part)


def features(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of series [N, T, C]: [N, features]."""
    if x.shape[2] == 6:
        lengths = [np.linalg.norm(part, axis=2, keepdims=True) for part in (x[..., :3], x[..., 3:])]
        x = np.concatenate([x, *lengths], 2)
    change = np.diff(x, axis=1)
    spectrum = np.abs(np.fft.rfft(x - x.mean(1, keepdims=True), axis=1))[:, 1 : MAGNITUDES + 1]
    quartiles = np.percentile(x, [25, 50, 75], axis=1)
    parts = [x.mean(1), x.std(1), x.min(1), x.max(1), *quartiles, change.std(1), np.abs(change).mean(1)]
    return np.concatenate([*parts, spectrum.reshape(len(x), -1)], 1)


def of_forest(name: str, seed: int, root: Path) -> Cell:
    _, sets = sets_of(name, root)

    def read(part: Samples) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        x, y = steps_of(part.plain(), torch.arange(len(part)))
        # In the units of the sensors, for lengths of vectors.
        raw = x.numpy().astype(np.float64) * np.array(sets.std) + np.array(sets.mean)
        return features(raw.transpose(1, 0, 2)), y.numpy()

    (train_x, train_y), (more_x, more_y), (test_x, test_y) = map(read, sets.parts)
    begin = time.process_time()
    forest = RandomForestClassifier(TREES, random_state=seed, n_jobs=1)
    forest.fit(np.concatenate([train_x, more_x]), np.concatenate([train_y, more_y]))
    seconds = time.process_time() - begin
    return {
        "accuracy": forest.score(test_x, test_y),
        "parameters": sum(tree.tree_.node_count for tree in forest.estimators_),
        "cpu_seconds": seconds,
        "stored_kb": len(pickle.dumps(forest)) / 1000,
    }


def makers(chosen: str, root: Path, record: dict[str, Any]) -> dict[str, Callable[[int], Cell]]:
    first = ROWS[chosen][0]

    def gru(seed: int) -> Cell:
        return of_gru(first, seed, root, next(iter(record["cells"][chosen][first].values()))["parameters"])

    def recipe(name: str) -> Callable[[int], Cell]:
        return lambda seed: of_recipe(name, seed, root)

    # The peers right behind the recipe that gives the GRU its size.
    peers = {"GRU": gru, "random forest": lambda seed: of_forest(first, seed, root)}
    return {first: recipe(first), **peers, **{name: recipe(name) for name in ROWS[chosen][1:]}}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    record: dict[str, Any] = {"hardware": hardware(), "versions": versions(), "cells": {}}
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
                    write_json(arguments.out, record)
    return record


def table(record: dict[str, Any], chosen: str) -> str:
    """In Markdown."""
    rows = []
    cells = record["cells"][chosen]
    for name in (one for one in (*ROWS[chosen], *PEERS) if cells.get(one)):
        seeds = cells[name]
        column = {key: [cell[key] for cell in seeds.values()] for key in next(iter(seeds.values()))}
        accuracy = [100 * value for value in column["accuracy"]]
        spread = f" ± {statistics.stdev(accuracy):.1f}" if len(accuracy) > 1 else ""
        rows.append(
            [
                name,
                f"{statistics.mean(accuracy):.1f}{spread}",
                f"{round(statistics.mean(column['parameters'])):,}",
                f"{statistics.mean(column['cpu_seconds']):.0f}",
                f"{statistics.mean(column['stored_kb']):,.0f}",
            ]
        )
    head = [chosen, "accuracy %", "parameters", "CPU s", "stored kB"]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path())
    parser.add_argument("--sets", default=",".join(ROWS))
    parser.add_argument("--seeds", default="42,43,44")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--show", type=Path, help="print the tables of a record, and measure nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    record = json.loads(arguments.show.read_text()) if arguments.show else measure(arguments)
    print("\n\n".join(table(record, chosen) for chosen in record["cells"]))


if __name__ == "__main__":
    main()
