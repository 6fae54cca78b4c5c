"""The runtime compared with other engines, on every target, and as a server."""

from figures.markdown import megabytes, table
from figures.registry import Record
from figures.registry import table as registered
from hdlif.report.engine_times import EARLY, TWIN

ENGINES = {
    "hdlif": "hdlif",
    "openvino_int8": "OpenVINO INT8",
    "openvino": "OpenVINO as it comes",
    "openvino_f32": "OpenVINO float32",
    "onnxruntime_int8": "ONNX Runtime INT8",
    "onnxruntime": "ONNX Runtime float32",
    "torch": "PyTorch",
}


def _engine(name: str) -> str:
    engine = ENGINES[name.removeprefix(TWIN).removesuffix(EARLY)]
    return f"{engine}, early exit" if name.endswith(EARLY) else engine


def _milliseconds(ms: Record) -> str:
    return f"{ms['median']:.2f} ({ms['min']:.2f} to {ms['max']:.2f})"


@registered("runtime_speed", "runtime")
def _(record: Record) -> str:
    lines = []
    for name, engine in record["engines"].items():
        energy = engine["energy_uj"]["honest"]
        lines.append(
            ["ordinary" if name.startswith(TWIN) else "spiking", _engine(name), f"{100 * engine['accuracy']:.1f}",
             _milliseconds(engine["one_thread_ms"]), _milliseconds(engine["latency_ms"]), f"{engine['ratio']:.2f}",
             f"{engine['throughput_per_s']:.0f}", f"{engine['throughput_ratio']:.2f}",
             "" if energy is None else f"{energy:,.0f}"]
        )  # fmt: skip
    header = [
        "network",
        "engine",
        "accuracy %",
        "ms, one thread",
        "ms, two threads",
        "ratio",
        "images/s",
        "ratio",
        "µJ",
    ]
    return table(header, lines)


@registered("runtime_size", "runtime")
def _(record: Record) -> str:
    lines = []
    for name, engine in record["engines"].items():
        if name.endswith(EARLY):
            continue
        same = f"{engine['agreement']:.1%}".replace("%", " %").replace("100.0", "100")
        lines.append(
            ["ordinary" if name.startswith(TWIN) else "spiking", _engine(name), same,
             megabytes(engine["file_bytes"], ".2f"), megabytes(engine["resident_bytes"]),
             f"{engine['start_seconds']:.2f}"]
        )  # fmt: skip
    return table(["network", "engine", "same class", "file, MB", "resident, MB", "start to first answer, s"], lines)


@registered("runtime_layers", "runtime")
def _(record: Record) -> str:
    parts: dict[str, list[dict[str, float]]] = {}
    for layer in record["layers"]:
        name = layer["name"]
        stage = "stem, once" if name.startswith("stem") else name.split(".")[1] if "stage" in name else name
        stage = stage.replace("stage", "stage ")
        if "shortcut" in name:
            stage = "1x1 shortcuts, real inputs"
        parts.setdefault(stage, []).append(layer)
    total = sum(layer["ms"] for layer in record["layers"])
    lines = []
    # Shortcuts stand in several stages.
    for stage, layers in sorted(parts.items(), key=lambda part: part[0][0].isdigit()):
        ms, macs = sum(layer["ms"] for layer in layers), sum(layer["macs"] for layer in layers)
        if macs and ms >= 0.02:
            lines.append([stage, f"{ms:.2f}", f"{ms / total:.0%}", f"{macs / 1e6:.3g}", f"{macs / ms / 1e6:,.0f}"])
    return table(["part", "ms", "of the time", "dense M MACs", "dense-equivalent GMAC/s"], lines)


@registered("targets", "targets")
def _(record: Record) -> str:
    names = {
        "onnxruntime": "ONNX Runtime",
        "openvino": "OpenVINO",
        "float, cortex-m": "float32, Cortex-M",
        "fixed, cortex-m": "fixed point, Cortex-M",
        "0plus-mps2": "0+",
    }
    lines = []
    for row in record["rows"]:
        target = row["target"]
        for key, name in names.items():
            target = target.replace(key, name)
        outputs = row["outputs"].replace("the same answer", "the same classes").split(", off by")[0]
        outputs = "bit for bit" if outputs == "bits" else outputs.replace("its oracle's bits", "bit for bit")
        time = row.get("time", "").replace("million instructions", "M instructions")
        lines.append([target, f"{row['file']:,}", row.get("memory", ""), time, outputs])
    return table(["target", "file, bytes", "image, RAM without stack", "one sample", "outputs"], lines)


@registered("serving", "serving")
def _(record: Record) -> str:
    phases = {
        "paced": "a step every 2 s of each stream",
        "saturated": "each stream as fast as it is answered",
        "whole": "16 connections, whole inputs",
    }
    lines = []
    for phase, what in phases.items():
        found = record[phase]
        ms = [_ms(found["ms"][p]) for p in ("p50", "p95", "p99")]
        lines.append([what, f"{found['answered'] / found['seconds']:,.0f}", *ms])
    return table(["phase", "requests/s", "p50, ms", "p95", "p99"], lines)


@registered("stream", "stream")
def stream(record: Record) -> str:
    """The least and the most of the runs."""
    runs = record["networks"]

    def of(way: str, what: str, points: tuple[str, ...], factor: float, form: str) -> list[str]:
        found = []
        for of_network in runs.values():
            values = [
                [factor * (one[way][what][p] if points[0] else one[way][what]) for p in points] for one in of_network
            ]
            spans = [(min(at), max(at)) for at in zip(*values, strict=True)]
            found.append(", ".join(f"{low:{form}} to {high:{form}}" for low, high in spans))
        return found

    every, ends = ("p50", "p95", "p99"), ("p50", "p99")
    rows = {
        "last sample to answer, µs: p50, p95, p99": of("apart", "sample_to_answer", every, 1, ".0f"),
        "a step pushed, µs: p50, p99": of("apart", "push", ends, 1, ".0f"),
        "of a core, %": of("apart", "share_of_a_core", ("",), 100, ".2f"),
        "the same, eight overlapping windows": of("overlapping_by_7_of_8", "share_of_a_core", ("",), 100, ".2f"),
        "the command, of a core, %": of("command", "share_of_a_core", ("",), 100, ".2f"),
        "the command, read to answer, ms: p50, p99": of("command", "as_it_says", ends, 1e-3, ".2f"),
        "the command, pipe to line, ms: p50, p99": of("command", "write_to_line", ends, 1e-3, ".2f"),
    }
    names = [f"`{name.split('.')[0]}`" for name in runs]
    return table(["", *names], [[name, *cells] for name, cells in rows.items()])


def _ms(value: float) -> str:
    """With two digits at least."""
    return f"{value:,.{2 if value < 1 else 1 if value < 100 else 0}f}"
