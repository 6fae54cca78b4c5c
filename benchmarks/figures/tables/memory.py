"""Peak memory against the number of time steps, of streams, and against depth."""

from figures.markdown import MISSING, megabytes, spread, table
from figures.registry import Record
from figures.registry import table as registered


def _growth(peaks: dict[str, int | None], start: int = 1) -> str:
    known = [peak for steps, peak in peaks.items() if peak is not None and int(steps) >= start]
    return f"{max(known) / min(known):.3f}"


@registered("training_memory", "training_memory")
def _(record: Record) -> str:
    steps = record["time_steps"].split(",")
    lines = [[rule, *(megabytes(of[t]) for t in steps), _growth(of)] for rule, of in record["peak_bytes"].items()]
    return table(["peak, MB", *(f"T = {t}" for t in steps), "largest / smallest"], lines)


@registered("memory_curve", "memory_curve")
def _(record: Record) -> str:
    steps = [str(t) for t in record["time_steps"]]
    lines = []
    for rule, peaks in record["peak_bytes"].items():
        cells = [MISSING if peaks.get(t) is None else megabytes(peaks[t]) for t in steps]
        lines.append([rule, *cells, _growth(peaks, 2) if "STBP" not in rule else ""])
    laws = {"random step, SLTT": "random step", "STBP": "STBP"}
    for name, rule in laws.items():
        law = record["law_bytes"][rule]
        parts = ("optimiser", "saved", "state")
        lines.append(
            [f"law: {name}", *(megabytes(sum(law[t][p] for p in parts)) if t in law else "" for t in steps), ""]
        )
    return table(["peak, MB; T =", *steps, "growth"], lines)


@registered("memory_series", "memory_series")
def _(record: Record) -> str:
    steps = [str(t) for t in record["time_steps"]]
    lines = []
    for rule, peaks in record["peak_bytes"].items():
        law = record["law_bytes"].get(rule, {}).get("64")
        saved = f"{law['saved'] / 1e6:.3g}" if law else ""
        lines.append([rule, *(megabytes(peaks[t]) for t in steps), _growth(peaks), saved])
    return table(["peak, MB; T =", *steps, "largest / smallest", "saved, T = 64"], lines)


@registered("memory_series_chunks", "memory_series_chunks")
def _(record: Record) -> str:
    steps = [str(t) for t in record["time_steps"]]
    lines = [[rule, *(megabytes(peaks[t]) for t in steps)] for rule, peaks in record["peak_bytes"].items()]
    return table(["peak, MB; T =", *steps], lines)


@registered("stream_memory", "stream_memory")
def _(record: Record) -> str:
    lines = []
    for rule, found in record["rules"].items():
        above = {int(steps): resident - found["before"] for steps, resident in found["resident"].items()}
        most = max(above.values())
        growth = most / above[1000] - 1
        lines.append([f"`{rule}`", megabytes(above[1000], ".2f"), megabytes(most, ".2f"), f"{growth:.1%}"])
    return table(["rule", "MB after 1,000 steps", "the most up to 1,000,000", "growth"], lines)


@registered("depth_saved", "depth")
def _(record: Record) -> str:
    return _by_depth(record, "saved_bytes", "saved, MB; blocks =", ".3f")


@registered("depth_peak", "depth")
def _(record: Record) -> str:
    return _by_depth(record, "peak_bytes", "peak, MB; blocks =", ".1f")


@registered("depth_time", "depth")
def _(record: Record) -> str:
    times = record["times"]["reversible"]
    return table(["blocks", "time / with graphs kept"], [[blocks, spread(of, ".2f")] for blocks, of in times.items()])


def _by_depth(record: Record, what: str, head: str, form: str) -> str:
    depths = [str(depth) for depth in record["depths"]]
    names = {"graphs kept": "reversible, graphs kept"}
    lines = [
        [names.get(name, name), *(megabytes(of[d], form) for d in depths), _growth(of)]
        for name, of in record[what].items()
    ]
    return table([head, *depths, "largest / smallest"], lines)


@registered("training_resnet18_memory", "training_resnet18_memory")
def _(record: Record) -> str:
    found: dict[str, dict[int, int]] = {}
    for cell in record["cells"]:
        found.setdefault(cell["row"], {})[cell["time_steps"]] = cell["peak_bytes"]
    lines = [[row, *(megabytes(of[t], ",.0f") for t in record["time_steps"])] for row, of in found.items()]
    return table(["peak, MB", *(f"T = {t}" for t in record["time_steps"])], lines)
