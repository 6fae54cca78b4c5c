"""A random forest on hand-made features of whole series, which classifies them."""

import pickle
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from hdlif.data import Samples
from series.cells import Cell, sets_of, steps_of

TREES, MAGNITUDES = 300, 16


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
        "metrics": {"accuracy": forest.score(test_x, test_y)},
        "parameters": sum(tree.tree_.node_count for tree in forest.estimators_),
        "cpu_seconds": seconds,
        "stored_kb": len(pickle.dumps(forest)) / 1000,
    }
