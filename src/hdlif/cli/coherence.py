"""Implement `hdlif coherence`, which compares gradients of learning rules with STBP gradients."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from hdlif import run_folder
from hdlif.cli.names import RECIPE
from hdlif.cli.options import DataRoot, Settings, Threads, argument, subcommand
from hdlif.report.tables import aligned

LOSSES = {
    "mean_logits": "cross-entropy of the mean of the logits",
    "per_step": "mean of the cross-entropies of all steps",
    "as_trained": "STBP on the mean of the logits, the rule on every step",
}

Result = Mapping[str, Any]


def coherence(
    targets: Annotated[Sequence[str], argument(nargs=-1, required=True, type=RECIPE)],
    *,
    overrides: Settings = (),
    batches: int = 2,
    data_root: DataRoot = None,
    threads: Threads = None,
    out: Path | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Compare the gradient of each learning rule with the STBP gradient for TARGETS, which are recipes or checkpoints.

    For a recipe, `hdlif coherence` uses untrained networks with the same weights but different neurons: the recipe's
    own neuron, LIF and HD-LIF. Give several checkpoints of one run to see how coherence changes during training.

    Args:
        overrides: Replace one value of each recipe; repeatable.
        batches: Training batches to compare on.
        threads: Threads of the comparison; auto measures which number is fastest.  [default: PyTorch's own number]
        out: Folder for coherence.json; in a run folder, the report then includes it.
    """
    from hdlif.recipe.runs.files import write_json
    from hdlif.report.rule_gradients import coherence as compare

    root = None if data_root is None else Path(data_root)
    result = compare(targets, overrides=overrides, batches=batches, data_root=root, threads=threads, progress=progress)
    if out is not None:
        write_json(out / run_folder.COHERENCE, result)
    return result


def as_text(networks: Sequence[Result]) -> str:
    """Format the entries of coherence.json as text."""
    samples = sorted({f"{network['images']} samples with T = {network['time_steps']}" for network in networks})
    parts = [f"Gradients of each rule compared with STBP's, on {' and '.join(samples)}, in float64."]
    for network in _of_mean(networks):
        for names, rule in _alike(network):
            parts.append(f"{_label(network)}, {names}: dL/dm of each layer, given STBP's own G\n{_neurons(rule)}")
            parts.append(f"the weight gradients that follow, and those with the rule in all layers\n{_synapses(rule)}")
    parts.append(
        f"The whole network, end to end; a draw is one time step of the random step alone\n{_whole(networks)}\n"
        + "\n".join(f"{name}: {words}" for name, words in LOSSES.items())
    )
    return "\n\n".join([*parts, *_notes(networks), _words(networks)])


def _label(network: Result) -> str:
    return f"{network['target']} {network['neuron']}{'' if network['trained'] else ' (untrained)'}"


def _alike(network: Result) -> list[tuple[str, Result]]:
    """Merge the table rows of learning rules whose printed numbers are identical."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, rule in network["rules"].items():
        layers = [*rule["local"]["layers"], *rule["end_to_end"]["layers"]]
        printed = tuple(_number(layer[key]) for layer in layers for key in ("cosine", "norm_ratio"))
        groups.setdefault(printed, []).append(name)
    return [(" and ".join(names), network["rules"][names[0]]) for names in groups.values()]


def _of_mean(networks: Sequence[Result]) -> list[Result]:
    return [network for network in networks if network["loss"] == "mean_logits"]


def _neurons(rule: Result) -> str:
    header = ["layer", "firing", "equal", "(idle)", "dropped", "wrong", "(opposite)", "cosine", "norm ratio"]
    shares = ("firing_rate", "equal", "idle", "dropped", "wrong", "opposite")
    layers = [*_of_kind(rule["local"], "neuron"), {**rule["local"]["whole"], "name": "all"}]
    return aligned(
        header,
        [
            [
                layer["name"],
                *(_percent(layer[share]) for share in shares),
                _number(layer["cosine"]),
                _number(layer["norm_ratio"]),
            ]
            for layer in layers
        ],
    )


def _synapses(rule: Result) -> str:
    local, ends = _of_kind(rule["local"], "synapse"), _of_kind(rule["end_to_end"], "synapse")
    rows = []
    for layer, end in zip(local, ends, strict=True):
        figures = [row[key] for row in (layer, end) for key in ("cosine", "norm_ratio")]
        rows.append([layer["name"], _percent(layer["firing_rate"]), *map(_number, figures)])
    return aligned(["layer", "inputs ≠ 0", "local cosine", "norm ratio", "end to end", "norm ratio"], rows)


def _whole(networks: Sequence[Result]) -> str:
    rows = []
    for network in networks:
        for name, rule in network["rules"].items():
            end = rule["end_to_end"]
            drawn = [plan["cosine"] for plan in end["plans"] if plan["cosine"] is not None]
            draws = f"{_number(min(drawn))} … {_number(max(drawn))}" if len(drawn) > 1 else ""
            figures = [_percent(end["firing_rate"]), _number(end["cosine"]), _number(end["norm_ratio"])]
            rows.append([_label(network), network["loss"], name, *figures, draws])
        rows += [[_label(network), network["loss"], name, *3 * ["—"], ""] for name in network["refused"]]
    return aligned(["network", "loss", "rule", "firing", "cosine", "norm ratio", "one draw"], rows)


def _notes(networks: Sequence[Result]) -> list[str]:
    """List the distinct reasons why rules cannot train a network."""
    lines = {
        f"{network['target']}, {name}: {why}": None for network in networks for name, why in network["refused"].items()
    }
    return ["\n".join(["—: the rule cannot train this network", *lines])] if lines else []


def _words(networks: Sequence[Result]) -> str:
    lines = [
        "Theorem 4.2: with HD-LIF, given STBP's own G, each entry of dL/dm equals STBP's or is zero. It is never",
        "rescaled and never changes sign. The theorem does not cover leak and threshold, changes of G across layers,",
        "or accuracy. Cosines also depend on the firing rate: compare them at equal rates.",
    ]
    for network in _of_mean(networks):
        rule = next(iter(network["rules"].values()))
        whole, end = rule["local"]["whole"], rule["end_to_end"]
        lines.append(
            f"{_label(network)}: {_percent(whole['equal'])} equal ({_percent(whole['idle'])} zero in both), "
            f"{_percent(whole['dropped'])} dropped, {_percent(whole['wrong'])} wrong, "
            f"at {_percent(whole['firing_rate'])} firing; end to end the cosine is {_number(end['cosine'])}."
        )
    return "\n".join(lines)


def _of_kind(view: Result, kind: str) -> list[Result]:
    return [layer for layer in view["layers"] if layer["kind"] == kind]


def _percent(share: float | None) -> str:
    return "—" if share is None else f"{share:.1%}"


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.4f}"


COMMAND = subcommand(
    coherence,
    ("hdlif coherence digits_hdlif", "a recipe, untrained"),
    (
        "hdlif coherence runs/digits_hdlif_w1p5_s4 --out runs/digits_hdlif_w1p5_s4",
        "a trained network; its report then includes the comparison",
    ),
    text=lambda result: as_text(result["networks"]),
)
