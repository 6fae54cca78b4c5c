"""Results as plain text: aligned columns, no dependency."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hdlif.errors import printable

if TYPE_CHECKING:
    from hdlif.commands.sweep import SweepResult, TrialResult
    from hdlif.recipe.runs.summary import TrainResult

TITLES = {
    "lif": "LIF fp32",
    "hdlif": "HD-LIF fp32",
    "hdlif_w1p5_s4": "HD-LIF 1.5-bit, 4-bit spikes",
    "hdlif_w1p5_s4_parallel": "… half parallel",
}


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)) -> str:
    """Columns padded to their widest cell, those of `left` to the left, others to the right; each cell in one line."""
    header, rows = [printable(cell) for cell in header], [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = (
            cell.ljust(w) if i in left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def figure(value: float | None, form: str, factor: float = 1.0) -> str:
    """A number times `factor`, or a dash where there is none.

    >>> figure(1234.5, ",.1f"), figure(None, ",.1f")
    ('1,234.5', '—')
    """
    return "—" if value is None else format(value * factor, form)


def networks_table(networks: Sequence[TrainResult]) -> str:
    """One row a network: the paper's ablation on the data at hand."""
    metrics = list(dict.fromkeys(name for n in networks for name in n.beside_accuracy))
    classified = any(n.accuracy is not None for n in networks)
    header = [
        "network",
        *(["accuracy"] if classified else []),
        *metrics,
        "MB published",
        "MB stored",
        "SOPs (M)",
        "NOPs (M)",
        "energy (µJ)",
        "honest (µJ)",
        "seconds",
        "peak (MB)",
    ]
    rows = [
        [
            TITLES.get(n.name, n.name),
            *([figure(n.accuracy, ".2%")] if classified else []),
            *(figure(n.beside_accuracy.get(name), ".4g") for name in metrics),
            figure(n.params_mb, ".4f"),
            figure(n.stored_mb, ".4f"),
            figure(n.sops, ".3f", 1e-6),
            figure(n.nops, ".3f", 1e-6),
            figure(n.energy_mj, ".3f", 1e3),
            figure(n.energy_mj_honest, ".3f", 1e3),
            figure(n.train_seconds, ".1f"),
            figure(n.peak_bytes, ".1f", 1e-6),
        ]
        for n in networks
    ]
    return aligned(header, rows)


def evaluation_text(result: Mapping[str, Any]) -> str:
    """Accuracy after each step, or some of many; where the confusion was asked for, a row for each true class.

    Where it was asked what answering early costs, a row for each threshold.
    """
    figures = ", ".join(f"{name} {figure(value, '.4g')}" for name, value in _beside_accuracy(result).items())
    if result["accuracy"] is None:
        text = f"{figures} of {result['n']} samples"
        return text if "confusion" not in result else f"{text}\n\n{_confusion(result)}"
    text = f"{result['accuracy']:.2%} of {result['n']} samples (after {_steps(result['accuracy_per_step'])})"
    text += f"; {figures}" if figures else ""
    text += f"\n\n{_early(result['early'])}" if "early" in result else ""
    return text if "confusion" not in result else f"{text}\n\n{_confusion(result)}"


def _beside_accuracy(figures: Mapping[str, Any]) -> Mapping[str, float | None]:
    """The metrics of one number; of a classification without its accuracy, which stands for itself."""
    metrics: Mapping[str, float | None] = figures.get("metrics", {})
    own = set() if figures["accuracy"] is None else {"accuracy"}
    # One for each output would be a table of its own.
    own |= {name for names in figures.get("parts", {}).values() for name in names}
    return {name: value for name, value in metrics.items() if name not in own}


_MOST_STEPS = 8
"""Time steps of which each is listed."""


def _steps(accuracies: Sequence[float]) -> str:
    """Accuracy after each step; of many the first, some between, and the last.

    >>> _steps([0.5, 0.75])
    'each step: 50.00%, 75.00%'
    >>> _steps([t / 64 for t in range(1, 65)])
    'step 1: 1.56%, 17: 26.56%, 33: 51.56%, 48: 75.00%, 64: 100.00%'
    """
    last = len(accuracies) - 1
    if last < _MOST_STEPS:
        return f"each step: {', '.join(f'{accuracy:.2%}' for accuracy in accuracies)}"
    chosen = [round(quarter * last / 4) for quarter in range(5)]
    return f"step {', '.join(f'{step + 1}: {accuracies[step]:.2%}' for step in chosen)}"


