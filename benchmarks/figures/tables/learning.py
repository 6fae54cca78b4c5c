"""What deployed networks gain by learning (`bench_learning.py`), and its cost (the other `bench_learning_*.py`)."""

from statistics import median

from figures.markdown import table
from figures.registry import Record
from figures.registry import table as registered


@registered("learning_people", "learning_people")
@registered("learning_few_people", "learning_few_people")
@registered("learning_few_people_small", "learning_few_people_small")
@registered("learning_speakers", "learning_speakers")
def _people(record: Record) -> str:
    lines = []
    for arm, row in record["summary"].items():
        line = [arm]
        for key in ("accuracy", "others"):
            line.append(f"{100 * row[key]:.1f}")
            gain, half = 100 * row[f"{key}_gain"], 100 * row[f"{key}_gain_interval"]
            line.append("" if arm == "none" else f"{gain:+.1f} ± {half:.1f}")
        lines.append(line)
    return table(["learned", "accuracy %", "gain", "others %", "gain"], lines)


@registered("learning_drift", "learning_drift")
def _drift(record: Record) -> str:
    lines = []
    for arm, row in record["summary"].items():
        gain = f"{100 * row['gain']:+.1f} ± {100 * row['gain_interval']:.1f}"
        lines.append([arm, *(f"{100 * one:.1f}" for one in row["accuracy"]), "" if arm == "none" else gain])
    return table(["learned", *(f"quarter {n}, %" for n in range(1, 5)), "gain in the last"], lines)


@registered("learning_words", "learning_words")
def _words(record: Record) -> str:
    lines = []
    for arm, row in record["summary"].items():
        if arm != "before":
            shown = [f"{100 * row[part]['mean']:.1f} ± {100 * row[part]['interval']:.1f}" for part in ("old", "new")]
            lines.append([*arm.split(", ", 1), *shown])
    return table(["examples", "learned", "old words %", "new words %"], lines)


@registered("learning_devices", "learning_devices")
def _(record: Record) -> str:
    lines = []
    for level, row in record["levels"].items():
        name = "`classifier`, fixed point" if level == "fixed" else f"`{level}`"
        line = [name, f"{row['trained']:,}", f"{row['ram_bytes'] / 1024:.1f}"]
        for device in ("cortex-m0plus-mps2", "cortex-m4", "cortex-m55"):
            line += [f"{row[device][key] / 1000:,.0f}" for key in ("learning_step", "update")]
        lines.append(line)
    heads = [f"{device}: {what}" for device in ("M0+", "M4", "M55") for what in ("step", "update")]
    return table(["level", "trained", "RAM, KiB", *heads], lines)


@registered("learning_time", "learning_time")
def _(record: Record) -> str:
    lines = []
    for steps, row in record["steps"].items():
        times = [f"{median(row['ms'][name]):.1f}" for name in ("classifier", "affine", "last-block", "STBP")]
        sizes = [f"{row['bytes'][name] / 1e6:.1f}" for name in ("last-block", "STBP")]
        lines.append([steps, *times, *sizes])
    heads = ["steps", "`classifier`, ms", "`affine`, ms", "`last-block`, ms", "STBP, ms"]
    return table([*heads, "`last-block`, MB", "STBP, MB"], lines)
