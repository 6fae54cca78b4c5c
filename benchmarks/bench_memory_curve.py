"""Peak training memory of one network against the number of time steps, beside SpikingJelly's.

    python benchmarks/bench_memory_curve.py [--recipe NAME] [--batch-size N] [--time-steps 1,2,4,...] [--repeats N]
                                            [--out FILE.json]

Each figure is the resident memory that a few updates on random images add at their peak, above program and weights: the
median over fresh processes (`hdlif.report.peak_memory`). Of rules whose memory grows, T goes up to where a line
through the last two points would pass 85 % of the memory that is available.

The law beside it: 4 bytes a parameter for its gradient and 4 for its momentum, the bytes that an update saves for
backward (counted exactly, `hdlif.accounting.update_cost`), and 4 bytes a neuron and image of state. What a measurement
has above it are the buffers of the convolutions and of the backward pass. Given apart are the input, which is not
repeated along time where it is constant, and the per-step parameters with gradient and momentum, which grow with T.
The run fails if an online rule's peak is not flat from its second step, chunk or window on. Rules whose curves
FILE.json has already, of the same measurement, are not measured again: the whole takes an hour.

SpikingJelly: a pre-activation ResNet-18 of width 64, or for a recipe of a U-Net that of nuclei_hdlif, out of its layers
and LIFNode in multi-step mode, trained by STBP with the same optimiser (`pip install 'hdlif[peers]'`). A recipe of your
own data is that of a run, RUN/recipe.yaml, where their classes stand.

A recipe of series, such as hapt_hdlif, is measured on random series of T steps with every rule, from T = 16 on, beside
the same layers out of SpikingJelly's and snnTorch's (series_peers.py). There the batch, which grows with T, is in
memory before the first reading, and is given apart, and the bytes saved for backward alone stand beside the peaks.
All T run as many steps, 8192 of them: a process takes a few hundred KB in its first thousands of steps, of whatever T.
"""

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

import training_peers
from figures.tables.memory import growth, steps_at_once
from hdlif.accounting import update_cost
from hdlif.errors import TrainingError
from hdlif.nn import HDLIF, step_parameters
from hdlif.recipe import Recipe, builders, load_recipe
from hdlif.report.peak_memory import in_fresh_processes, peak_memory, resident_growth
from hdlif.report.tables import aligned
from hdlif.training import Accelerator, Updater, sgd
from random_series import CHANNELS, CLASSES, is_series, series_recipe
from recorded import write_record
from series_peers import PEERS, Shape
from training_rows import shape_of

IMAGE_RULES = {"random step": "{kind: stochastic_step}", "SLTT": "{kind: sltt}", "STBP": "{kind: stbp}"}
PEER = "SpikingJelly, STBP"
SERIES_RULES = {
    **IMAGE_RULES,
    "SLTT, chunk 16": "{kind: sltt, chunk: 16}",
    "OTTT": "{kind: ottt}",
    "OTTT, chunk 16": "{kind: ottt, chunk: 16}",
    "NDOT": "{kind: ndot}",
    "forward mode": "{kind: forward_mode}",
    "forward mode, chunk 16": "{kind: forward_mode, chunk: 16}",
    "window of 4": "{kind: stochastic_window, length: 4}",
    "window of 16": "{kind: stochastic_window, length: 16}",
}
RULES = {**SERIES_RULES, **IMAGE_RULES}
UPDATES = 4
STEPS = 8192
"""That updates on series run in all."""
SHARE = 0.85
FLAT = 1.03
"""Largest over smallest peak of an online rule."""
LARGEST_COUNTED = 64
"""T up to which saved bytes are counted: tracing every saved tensor takes its time."""


def recipe_of(arguments: argparse.Namespace, rule: str, time_steps: int) -> Recipe:
    overrides = [f"data.batch_size={arguments.batch_size}", f"rule={RULES[rule]}"]
    if arguments.series:
        return series_recipe(arguments.recipe, time_steps, overrides)
    return load_recipe(arguments.recipe, [f"time_steps={time_steps}", *overrides])