def _early(early: Mapping[str, Any]) -> str:
    rows = [
        [f"{confidence:g}", f"{steps:.2f}", f"{accuracy:.2%}"]
        for confidence, steps, accuracy in zip(early["confidence"], early["steps"], early["accuracy"], strict=True)
    ]
    return aligned(["answered from probability", f"steps of {early['time_steps']}", "accuracy"], rows)


def _confusion(result: Mapping[str, Any]) -> str:
    labels = result["labels"]
    rows = [
        [label, *("·" if count == 0 else str(count) for count in counts), "—" if right is None else f"{right:.2%}"]
        for label, counts, right in zip(labels, result["confusion"], result["accuracy_per_class"], strict=True)
    ]
    return aligned(["true, chosen:", *labels, "accuracy"], rows)


def measured(result: TrainResult, *, digits: int = 2) -> str:
    """What a training is on the test set: its accuracy with so many digits, or the metric of its task."""
    if result.accuracy is not None:
        return f"{result.accuracy:.{digits}%}"
    metric = result.metric or ""
    return f"{metric} {figure((result.metrics or {}).get(metric), '.4g')}"


def score(validated: TrainResult | TrialResult) -> str:
    """What a training, or a trial, is on the validation set: what its best epoch is chosen by."""
    accuracy, metrics = validated.validation_accuracy, validated.validation_metrics or {}
    if accuracy is not None and accuracy == validated.validation_score:
        return f"{accuracy:.2%}"
    if (metric := validated.metric) is not None and metric in metrics:
        return f"{metric} {figure(metrics[metric], '.4g')}"
    return figure(validated.validation_score, ".4g")


def trials_table(result: SweepResult) -> str:
    """What `hdlif sweep` found: one row a trial, the best first, and how to train the best again."""

    def rank(trial: TrialResult) -> tuple[bool, float]:
        score = trial.validation_score
        return trial.state != "complete", math.inf if score is None else -score

    trials = sorted(result.trials, key=rank)
    keys = list(dict.fromkeys(key for trial in trials for key in trial.parameters))
    rows = [
        [
            str(trial.number),
            trial.state,
            score(trial),
            str(trial.epochs),
            *(_parameter(trial.parameters.get(key)) for key in keys),
        ]
        for trial in trials
    ]
    table = aligned(["trial", "state", "validation", "epochs", *keys], rows)
    if (best := result.best) is None:
        return f"{table}\n\nno trial is complete"
    settings = " ".join(f"--set {shlex.quote(setting)}" for setting in result.overrides)
    return f"{table}\n\nbest, in {best.folder}: {settings}"


def _parameter(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)


def layers_table(profile: Mapping[str, Any]) -> str:
    """One row a layer, a total, the published count with low-bit weights as they are packed, and the notes."""
    header = ["layer", "kind", "shape", "MB published", "MB stored", "SOPs", "NOPs", "energy (nJ)", "density"]
    rows = [
        [
            layer["name"],
            layer["kind"],
            "x".join(map(str, layer["shape"])),
            *_counted(layer),
            "" if layer["density"] is None else f"{layer['density']:.1%}",
        ]
        for layer in profile["layers"]
    ]
    packed = f"published count, packed: {figure(profile['packed_mb'], '.6f')} MB"
    table = aligned(header, [*rows, ["total", "", "", *_counted(profile), ""]])
    return "\n".join([table, "", packed, *(f"note: {note}" for note in profile["notes"])])


def _counted(row: Mapping[str, Any]) -> list[str]:
    """The cells of a layer or of the total that are sums."""
    sizes = [figure(row[key], ".6f") for key in ("params_mb", "stored_mb")]
    operations = [figure(row[key], ",.0f") for key in ("sops", "nops")]
    return [*sizes, *operations, figure(row["energy_mj"], ",.1f", 1e6)]


