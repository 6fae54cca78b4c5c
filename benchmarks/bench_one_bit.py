"""What STBP saves for its backward pass where HD-LIF keeps one bit per neuron and step.

    python benchmarks/bench_one_bit.py [--recipes digits_hdlif,fashion_mnist_hdlif] [--batch-size N] [--time-steps 4,16]
                                       [--rounds N] [--out FILE]

HD-LIF's two paths (see `hdlif.nn.SteppedNeuron`), with leak and threshold learned and fixed: bytes saved by all neuron
layers, each fed a current of its own; bytes saved by an STBP update of the whole network at any one time; CPU seconds
of that update over those of "steps", the median over rounds that alternate between the paths, and quartiles. First the
gradients of both are compared, in float64 on 4 images, and a difference above 1e-10 ends the run. Images are
random.
"""

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hdlif import builders
from hdlif.accounting import saved_bytes, update_cost
from hdlif.config import Recipe, load_recipe
from hdlif.nn import HDLIF
from hdlif.report.tables import aligned
from recorded import write_record

PATHS = ("steps", "fused")


class Case:
    """A recipe's network with one path, under STBP, and a batch of random images."""

    def __init__(self, recipe: Recipe, size: int, *, dtype: torch.dtype = torch.float32) -> None:
        torch.manual_seed(recipe.seed)
        self.model, self.rule = builders.build_model(recipe).train().to(dtype), builders.build_rule(recipe)
        kind = builders.DATA[recipe.data.kind]
        self.x = builders.FRAMES[recipe.data.frames](torch.randn(size, *kind.input.shape, dtype=dtype))
        self.target = torch.randint(len(kind.labels), (size,))
        self.plan = self.rule.schedule(recipe.time_steps, torch.Generator())

    def backward(self) -> None:
        self.model.zero_grad()
        for step in self.rule(self.model, self.x, self.target, self.plan):
            step.loss.backward()

    def gradients(self) -> Iterator[Tensor]:
        self.backward()
        return (p.grad for p in self.model.parameters() if p.grad is not None)

    def saved_by_neurons(self) -> int:
        """Bytes of all layers' own graphs, each from a leaf with the shape of its current."""
        currents: dict[HDLIF, Tensor] = {}

        def keep(module: nn.Module, args: tuple[Any, ...]) -> None:
            assert isinstance(module, HDLIF)
            currents[module] = args[0].detach().clone().requires_grad_()

        hooks = [m.register_forward_pre_hook(keep) for m in self.model.modules() if isinstance(m, HDLIF)]
        steps = range(self.plan.time_steps)
        with torch.no_grad():
            self.model(self.x, steps=steps)
        for hook in hooks:
            hook.remove()
        return sum(saved_bytes(lambda m=m, x=x: m(x, None, steps), model=m) for m, x in currents.items())

    def saved(self) -> int:
        return update_cost(self.model, self.backward, batch=[self.x, self.target]).saved_bytes

    def seconds(self) -> float:
        """CPU seconds, which other work on the machine disturbs less than the clock."""
        start = time.process_time()
        self.backward()
        return time.process_time() - start


def cases(recipe: str, time_steps: int, *, learned: bool, size: int | None, double: bool = False) -> dict[str, Case]:
    """By path."""
    found = {}
    for path in PATHS:
        neuron = f"{{kind: hdlif, parallel: none, path: {path}, learned: {str(learned).lower()}}}"
        loaded = load_recipe(recipe, ["rule={kind: stbp}", f"time_steps={time_steps}", f"neuron={neuron}"])
        dtype = torch.float64 if double else torch.float32
        found[path] = Case(loaded, size or loaded.data.batch_size, dtype=dtype)
    return found


def difference(recipe: str, time_steps: int, *, learned: bool) -> float:
    """The largest difference between the gradients of the paths."""
    steps, fused = (
        list(one.gradients()) for one in cases(recipe, time_steps, learned=learned, size=4, double=True).values()
    )
    return max(float((a - b).abs().max()) for a, b in zip(steps, fused, strict=True))


def measure(recipe: str, time_steps: int, *, learned: bool, size: int | None, rounds: int) -> dict[str, Any]:
    by_path = cases(recipe, time_steps, learned=learned, size=size)
    seconds: dict[str, list[float]] = {path: [] for path in PATHS}
    for turn in range(rounds + 1):
        for path, case in by_path.items():
            taken = case.seconds()
            if turn > 0:
                seconds[path].append(taken)
    ratios = {path: [a / b for a, b in zip(seconds[path], seconds["steps"], strict=True)] for path in PATHS}
    return {
        "recipe": recipe,
        "time_steps": time_steps,
        "learned": learned,
        "neuron_bytes": {path: case.saved_by_neurons() for path, case in by_path.items()},
        "network_bytes": {path: case.saved() for path, case in by_path.items()},
        "time": {path: statistics.quantiles(ratios[path], n=4) for path in PATHS},
    }


def row(found: dict[str, Any]) -> list[str]:
    cells = [found["recipe"], str(found["time_steps"]), "learned" if found["learned"] else "fixed"]
    for key in ("neuron_bytes", "network_bytes"):
        steps, fused = (found[key][path] for path in PATHS)
        cells += [f"{steps / 1e6:.2f}", f"{fused / 1e6:.2f} ({fused / steps:.1%})"]
    low, middle, high = found["time"]["fused"]
    return [*cells, f"{middle:.2f} [{low:.2f}, {high:.2f}]"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", default="digits_hdlif,fashion_mnist_hdlif")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--time-steps", default="4,16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    time_steps = [int(steps) for steps in arguments.time_steps.split(",")]
    grid = list(itertools.product(arguments.recipes.split(","), time_steps, (True, False)))
    for recipe, steps, learned in grid:
        if (off := difference(recipe, steps, learned=learned)) > 1e-10:
            sys.exit(f"{recipe}, T = {steps}, learned = {learned}: gradients of the paths differ by {off:.1e}")
    found = [
        measure(recipe, steps, learned=learned, size=arguments.batch_size, rounds=arguments.rounds)
        for recipe, steps, learned in grid
    ]
    header = ["MB saved, STBP", "T", "λ, θ", "neurons: steps", "fused", "network: steps", "fused"]
    print(aligned([*header, "CPU time over steps"], [row(one) for one in found]))
    record = {**vars(arguments), "out": None, "rows": found}
    if arguments.out:
        write_record(arguments.out, record, seeds="the recipes' own")


if __name__ == "__main__":
    main()
