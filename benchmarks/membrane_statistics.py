"""Mean and variance of the membrane, layer by layer and step by step, of trained networks with and without Mem-BN.

    hdlif train digits_hdlif --out runs/plain
    hdlif train digits_hdlif --set neuron.mem_bn=true --out runs/mem_bn
    python benchmarks/membrane_statistics.py runs/plain runs/mem_bn [--data-root DIR] [--out FILE]

Over all test images, neurons of a layer and positions, in eval mode: m_t = λ_t·v_{t-1} + I_t; with Mem-BN also m̂_t,
which is compared with the threshold in its place, and α_t and β_t of the mix; the share of neurons that fire. The
networks are run one time step at a time, in float64, and watched at their neuron layers: the current, the potential
before and after, and the spike.
"""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hdlif import builders
from hdlif.nn import HDLIF
from hdlif.report.tables import aligned
from hdlif.runs.checkpoints import load_trained
from recorded import write_record

BATCH = 120


@dataclass
class Moments:
    """Running count, sum and sum of squares."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, values: Tensor) -> None:
        self.count += values.numel()
        self.total += float(values.sum())
        self.squares += float(values.square().sum())

    @property
    def mean(self) -> float:
        return self.total / self.count

    @property
    def variance(self) -> float:
        return self.squares / self.count - self.mean**2


@dataclass
class Membrane:
    """One layer at one step."""

    membrane: Moments = field(default_factory=Moments)
    normalised: Moments = field(default_factory=Moments)
    firing: Moments = field(default_factory=Moments)


def watch(model: nn.Module, time_steps: int) -> dict[str, list[Membrane]]:
    """Let every HD-LIF layer of the network note its membranes from now on."""
    seen = {}
    for name, module in model.named_modules():
        if not isinstance(module, HDLIF):
            continue
        if module.quantizer is not None:
            raise SystemExit(f"{name} quantises its spikes, which then do not tell its membrane; train with exact ones")
        seen[name] = [Membrane() for _ in range(time_steps)]
        module.register_forward_hook(_note(seen[name]))
    if not seen:
        raise SystemExit("the network has no HD-LIF layer")
    return seen


def _note(steps_of_layer: list[Membrane]) -> Any:
    def note(module: HDLIF, args: tuple[Any, ...], output: tuple[Tensor, Any]) -> None:
        current, before, steps = args
        spike, after = output
        potential = torch.zeros_like(current[0]) if before is None else before["potential"]
        here = steps_of_layer[steps.start]
        here.membrane.add(module.leak.rows(steps, current)[0] * potential + current[0])
        # v = m̂ - s, whatever stands between m and m̂.
        here.normalised.add(after["potential"] + spike[0])
        here.firing.add((spike[0] > 0).double())

    return note


def measure(run: Path, data_root: Path | None) -> dict[str, Any]:
    """Statistics of a trained network on the test images, by layer and step."""
    trained = load_trained(run)
    recipe, model = trained.recipe, trained.network.double()
    seen = watch(model, recipe.time_steps)
    test = builders.build_data(recipe, data_root).test
    correct = 0
    for part in torch.split(torch.arange(len(test)), BATCH):
        x, target = test.sequence(part)
        state, logits = None, []
        with torch.no_grad():
            for t in range(recipe.time_steps):
                here = x if len(x) == 1 else x[t : t + 1]
                step, state = model(here.double(), state, steps=range(t, t + 1))
                logits.append(step[0])
        correct += int((torch.stack(logits).mean(0).argmax(1) == target).sum())
    layers = []
    for name, steps in seen.items():
        figures = {
            f"{key}_{moment}": [getattr(getattr(step, key), moment) for step in steps]
            for key in ("membrane", "normalised")
            for moment in ("mean", "variance")
        }
        layers.append({"name": name, **figures, "firing_rate": [step.firing.mean for step in steps]})
    gains = {
        name: [gain.tolist() for gain in module.norm.gains()]
        for name, module in model.named_modules()
        if isinstance(module, HDLIF) and module.norm is not None
    }
    accuracy = correct / len(test)
    return {"run": str(run), "mem_bn": bool(gains), "accuracy": accuracy, "layers": layers, "gains": gains}


def text(found: dict[str, Any]) -> str:
    kinds = [("m", "membrane"), *([("m-hat", "normalised")] if found["mem_bn"] else [])]
    steps = range(1, len(found["layers"][0]["firing_rate"]) + 1)
    header = ["layer", "", *(f"mean, t={t}" for t in steps), *(f"variance, t={t}" for t in steps), "last / first"]
    rows = []
    for layer in found["layers"]:
        for symbol, key in kinds:
            mean, variance = layer[f"{key}_mean"], layer[f"{key}_variance"]
            figures = [f"{value:.3f}" for value in (*mean, *variance)]
            rows.append([layer["name"], symbol, *figures, f"{variance[-1] / variance[0]:.2f}"])
        rest = [""] * (len(steps) + 1)
        rows.append(["", "firing", *(f"{share:.1%}" for share in layer["firing_rate"]), *rest])
        if layer["name"] in found["gains"]:
            gains = zip(*found["gains"][layer["name"]], strict=True)
            rows.append(["", "α, β", *(f"{alpha:.2f}, {beta:.2f}" for alpha, beta in gains), *rest])
    norm = "with Mem-BN" if found["mem_bn"] else "without Mem-BN"
    return f"{found['run']}, {norm}, accuracy {found['accuracy']:.2%}\n{aligned(header, rows)}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found = [measure(run, arguments.data_root) for run in arguments.runs]
    for one in found:
        print(text(one))
    if arguments.out:
        record = {"networks": found}
        write_record(arguments.out, record, seeds="the runs' own")


if __name__ == "__main__":
    main()
