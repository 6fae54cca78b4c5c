"""Peak memory against the number of time steps."""

from figures.markdown import MISSING, megabytes, table
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
