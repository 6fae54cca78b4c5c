"""Trained networks with batch-norm statistics that all time steps share, and with statistics of each step.

    hdlif demo --data fashion_mnist --data-root DIR
    python benchmarks/shared_statistics.py runs/demo/lif runs/demo/hdlif_w1p5_s4_parallel --data-root DIR --out FILE

Statistics do not enter a training that normalises by the batch, so that both are measured of the same weights: anew,
in one way, as means over batches of the first training images and all steps (`hdlif.training.evaluate`). Of each run:
test accuracy after each step with either, and with the statistics of the training.
"""

import argparse
from pathlib import Path
from typing import Any

from torch import nn

from hdlif.recipe import Component, Recipe, builders
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.training import evaluate, reestimate
from recorded import write_record


def with_statistics(recipe: Recipe, network: nn.Module, *, per_step: bool) -> nn.Module:
    """A network of the same weights, whose statistics are still to be measured."""
    norm = Component.model_validate({**recipe.norm.model_dump(mode="json"), "per_step": per_step})
    made = builders.build_model(recipe.model_copy(update={"norm": norm}))
    shapes = {name: value.shape for name, value in made.state_dict().items()}
    weights = {name: value for name, value in network.state_dict().items() if value.shape == shapes[name]}
    missing = made.load_state_dict(weights, strict=False).missing_keys
    assert all(name.endswith(("running_mean", "running_var", "num_batches_tracked")) for name in missing), missing
    return made


def measure(run: Path, images: int, data_root: Path | None) -> dict[str, Any]:
    trained = load_trained(run)
    recipe, size = trained.recipe, trained.recipe.data.batch_size
    sets, task = builders.build_data(recipe, data_root), builders.build_measured_task(recipe)
    plain = sets.train.plain().first(images)

    def accuracies(network: nn.Module) -> list[float]:
        return [float(one) for one in evaluate(network, sets.test.sequences(250), task=task).per_step]

    found = {"as trained": accuracies(trained.network)}
    for name, per_step in (("shared", False), ("per step", True)):
        network = with_statistics(recipe, trained.network, per_step=per_step)
        reestimate(network, plain.sequences(size), time_steps=recipe.time_steps)
        found[name] = accuracies(network)
    return {"recipe": recipe.name, "seed": recipe.seed, "images": len(plain), "accuracy_per_step": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--images", type=int, default=5120, help="of the training set")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    networks = [measure(run, given.images, given.data_root) for run in given.runs]
    write_record(given.out, {"networks": networks}, seeds=sorted({network["seed"] for network in networks}))


if __name__ == "__main__":
    main()