def training_table(profile: Mapping[str, Any]) -> str:
    """One row a layer, what belongs to none, and the whole update."""
    header = ["layer", "kind", "forward, ms", "backward, ms", "kept for backward, MB", "computed by"]
    rows = [
        [
            layer["name"],
            layer["kind"],
            f"{layer['forward_ms']:.2f}",
            f"{layer['backward_ms']:.2f}",
            f"{layer['saved_bytes'] / 1e6:.2f}",
            layer["path"],
        ]
        for layer in profile["layers"]
    ]
    forward, backward = (sum(layer[f"{way}_ms"] for layer in profile["layers"]) for way in ("forward", "backward"))
    rows.append(["all layers", "", f"{forward:.2f}", f"{backward:.2f}", "", ""])
    rest = {
        "quantising weights": "weights_ms",
        "optimiser": "optimizer_ms",
        "between layers": "other_ms",
        "Python": "python_ms",
    }
    least, most = profile["update_ms_range"]
    return "\n".join(
        [
            aligned(header, rows, left=(0, 1, 5)),
            "",
            *(f"{what}: {profile[key]:.2f} ms" for what, key in rest.items()),
            f"an update: {profile['update_ms']:.2f} ms ({least:.2f} to {most:.2f}); {profile['rule']}, "
            f"{profile['time_steps']} time steps, batch of {profile['batch_size']}, {profile['threads']} threads",
        ]
    )


def engines_table(result: Mapping[str, Any]) -> str:
    """What `hdlif bench` measured: one row an engine, then one a stage of ours."""
    header = ["engine", "ms", "min–max", "ratio", "images/s", "ratio", "agreement", "Δ logits"]
    header += ["file (MB)", "resident (MB)", "peak (MB)", "start (s)"]
    rows = []
    for name, engine in result["engines"].items():
        row = [name]
        if "latency_ms" in engine:
            latency = engine["latency_ms"]
            row += [f"{latency['median']:.2f}", f"{latency['min']:.2f}–{latency['max']:.2f}", f"{engine['ratio']:.2f}"]
            row += [f"{engine['throughput_per_s']:.1f}", f"{engine['throughput_ratio']:.2f}"]
        else:
            row += ["disagrees", *[""] * 4]
        row += [f"{engine['agreement']:.2%}", f"{engine['max_logit_difference']:.1e}"]
        row += [_mb(engine.get(key)) for key in ("file_bytes", "resident_bytes", "peak_resident_bytes")]
        row.append(f"{engine['start_seconds']:.2f}" if "start_seconds" in engine else "")
        rows.append(row)
    cpu = result["hardware"]["cpu"]
    vnni = "with" if any("vnni" in name for name in result["hardware"]["instruction_sets"]) else "without"
    lines = [
        f"{result['threads']} threads, {cpu} {vnni} VNNI, ours on {result['instructions']}; {result['images']}",
        f"ms: one image; images/s: {result['batch']} at once; a ratio is the engine's time over ours",
        "",
        aligned(header, rows),
        "",
        stages_table(result["layers"]),
    ]
    return "\n".join(lines)


def stages_table(layers: Sequence[Mapping[str, Any]]) -> str:
    """One row a stage: its time, and what a dense engine would have computed in it."""
    header = ["stage", "op", "ms", "density", "M MACs", "dense GMAC/s"]
    rows = [
        [
            layer["name"],
            layer["op"],
            f"{layer['ms']:.3f}",
            "" if layer["density"] is None else f"{layer['density']:.1%}",
            f"{layer['macs'] / 1e6:.2f}" if layer["macs"] else "",
            "" if layer["dense_gmacs_per_s"] is None else f"{layer['dense_gmacs_per_s']:.0f}",
        ]
        for layer in layers
    ]
    seconds, macs = sum(layer["ms"] for layer in layers) / 1e3, sum(layer["macs"] for layer in layers)
    total = ["total", "", f"{1e3 * seconds:.3f}", "", f"{macs / 1e6:.2f}", f"{macs / seconds / 1e9:.0f}"]
    return aligned(header, [*rows, total])


def _mb(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.2f}"