def available_bytes() -> int:
    """Memory that a process may take now, as Linux states it."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))


def law(recipe: Recipe) -> dict[str, int]:
    """The bytes that the law counts, and those of per-step parameters."""
    torch.manual_seed(recipe.seed)
    model, rule = builders.build_model(recipe).train(), builders.build_rule(recipe)
    update = Updater(Accelerator("cpu"), model, _sgd(model), rule)
    generator = torch.Generator().manual_seed(recipe.seed)
    x, target = builders.random_batch(recipe, generator)
    # Of the plans of a rule that draws the one that runs all T.
    plan = next(
        plan
        for plan in iter(lambda: rule.schedule(recipe.time_steps, generator), None)
        if plan.steps[-1] == recipe.time_steps - 1
    )
    neurons: list[int] = []
    for module in model.modules():
        if isinstance(module, HDLIF):
            module.register_forward_hook(lambda _, __, out: neurons.append(out[0][0].numel()))
    saved = update_cost(model, lambda: update(x, target, plan), batch=[x, target]).saved_bytes
    # Of one step: what is emitted and what is kept are of one size.
    first_pass = neurons[: sum(isinstance(m, HDLIF) for m in model.modules())]
    parameters = sum(p.numel() for p in model.parameters())
    return {
        "optimiser": 8 * parameters,
        "saved": saved,
        "state": 4 * sum(first_pass),
        "per_step_parameters": 12 * sum(p.numel() for p in step_parameters(model)),
        "input": x.numel() * x.element_size(),
    }


def _sgd(model: nn.Module) -> torch.optim.SGD:
    return sgd(model, learning_rate=1e-4, momentum=0.9, weight_decay=5e-4)


def updates_of(time_steps: int) -> int:
    """Of series."""
    return max(2, STEPS // time_steps)


def series_peer_growth(recipe: Recipe, name: str) -> int:
    """What a peer's training of the series network adds to this process' peak, beside its batch."""
    torch.manual_seed(recipe.seed)
    model = recipe.model.arguments
    shape = Shape(CHANNELS, model["widths"], model["kernel"], model["dilations"], CLASSES)
    network, backward = PEERS[name](shape)
    optimizer = _sgd(network.train())
    x, target = builders.random_batch(recipe, torch.Generator().manual_seed(recipe.seed))

    def updates() -> None:
        for _ in range(updates_of(recipe.time_steps)):
            backward(x.flatten(2), target)
            optimizer.step()
            optimizer.zero_grad()

    return resident_growth(updates)


def peer_growth(recipe: Recipe) -> int:
    """What SpikingJelly's training adds to this process' peak."""
    torch.manual_seed(recipe.seed)
    network = "unet" if recipe.model.kind == "unet" else "resnet18"
    shape = shape_of(recipe, network, training_peers.WIDTHS[network])
    peer = training_peers.spikingjelly_stbp(shape, recipe.time_steps)
    optimizer = _sgd(peer.network.train())
    generator = torch.Generator().manual_seed(recipe.seed)

    def updates() -> None:
        for _ in range(UPDATES):
            x, target = builders.random_batch(recipe, generator)
            peer.backward(x.expand(recipe.time_steps, *x.shape[1:]), target, recipe.time_steps - 1)
            optimizer.step()
            optimizer.zero_grad()

    return resident_growth(updates)


def curve(time_steps: list[int], measure: Callable[[int], int], name: str) -> dict[int, int | None]:
    """Peaks by T; None from where the memory of this machine is not enough."""
    found: dict[int, int | None] = {}
    for steps in time_steps:
        known = [(t, peak) for t, peak in found.items() if peak is not None]
        if len(known) >= 2:
            (t0, peak0), (t1, peak1) = known[-2:]
            expected = peak1 + max(0, peak1 - peak0) / (t1 - t0) * (steps - t1)
            if expected > SHARE * available_bytes() or len(known) < len(found):
                found[steps] = None
                print(f"{name}, T = {steps}: {expected / 1e9:.1f} GB expected, not run", file=sys.stderr)
                continue
        found[steps] = measure(steps)
        print(f"{name}, T = {steps}: {found[steps] / 1e6:.1f} MB", file=sys.stderr, flush=True)
    return found


def measured_before(path: Path | None, of_this: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Curves and laws by rule that a file of the same measurement has."""
    if path is None or not path.exists():
        return {}, {}
    record = json.loads(path.read_text())
    if {key: record.get(key) for key in of_this} != of_this:
        return {}, {}
    curves, laws = (
        {name: {int(t): value for t, value in by_step.items()} for name, by_step in record[key].items()}
        for key in ("peak_bytes", "law_bytes")
    )
    return curves, laws


