"""New words for a network that runs: eight spoken digits are known, two are added from a few examples of each.

    OMP_NUM_THREADS=1 python benchmarks/bench_learning_words.py --data-root DIR --runs DIR [--out FILE]

DIR/spoken_digits has recordings.tar of the Free Spoken Digit Dataset: DIGIT_SPEAKER_INDEX.wav. Indices 0 to 4 test, the
set's own rule. For each of five pairs of digits a network of `arms/spoken_digits.yaml` is trained on the other eight,
in `--runs`; one that is finished is taken as it is. `with_classes` adds the pair, and the network learns from 5, 10 or
20 examples of each, drawn from the recordings for training, in batches of 4. With replay each batch also has 12 of
`KEPT` recordings of each old word. Rates, passes and batches were chosen on the first pair. Accuracies are of the
old and of the new words, both among ten classes; "before" is the old words' without new ones. Intervals are of the mean
over pairs (95 %, t distribution).
"""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench_learning import Windows, accuracy, joined, learned
from bench_learning_speakers import ARM, arguments, together
from hdlif import run_folder
from hdlif.data import Samples
from hdlif.graph.learning import Level, with_classes
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.recipe.runs.tested_data import sets_named
from hdlif.runtime.learning import LearningRate
from intervals import half_interval
from recorded import write_record

PAIRS = ("01", "23", "45", "67", "89")
EXAMPLES, KEPT = (5, 10, 20), 5
SETTINGS: dict[str, Any] = {"passes": 20, "rate": LearningRate(0.03, 0.01), "batch_size": 4, "replayed": 12}
ARMS: dict[str, tuple[Level, bool]] = {
    "classifier": ("classifier", False),
    "last-block": ("last-block", False),
    "classifier, replay": ("classifier", True),
    "last-block, replay": ("last-block", True),
}


def lay_out(source: Path, folder: Path, without: str) -> None:
    """Link the recordings as train/DIGIT and test/DIGIT, but the digits in `without`."""
    for path in source.glob("*/*.wav"):
        part = "test" if int(path.stem.rpartition("_")[2]) < 5 else "train"
        link = folder / part / path.parent.name / path.name
        if path.parent.name not in without and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.hardlink_to(path)


def by_class(samples: Samples, names: tuple[str, ...], labels: tuple[str, ...], chosen: str) -> list[Windows]:
    """Return the recordings of each chosen digit, with the numbers of the network's classes."""
    whole = together(samples.plain().sequences(64))
    found = []
    for name in chosen:
        own = whole.take(np.flatnonzero(whole.y == names.index(name)))
        found.append(Windows(own.x, np.full(len(own.y), labels.index(name))))
    return found


def measure(pair: str, runs: Path) -> dict[str, Any]:
    run, rng = runs / f"without_{pair}", np.random.default_rng(0)
    lay_out(runs / "spoken", runs / f"known_{pair}", pair)
    if not (run / run_folder.SUMMARY).exists():
        command = [sys.executable, "-m", "hdlif", "train", str(ARM), "--data-root", str(runs), "--out", str(run)]
        command += ["--set", f"data.path=known_{pair}", "--set", "data.group=null", "--set", "data.split.validation=0"]
        subprocess.run(command, check=True)
    trained = load_trained(run)
    graph = trained.graph()
    wider = with_classes(graph, list(pair))
    keys = {"split": {"validation": 0}}
    kind = {"record": graph.input, "time_steps": graph.time_steps, "task": graph.task, "keys": keys}
    sets = sets_named(str(runs / "words"), None, run, **kind)
    names, known = tuple(sets.classes), "".join(graph.labels)
    tests = {
        part: joined(by_class(sets.test, names, wider.labels, digits))
        for part, digits in (("old", known), ("new", pair))
    }
    given, kept = (by_class(sets.train, names, wider.labels, digits) for digits in (pair, known))
    draw = [rng.permutation(len(one.y)) for one in given]
    old = joined([one.take(rng.permutation(len(one.y))[:KEPT]) for one in kept])
    found: dict[str, Any] = {"before": accuracy(graph, tests["old"]), "arms": {}}
    for count in EXAMPLES:
        own = joined([one.take(order[:count]) for one, order in zip(given, draw, strict=True)])
        for arm, (level, replays) in ARMS.items():
            made = learned(wider, level, own, old if replays else None, **SETTINGS)
            found["arms"][f"{count}, {arm}"] = {part: accuracy(made, windows) for part, windows in tests.items()}
    return found


def summary(pairs: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"before": float(np.mean([one["before"] for one in pairs.values()]))}
    for arm in next(iter(pairs.values()))["arms"]:
        found[arm] = {}
        for part in ("old", "new"):
            values = [one["arms"][arm][part] for one in pairs.values()]
            found[arm][part] = {"mean": float(np.mean(values)), "interval": half_interval(values)}
    return found


def main() -> None:
    given = arguments(__doc__)
    torch.set_num_threads(1)
    lay_out(given.runs / "spoken", given.runs / "words", "")
    pairs = {pair: measure(pair, given.runs) for pair in PAIRS}
    for arm, row in summary(pairs).items():
        parts = [row] if arm == "before" else [row["old"]["mean"], row["new"]["mean"]]
        print(f"{arm}: {', '.join(f'{100 * part:.1f}' for part in parts)}", flush=True)
    if given.out:
        write_record(given.out, {"recipe": ARM.name, "pairs": pairs, "summary": summary(pairs)}, seeds=[42])


if __name__ == "__main__":
    main()
