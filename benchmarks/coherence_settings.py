"""Each rule's gradient beside STBP's in untrained networks: other thresholds, resets and seeds, and other data.

    python benchmarks/coherence_settings.py [--data-root DIR] --out FILE

What `hdlif coherence RECIPE --set ...` finds with each of `SETTINGS`, of the network that the setting is about and the
cross-entropy of the mean of the logits; kept as by `coherence_record.py`. Fashion-MNIST is left out without its data.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coherence_record
from hdlif.report.rule_gradients import coherence
from recorded import write_record


@dataclass(frozen=True)
class Setting:
    """What is compared.

    Attributes:
        neurons: of the recipe's network with its own neuron and with those beside it, the ones that are compared.
    """

    recipe: str
    overrides: tuple[str, ...]
    neurons: tuple[str, ...]
    batches: int = 2


BOTH = ("hdlif", "lif")
SETTINGS = {
    **{f"HD-LIF, {at}": Setting("digits_hdlif", (f"neuron.threshold={at}",), ("hdlif",)) for at in (0.5, 0.8, 0.95)},
    **{
        f"LIF, {at}": Setting("digits_lif", (f"neuron.threshold={at}",), ("lif",)) for at in (0.55, 0.65, 0.75, 0.85, 1)
    },
    "graded LIF": Setting("digits_hdlif", ("neuron={kind: graded_lif}",), ("graded_lif",)),
    "seed 1": Setting("digits_hdlif", ("seed=1",), BOTH),
    "detached reset": Setting("digits_lif", ("neuron.reset=soft_detached",), ("lif",)),
    "detached reset, shared statistics": Setting(
        "digits_lif", ("neuron.reset=soft_detached", "norm.per_step=false"), ("lif",)
    ),
    "Fashion-MNIST": Setting("fashion_mnist_hdlif_w1p5_s4", ("data.batch_size=16",), BOTH, batches=1),
}


def measure(setting: Setting, data_root: Path | None) -> list[dict[str, Any]]:
    """By network."""
    found = coherence(
        [setting.recipe],
        overrides=setting.overrides,
        batches=setting.batches,
        data_root=data_root,
        neurons=setting.neurons,
        losses=["mean_logits"],
    )
    return [{"overrides": list(setting.overrides), **coherence_record.named(entry)} for entry in found["networks"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {}
    for name, setting in SETTINGS.items():
        if name == "Fashion-MNIST" and given.data_root is None:
            continue
        found[name] = measure(setting, given.data_root)
        # One seed each, that of the recipe or of the setting.
        write_record(given.out, {"settings": found}, seeds="the recipes' own, 42, and 1 where the setting says so")


if __name__ == "__main__":
    main()
