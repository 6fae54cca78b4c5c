"""Each rule's gradient beside STBP's."""

from collections.abc import Iterable, Iterator
from typing import Any

from figures.markdown import table
from figures.records import record as record_of
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


AT_THRESHOLDS = {
    "HD-LIF, 0.5": "HD-LIF, θ = 0.5",
    "LIF, 0.55": "LIF, θ = 0.55",
    "LIF, 0.65": "LIF, θ = 0.65",
    "LIF, 0.75": "LIF, θ = 0.75",
    "HD-LIF, 0.8": "HD-LIF, θ = 0.8",
    "LIF, 0.85": "LIF, θ = 0.85",
    "HD-LIF, 0.95": "HD-LIF, θ = 0.95",
    "LIF, 1": "LIF, θ = 1",
    "graded LIF": "graded LIF, θ = 0.5",
}


@registered("coherence_thresholds", "coherence_settings")
def thresholds(record: Record) -> str:
    lines = []
    for setting, shown in AT_THRESHOLDS.items():
        rules = setting_of(record, setting)["rules"]
        local, end = rules["sltt"]["local"], rules["sltt"]["end_to_end"]
        shares = [_percent(local[key]) for key in ("firing_rate", "dropped", "wrong")]
        lines.append([shown, *shares, f"{end['cosine']:.4f}", f"{end['norm_ratio']:.3f}", _draws(rules)])
    return table(["network", "firing", "dropped", "wrong", "cosine", "norm ratio", "one draw"], lines)


def setting_of(record: Record, name: str, neuron: str | None = None) -> dict[str, Any]:
    """Of `coherence_settings` a network."""
    (found,) = (network for network in record["settings"][name] if neuron in (None, network["neuron"]))
    return found  # type: ignore[no-any-return]


DETACHED = "LIF, detached reset, untrained"
RULES = {"sltt": "SLTT", "ottt": "OTTT", "ndot": "NDOT"}


def _with_traces(record: Record) -> dict[str, dict[str, Any]]:
    """Untrained and after the last epoch, and other seeds and resets."""
    other = record_of("coherence_settings")
    own = {name(network): network for network in networks(record, "mean_logits") if epochs(network) in (0, LAST)}
    found = {}
    for shown, network in own.items():
        found[shown] = network
        if not network["trained"]:
            found[f"{shown}, seed 1"] = setting_of(other, "seed 1", network["neuron"])
    return found | {DETACHED: setting_of(other, "detached reset")}


@registered("coherence_traces", "coherence")
def traces(record: Record) -> str:
    lines = []
    for shown, network in _with_traces(record).items():
        ends = [network["rules"][rule]["end_to_end"] for rule in RULES]
        both = [f"{end['cosine']:.4f}, {end['norm_ratio']:.3f}" for end in ends]
        lines.append([shown, f"{ends[0]['firing_rate']:.1%}", *both])
    return table(["cosine, norm ratio", "firing", *RULES.values()], lines)


@registered("coherence_traces_layers", "coherence")
def traces_layers(record: Record) -> str:
    lines = []
    for shown, network in _with_traces(record).items():
        if "seed" in shown:
            continue
        for rule, called in RULES.items():
            of_rule = network["rules"][rule]
            # The classifier has no trace.
            ends, stem = of_rule["synapses"]["end_to_end"][:-1], of_rule["first_layer"]
            lines.append(
                [shown, called, *_ranges(of_rule["synapses"]["local"]), *_ranges(ends), f"{stem['cosine']:.4f}",
                 f"{stem['norm_ratio']:.3f}"]
            )  # fmt: skip
    head = ["network", "rule", "local: cosine", "norm ratio", "end to end", "norm ratio", "stem", "norm ratio"]
    return table(head, lines)


def _ranges(layers: Iterable[dict[str, float]]) -> tuple[str, str]:
    """From the least to the most of cosines, and of norm ratios."""
    # What no neuron follows has no local figure.
    cosines, ratios = ([layer[key] for layer in layers if layer[key] is not None] for key in ("cosine", "norm_ratio"))
    return f"{min(cosines):.4f} … {max(cosines):.4f}", f"{min(ratios):.2f} … {max(ratios):.2f}"


def _draws(rules: dict[str, Any]) -> str:
    drawn = rules["stochastic_step"]["draws"]
    return f"{min(drawn):.3f} … {max(drawn):.3f}"
