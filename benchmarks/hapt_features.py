"""How far hand-made features go on `hapt`: the windows and the division of `hdlif data get hapt`, 12 classes.

    python benchmarks/hapt_features.py [--data-root DIR] [--out FILE]

Signals: acceleration below 0.3 Hz (gravity, third-order Butterworth, both ways) and the rest (body), the rotation, the
differences of body and rotation from sample to sample, and the lengths of all but gravity. Features of each: mean,
deviation, median distance from the median, most, least, mean square, distance of the quartiles, the logarithms of the
deviation and of that distance, 16 magnitudes of the Fourier transform, the logarithms of its energy in octaves, and the
correlation from sample to sample; the angles of gravity, the difference of the means of both halves, and the
correlations between axes. Fitted on the people of `train`, all of them; tested on those of `test`.

discriminant: the linear one of scikit-learn, its covariance shrunk by 0.1; it and the support vectors on features of
mean 0 and deviation 1. Forests: 300 trees, seeds 42, 43, 44.
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, filtfilt
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from hdlif.report.tables import aligned
from recorded import write_record

RATE = 50
SEEDS = (42, 43, 44)
POSTURES = ("sitting", "standing")
BASIC = ("lying", *POSTURES, "walking", "walking downstairs", "walking upstairs")
Floats = NDArray[np.float64]


def features(x: Floats) -> Floats:
    """Of windows [N, T, 6]: [N, features]."""
    low = butter(3, 0.3 / (RATE / 2))
    gravity = filtfilt(*low, x[..., :3], axis=1)
    body, turn = x[..., :3] - gravity, x[..., 3:]
    moved = [body, turn, np.diff(body, axis=1) * RATE, np.diff(turn, axis=1) * RATE]
    lengths = [np.linalg.norm(signal, axis=2, keepdims=True) for signal in moved]
    made = [part for signal in (gravity, *moved, *lengths) for part in of_signal(signal)]
    mean = gravity.mean(1)
    made.append(np.arccos((mean / np.linalg.norm(mean, axis=1, keepdims=True)).clip(-1, 1)))
    half = x.shape[1] // 2
    made.append(x[:, half:].mean(1) - x[:, :half].mean(1))
    for i, j in ((0, 1), (0, 2), (1, 2)):
        for signal in (body, turn):
            a, b = signal[..., i], signal[..., j]
            made.append(((a * b).mean(1) / (a.std(1) * b.std(1) + 1e-9))[:, None])
    return np.concatenate(made, 1)


def of_signal(s: Floats) -> list[Floats]:
    middle, (low, high) = np.median(s, 1, keepdims=True), np.percentile(s, [25, 75], axis=1)
    magnitudes = np.abs(np.fft.rfft(s - s.mean(1, keepdims=True), axis=1))[:, 1:]
    octaves = np.add.reduceat(magnitudes**2, [0, 2, 4, 8, 16, 32], axis=1)
    square = (s**2).mean(1)
    return [
        s.mean(1),
        s.std(1),
        np.log(s.std(1) + 1e-5),
        np.median(np.abs(s - middle), 1),
        s.max(1),
        s.min(1),
        square,
        high - low,
        np.log(high - low + 1e-5),
        magnitudes[:, :16].reshape(len(s), -1),
        np.log(octaves + 1e-8).reshape(len(s), -1),
        (s[:, 1:] * s[:, :-1]).mean(1) / (square + 1e-9),
    ]


def judged(model: Any, x: Floats, y: NDArray[np.str_], is_train: NDArray[np.bool_]) -> dict[str, float]:
    model.fit(x[is_train], y[is_train])
    seen, right = model.predict(x[~is_train]), y[~is_train]
    basic = np.isin(right, BASIC)
    wrong = seen != right
    return {
        "accuracy": float(1 - wrong.mean()),
        "accuracy_of_basic": float(1 - wrong[basic].mean()),
        "sitting_or_standing_for_the_other": int((wrong & np.isin(right, POSTURES) & np.isin(seen, POSTURES)).sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path())
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    x, y, part = (np.load(arguments.data_root / "hapt" / f"{name}.npy") for name in ("x", "y", "part"))
    made, is_train = features(x.astype(np.float64)), part == "train"
    models: dict[str, list[Any]] = {
        "random forest": [RandomForestClassifier(300, random_state=seed, n_jobs=1) for seed in SEEDS],
        "extra trees": [ExtraTreesClassifier(300, random_state=seed, n_jobs=1) for seed in SEEDS],
        "discriminant": [make_pipeline(StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1))],
        "support vectors, linear": [make_pipeline(StandardScaler(), SVC(C=0.02, kernel="linear"))],
        "support vectors, Gaussian": [make_pipeline(StandardScaler(), SVC(C=10, gamma=0.0005))],
    }
    found = {name: [judged(one, made, y, is_train) for one in each] for name, each in models.items()}
    rows = []
    for name, runs in found.items():
        accuracies = [100 * run["accuracy"] for run in runs]
        spread = f" ± {statistics.stdev(accuracies):.1f}" if len(runs) > 1 else ""
        basic = statistics.mean(100 * run["accuracy_of_basic"] for run in runs)
        confused = statistics.mean(run["sitting_or_standing_for_the_other"] for run in runs)
        rows.append([name, f"{statistics.mean(accuracies):.1f}{spread}", f"{basic:.1f}", f"{confused:.0f}"])
    print(aligned(["", "accuracy %", "of the six activities %", "sitting for standing and back"], rows))
    if arguments.out:
        record = {"features": made.shape[1], "tested": int((~is_train).sum()), "models": found}
        write_record(arguments.out, record, seeds=SEEDS)


if __name__ == "__main__":
    main()