def predicted(terms: dict[str, int]) -> int:
    return terms["optimiser"] + terms["saved"] + terms["state"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="cifar100_resnet18_hdlif")
    parser.add_argument("--batch-size", type=int, help="2 of images, 64 of series")
    parser.add_argument("--time-steps", help="1,2,4,8,16,64,256,1000 of images, 16,64,256,1024,4096 of series")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rules", help="names separated by semicolons; all by default")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", metavar="PEER", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.series = is_series(arguments.recipe)
    rules, peers = (SERIES_RULES, tuple(PEERS)) if arguments.series else (IMAGE_RULES, (PEER,))
    arguments.batch_size = arguments.batch_size or (64 if arguments.series else 2)
    given = arguments.time_steps or ("16,64,256,1024,4096" if arguments.series else "1,2,4,8,16,64,256,1000")
    time_steps = [int(steps) for steps in given.split(",")]
    names = [name.strip() for name in arguments.rules.split(";")] if arguments.rules else [*rules, *peers]
    if unknown := [name for name in names if name not in (*rules, *peers)]:
        parser.error(f"unknown: {'; '.join(unknown)}; rules are {'; '.join((*rules, *peers))}")
    if arguments.child:
        recipe = recipe_of(arguments, "STBP", time_steps[0])
        print(series_peer_growth(recipe, arguments.child) if arguments.series else peer_growth(recipe))
        return

    def measured(name: str, steps: int) -> int:
        if name in rules:
            recipe = recipe_of(arguments, name, steps)
            series = {"batch_apart": True, "updates": updates_of(steps)} if arguments.series else {}
            return peak_memory(recipe, repeats=arguments.repeats, **series)
        options = ["--recipe", arguments.recipe, "--batch-size", str(arguments.batch_size), "--time-steps", str(steps)]
        command = [sys.executable, __file__, "--child", name, *options]
        return in_fresh_processes(command, repeats=arguments.repeats, name=name)

    of_this = {
        "recipe": load_recipe(arguments.recipe).name,
        "batch_size": arguments.batch_size,
        "repeats": arguments.repeats,
        "time_steps": time_steps,
    }
    curves, laws = measured_before(arguments.out, of_this)
    record: dict[str, Any] = {**of_this, "peak_bytes": curves, "law_bytes": laws}
    rows: list[list[str]] = []
    for name in names:
        try:
            peaks = curves[name] = curves.get(name) or curve(time_steps, partial(measured, name), name)
        except TrainingError as error:
            sys.exit(f"{name}: {error}")
        cells = ["does not fit" if peak is None else f"{peak / 1e6:.1f}" for peak in peaks.values()]
        rows.append([name, *cells, f"{growth(peaks, steps_at_once(name)):.3f}"])
        if name in rules:
            counted = [t for t, peak in peaks.items() if peak is not None and t <= LARGEST_COUNTED]
            laws[name] = laws.get(name) or {t: law(recipe_of(arguments, name, t)) for t in counted}
            # Of series the law is a hundredth of what is measured: what they add to it is what is saved.
            figure, law_of = ("saved", lambda terms: terms["saved"]) if arguments.series else ("law", predicted)
            cells = [f"{law_of(laws[name][t]) / 1e6:.3g}" if t in counted else "" for t in time_steps]
            rows.append([f"{name}, {figure}", *cells, ""])
        if arguments.out:
            write_record(arguments.out, record, seeds="the recipe's own")
    if laws:
        counted = next(iter(laws.values()))
        for name, key in (("per-step parameters, MB", "per_step_parameters"), ("input, MB", "input")):
            rows.append([name, *(f"{counted[t][key] / 1e6:.3f}" if t in counted else "" for t in time_steps), ""])
    print(aligned(["peak, MB", *(f"T={t}" for t in time_steps), "largest / smallest"], rows))
    online = [name for name in curves if name in rules and name != "STBP"]
    growing = [name for name in online if growth(curves[name], steps_at_once(name)) > FLAT]
    if growing:
        sys.exit(f"{', '.join(growing)}: the peak grows by more than {FLAT - 1:.0%} with T")


if __name__ == "__main__":
    main()
