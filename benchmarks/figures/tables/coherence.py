"""Each rule's gradient beside STBP's."""

from collections.abc import Iterator
from typing import Any

from figures.markdown import table
from figures.registry import Record
from figures.registry import table as registered

NEURONS = {"hdlif": "HD-LIF", "lif": "LIF"}
LAST = 20
"""Epochs of the trainings."""


def epochs(network: dict[str, Any]) -> int:
    """Of training; 0 of what is untrained."""
    return int(network["target"].rpartition("_")[2]) if network["trained"] else 0


def name(network: dict[str, Any]) -> str:
    """As the tables call it."""
    neuron = NEURONS[network["neuron"]]
    if network["trained"]:
        return f"{neuron}, {epochs(network)} epochs"
    return f"{neuron}, untrained" if neuron == "HD-LIF" else f"{neuron}, same weights"


def networks(record: Record, loss: str) -> Iterator[dict[str, Any]]:
    """Those of one loss: HD-LIF along its training, then LIF."""
    chosen = [network for network in record["networks"] if network["loss"] == loss]
    return iter(sorted(chosen, key=lambda network: (network["neuron"], epochs(network))))


def _percent(share: float) -> str:
    return "0" if share == 0 else f"{share:.1%}"


@registered("coherence_local", "coherence")
def _(record: Record) -> str:
    lines = []
    for network in networks(record, "mean_logits"):
        if epochs(network) not in (0, LAST):
            continue
        local = network["rules"]["sltt"]["local"]
        shares = [_percent(local[key]) for key in ("firing_rate", "equal", "idle", "dropped", "wrong", "opposite")]
        lines.append([name(network), *shares, f"{local['cosine']:.4f}", f"{local['norm_ratio']:.4f}"])
    head = ["network", "firing", "equal", "of it idle", "dropped", "wrong", "opposite", "cosine of d", "norm ratio"]
    return table(head, lines)


@registered("coherence_layers", "coherence")
def _(record: Record) -> str:
    untrained = next(networks(record, "mean_logits"))
    lines = []
    for layer in untrained["rules"]["sltt"]["layers"]:
        own = layer["parameters"]
        lines.append(
            [layer["name"].removeprefix("body.").replace(".0.", "."), f"{layer['firing_rate']:.1%}",
             f"{layer['dropped']:.1%}", f"{layer['cosine']:.4f}", ", ".join(f"{c:.3f}" for c in layer["cosines"]),
             f"{own['cosine']:.3f}", f"{own['norm_ratio']:.3f}"]
        )  # fmt: skip
    head = ["layer", "firing", "dropped", "cosine of d", "at t = 1 to 4", "λ, θ: cosine", "norm ratio"]
    return table(head, lines)


@registered("coherence_end_to_end", "coherence")
def _(record: Record) -> str:
    as_trained = {name(network): network for network in networks(record, "as_trained")}
    lines = []
    for network in networks(record, "mean_logits"):
        rule, other = network["rules"]["sltt"], as_trained[name(network)]["rules"]
        end = rule["end_to_end"]
        lines.append(
            [name(network), f"{end['firing_rate']:.1%}", f"{end['cosine']:.4f}", f"{end['norm_ratio']:.3f}",
             f"{rule['first_layer']['norm_ratio']:.3f}", _draws(network["rules"]),
             f"{other['sltt']['end_to_end']['cosine']:.4f}", _draws(other)]
        )  # fmt: skip
    head = ["network", "firing", "cosine", "norm ratio", "stem", "one draw", "as trained", "one draw"]
    return table(head, lines)


def _draws(rules: dict[str, Any]) -> str:
    drawn = rules["stochastic_step"]["draws"]
    return f"{min(drawn):.3f} … {max(drawn):.3f}"
