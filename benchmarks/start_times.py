"""How long each verb of the command line takes on next to nothing, beside `import torch`.

    python benchmarks/start_times.py [--repeats 5] [--out FILE]

Every verb runs on a network of a few channels and a set of generated images, each time in a process of its own. The
best of the repeats is printed, with its ratio to the best of `import torch`, which is timed in the same rounds.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from hdlif.recipe import dump_recipe, load_recipe
from recorded import write_record

OVERRIDES = [
    "name=small",
    "data={kind: synthetic, batch_size: 64, validation: 40}",
    "model={kind: resnet, blocks: [1], width: 2}",
    "training.epochs=1",
    "training.warmup_epochs=0",
]
PREPARE = [
    ["train", "small.yaml", "--out", "run", "--memory-repeats", "0", "--threads", "1"],
    ["export", "run", "--out", "small.hdlif.safetensors"],
]
VERBS = {
    "--version": ["--version"],
    "--help": ["--help"],
    "recipes ls": ["recipes", "ls"],
    "recipes show": ["recipes", "show", "digits_hdlif", "--resolved"],
    "recipes check": ["recipes", "check", "digits_hdlif"],
    "run": ["run", "small.hdlif.safetensors", "image.npy"],
    "profile": ["profile", "small.yaml"],
    "export": ["export", "run", "--out", "again.hdlif.safetensors"],
    "eval": ["eval", "run"],
    "coherence": ["coherence", "small.yaml", "--batches", "1"],
    "report": ["report", "run"],
    "train": ["train", "small.yaml", "--out", "again", "--overwrite", "--memory-repeats", "0", "--threads", "1"],
}


def seconds(command: list[str], folder: Path) -> float:
    """Of one run of it, which must end well."""
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    hdlif = [sys.executable, "-m", "hdlif"]
    commands = {"import torch": [sys.executable, "-c", "import torch"]}
    commands |= {verb: [*hdlif, *given] for verb, given in VERBS.items()}
    times: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "small.yaml").write_text(dump_recipe(load_recipe("digits_hdlif", OVERRIDES)))
        for given in PREPARE:
            seconds([*hdlif, *given], folder)
        np.save(folder / "image.npy", np.zeros((1, 8, 8), np.uint8))
        for _ in range(arguments.repeats):
            for name, command in commands.items():
                times[name].append(seconds(command, folder))
    torch_s = min(times["import torch"])
    rows = {name: {"best_s": min(of), "median_s": statistics.median(of)} for name, of in times.items()}
    for name, row in rows.items():
        print(f"{name:14} {row['best_s']:6.2f} s, {row['best_s'] / torch_s:5.2f} of import torch")
    if arguments.out:
        write_record(arguments.out, {"commands": rows}, seeds=None)


if __name__ == "__main__":
    main()
