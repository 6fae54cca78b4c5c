"""On how many images batch norm's statistics must be measured before an evaluation.

    python benchmarks/reestimation_images.py RUN... [--data-root DIR] [--out FILE]

RUN is the run folder of a training with `training.keep_every: 1` (its epoch_N.safetensors are measured, early ones
among them, whose running statistics lag) or a single checkpoint. For every network, and for every number of images in
several draws, the statistics are measured anew, the test images are classified, and the accuracy and the share of
images whose class differs from that by the largest number are printed; then, for each recipe, the means over its
networks. `--summary FILE` prints the means of a file that `--out` wrote.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hdlif.data import ImageSets
from hdlif.recipe import builders
from hdlif.runs.checkpoints import load_trained
from hdlif.training import answered, reestimated
from recorded import write_record


def classes(network: nn.Module, sets: ImageSets, *, images: int, time_steps: int) -> Tensor:
    """The classes of the first test images."""
    batches = sets.test.first(images).sequences(250)
    return torch.cat([logits.sum(0).argmax(-1) for logits, _ in answered(network, batches, time_steps=time_steps)])


def measure(path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Accuracy by the number of images that the statistics come from."""
    trained = load_trained(path)
    recipe, network = trained.recipe, trained.network
    sets = builders.build_data(recipe, arguments.data_root)
    plain, target = sets.train.plain(), sets.test.labels[: arguments.test]
    found: dict[int, list[Tensor]] = {}
    seconds: dict[int, float] = {}
    for count in arguments.images:
        found[count] = []
        for draw in range(arguments.draws):
            chosen = torch.randperm(len(plain), generator=torch.Generator().manual_seed(draw))[:count]
            batches = plain.sequences(min(count, recipe.data.batch_size), chosen)
            start = time.perf_counter()
            with reestimated(network, batches, time_steps=recipe.time_steps):
                seconds[count] = time.perf_counter() - start
                found[count].append(classes(network, sets, images=arguments.test, time_steps=recipe.time_steps))
    most = found[max(arguments.images)][0]
    rows = {}
    for count, draws in found.items():
        accuracies = [float((draw == target).double().mean()) for draw in draws]
        rows[str(count)] = {
            "accuracy": statistics.mean(accuracies),
            "std": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
            "other_class": statistics.mean(float((draw != most).double().mean()) for draw in draws),
            "seconds": seconds[count],
        }
        print(f"{path} {count:6d} images: {json.dumps(rows[str(count)])}", flush=True)
    return {"recipe": recipe.name, "checkpoint": path.name, "test_images": arguments.test, "by_images": rows}


def summary(networks: list[dict[str, Any]]) -> str:
    """Means over a recipe's networks: accuracy less that by the most images, in points, and share of other classes."""
    lines = []
    for recipe in dict.fromkeys(network["recipe"] for network in networks):
        tables = [network["by_images"] for network in networks if network["recipe"] == recipe]
        most = max(tables[0], key=int)
        for count in tables[0]:
            gained = statistics.mean(table[count]["accuracy"] - table[most]["accuracy"] for table in tables)
            spread = statistics.mean(table[count]["std"] or 0.0 for table in tables)
            other = statistics.mean(table[count]["other_class"] for table in tables)
            lines.append(
                f"{recipe}, {len(tables)} networks, {count} images: {100 * gained:.2f} +- {100 * spread:.2f} points, "
                f"{100 * other:.1f} % of another class"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="*")
    parser.add_argument("--summary", type=Path)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument(
        "--images", type=lambda text: [int(n) for n in text.split(",")], default=[64, 250, 500, 1000, 2000]
    )
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--test", type=int, default=2000, help="test images")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.summary:
        print(summary(json.loads(arguments.summary.read_text())["networks"]))
        return
    paths = [
        path for run in arguments.runs for path in (sorted(run.glob("epoch_*.safetensors")) if run.is_dir() else [run])
    ]
    results = [measure(path, arguments) for path in paths]
    print(summary(results))
    if arguments.out:
        write_record(arguments.out, {"networks": results}, seeds="the runs' own")


if __name__ == "__main__":
    main()
