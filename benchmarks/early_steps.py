"""What the steps before the drawn one could be spared of: by other draws, and by changes against the step before.

    python benchmarks/early_steps.py [--recipe fashion_mnist_hdlif_w1p5_s4] [--time-steps 4,16]
                      [--updates 430] [--batches 40] [--batch-size 128] [--data-root DIR] [--out FILE]

A network that is trained for some updates by the random step, as the recipe says but for the batch and a rate of a
tenth of the recipe's, and then:

other draws: a random step τ that is drawn with the probability p_τ and whose loss is weighed by 1/(T·p_τ) has the same
    mean gradient. Its second moment is Σ_τ E|g_τ|²/(T²·p_τ), its time Σ_τ p_τ·s_τ. As long as noise is averaged out,
    what counts is their product, which no draw has smaller than p_τ in proportion to √(E|g_τ|²/s_τ). Printed are
    √E|g_τ|² over batches, of all weights, over that of the first step; s_τ, CPU seconds of an update with this τ; these
    probabilities; and the product over that of the uniform draw: the time that the best of all draws takes, for the
    same noise.
changes: the share of codes, or of spikes, that are not 0 at a step, and the share that is another one than at the step
    before, by which a step could be computed from the one before; over all layers, weighed by their neurons.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hdlif import builders
from hdlif.config import load_recipe
from hdlif.learning import Plan, StochasticStep
from hdlif.measure.allocator import keep_freed_memory
from hdlif.measure.recipe_update import RecipeUpdate
from hdlif.nn import Neuron
from hdlif.report.tables import aligned
from recorded import write_record

RATE = 0.1
"""Of the recipe's learning rate, which would be too high without its cosine."""


def batches_of(made: RecipeUpdate, root: Path, seed: int) -> Any:
    """Batches of the training images in random order, without end."""
    train = builders.build_data(made.recipe, root, workers=0).train
    generator = torch.Generator().manual_seed(seed)
    while True:
        for indices in torch.randperm(len(train), generator=generator).split(made.recipe.data.batch_size):
            if len(indices) == made.recipe.data.batch_size:
                x, target = train.batch(indices)
                yield train.frames(x), target


def moments(made: RecipeUpdate, batches: list[tuple[Tensor, Tensor]]) -> tuple[list[float], list[float]]:
    """E|g_τ|² of each step, and CPU seconds of its gradient."""
    squares, seconds = [], []
    weights = [p for p in made.model.parameters() if p.ndim > 1]
    for step in range(made.recipe.time_steps):
        plan, found, taken = Plan(made.recipe.time_steps, (step,), (True,)), [], []
        for x, target in batches:
            made.model.zero_grad()
            start = time.process_time()
            for one in made.rule(made.model, x, target, plan):
                one.loss.backward()
            taken.append(time.process_time() - start)
            found.append(sum(float(p.grad.square().sum()) for p in weights if p.grad is not None))
        squares.append(sum(found) / len(found))
        seconds.append(sorted(taken)[len(taken) // 2])
    made.model.zero_grad()
    return squares, seconds


def best_draw(squares: list[float], seconds: list[float]) -> tuple[list[float], float]:
    """The probabilities of the least product of second moment and time, and that product over the uniform draw's."""
    count = len(squares)
    free = [(square / second) ** 0.5 for square, second in zip(squares, seconds, strict=True)]
    chances = [one / sum(free) for one in free]

    def product(chances: list[float]) -> float:
        moment = sum(square / chance for square, chance in zip(squares, chances, strict=True)) / count**2
        return moment * sum(chance * second for chance, second in zip(chances, seconds, strict=True))

    return chances, product(chances) / product([1 / count] * count)


def shares(model: nn.Module, x: Tensor, steps: int) -> dict[str, float]:
    """Of what all neuron layers emit: what is not 0, and what changes from step to step."""
    counts = {"not 0": 0, "changed": 0, "of": 0, "of changes": 0}

    def look(module: nn.Module, args: object, output: tuple[Tensor, object]) -> None:
        emitted = output[0]
        counts["not 0"] += int(emitted.count_nonzero())
        counts["changed"] += int((emitted[1:] != emitted[:-1]).sum())
        counts["of"] += emitted.numel()
        counts["of changes"] += emitted[1:].numel()

    hooks = [one.register_forward_hook(look) for one in model.modules() if isinstance(one, Neuron)]
    with torch.no_grad():
        model(x, None, steps=range(steps))
    for hook in hooks:
        hook.remove()
    return {"not 0": counts["not 0"] / counts["of"], "changed": counts["changed"] / counts["of changes"]}


def measure(arguments: argparse.Namespace, steps: int) -> dict[str, Any]:
    rate = RATE * load_recipe(arguments.recipe).training.learning_rate
    sizes = [f"time_steps={steps}", f"data.batch_size={arguments.batch_size}"]
    recipe = load_recipe(arguments.recipe, [*sizes, f"training.learning_rate={rate}"])
    made = RecipeUpdate(recipe)
    assert isinstance(made.rule, StochasticStep)
    batches = batches_of(made, arguments.data_root, recipe.seed)
    for _ in range(arguments.updates):
        made.update(*next(batches), made.rule.schedule(steps, made.generator))
    kept = [next(batches) for _ in range(arguments.batches)]
    squares, seconds = moments(made, kept)
    chances, product = best_draw(squares, seconds)
    return {
        "time_steps": steps,
        "squares": squares,
        "seconds": seconds,
        "chances": chances,
        "product": product,
        "shares": shares(made.model, kept[0][0], steps),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="fashion_mnist_hdlif_w1p5_s4")
    parser.add_argument("--time-steps", default="4,16")
    parser.add_argument("--updates", type=int, default=430)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    keep_freed_memory()
    found = [measure(arguments, int(steps)) for steps in arguments.time_steps.split(",")]
    for one in found:
        first = one["squares"][0]
        rows = [
            [str(step), f"{(square / first) ** 0.5:.2f}", f"{1e3 * second:.0f}", f"{chance:.3f}"]
            for step, (square, second, chance) in enumerate(
                zip(one["squares"], one["seconds"], one["chances"], strict=True)
            )
        ]
        print(aligned([f"T = {one['time_steps']}: step", "gradient", "CPU ms", "best chance"], rows))
        not_zero, changed = one["shares"]["not 0"], one["shares"]["changed"]
        print(f"time for the same noise: {one['product']:.3f} of the uniform draw's")
        print(f"spikes: {not_zero:.1%} are not 0, {changed:.1%} are others than at the step before\n")
    record = {**vars(arguments), "data_root": None, "out": None, "rows": found}
    record |= {"threads": torch.get_num_threads()}
    if arguments.out:
        write_record(arguments.out, record, seeds="the recipe's own")


if __name__ == "__main__":
    main()
