"""What learning where a network runs gains: a speaker who was not in the training (spoken digits, each of 6 left out).

    OMP_NUM_THREADS=1 python benchmarks/bench_learning_speakers.py --data-root DIR --runs DIR [--out FILE]

DIR/spoken_digits has recordings.tar of the Free Spoken Digit Dataset: DIGIT_SPEAKER_INDEX.wav. For each speaker a
network of `arms/spoken_digits.yaml` is trained on the five others, in `--runs`; one that is finished is taken as it is.
A random half of the speaker's recordings is labelled and learned from once; the other half tests. Arms, "others" and
intervals are those of `bench_learning.py`, whose rates were chosen on other data.
"""

import argparse
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench_learning import OTHERS, Windows, by_arm, summary
from hdlif import run_folder
from hdlif.recipe import builders
from hdlif.recipe.runs.checkpoints import load_trained
from recorded import write_record

ARM = Path(__file__).parent / "arms/spoken_digits.yaml"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")


def extract(archive: Path, folder: Path) -> None:
    """Write the recordings as DIGIT/SPEAKER_INDEX.wav, unless they are there."""
    with tarfile.open(archive) as source:
        for member in source:
            digit, rest = member.name.split("_", 1)
            path = folder / digit / rest
            content = source.extractfile(member)
            if content is not None and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())


def together(sequences: Iterable[tuple[Tensor, Tensor]]) -> Windows:
    xs, ys = zip(*sequences, strict=True)
    return Windows(torch.cat(xs, 1).numpy(), torch.cat(ys).numpy())


def measure(speaker: str, runs: Path) -> dict[str, Any]:
    run = runs / speaker
    if not (run / run_folder.SUMMARY).exists():
        command = [sys.executable, "-m", "hdlif", "train", str(ARM), "--data-root", str(runs), "--out", str(run)]
        subprocess.run([*command, "--set", f"data.split={{validation: 0, test: [{speaker}]}}"], check=True)
    trained = load_trained(run)
    sets, rng = builders.build_data(trained.recipe, runs), np.random.default_rng(0)
    own = together(sets.test.sequences(64))
    own = own.take(rng.permutation(len(own.y)))
    known = together(sets.train.plain().sequences(64))
    known = known.take(rng.permutation(len(known.y))[: 2 * OTHERS])
    half = len(own.y) // 2
    parts = (
        own.take(slice(half)),
        own.take(slice(half, None)),
        known.take(slice(OTHERS)),
        known.take(slice(OTHERS, None)),
    )
    return by_arm(trained, *parts)


def arguments(description: str | None) -> argparse.Namespace:
    """Read `runs` and `out` from the command line, and extract the recordings into `runs`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    extract(given.data_root / "spoken_digits/recordings.tar", given.runs / "spoken")
    return given


def main() -> None:
    given = arguments(__doc__)
    people: dict[str, Any] = {}
    for speaker in SPEAKERS:
        people[speaker] = measure(speaker, given.runs)
        shown = ", ".join(f"{arm} {100 * one['accuracy']:.1f}" for arm, one in people[speaker]["arms"].items())
        print(f"{speaker}: {shown}", flush=True)
    if given.out:
        write_record(given.out, {"recipe": ARM.name, "people": people, "summary": summary(people)}, seeds=[42])


if __name__ == "__main__":
    main()
