"""Compare networks that find boxes and masks."""

from statistics import mean

from figures import records
from figures.markdown import megabytes, table
from figures.registry import Record
from figures.registry import table as registered


def _points(low: float, high: float) -> str:
    return f"{100 * low:+.1f} to {100 * high:+.1f}"


def _networks(record: Record, others: dict[str, str]) -> str:
    """The networks of a record, with other metrics than AP50 by their heads."""
    found = record["networks"]
    first = next(iter(found))
    heads = [
        "network",
        "T",
        "AP50 %",
        "95 %",
        f"points vs. {first}",
        *others.values(),
        "file (kB)",
        "ms, 1 / 2 threads",
        "training (min)",
    ]
    lines = [
        [
            name,
            f"{one['time_steps']}",
            f"{100 * one['metrics']['ap50']:.1f}",
            "{:.1f} to {:.1f}".format(*(100 * value for value in one["interval"])),
            "" if name == first else _points(*one["difference_interval"]),
            *(f"{100 * one['metrics'][key]:.1f}" for key in others),
            f"{one['file_bytes'] / 1e3:,.0f}",
            " / ".join(f"{one['ms'][threads]['median']:.1f}" for threads in ("1", "2")),
            f"{one['train_seconds'] / 60:.0f}",
        ]
        for name, one in found.items()
    ]
    return table(heads, lines)


@registered("places_boxes", "places_bccd")
@registered("places_boxes_all", "places_bccd_all")
def _boxes(record: Record) -> str:
    return _networks(record, {})


@registered("places_masks", "places_nuclei")
def _masks(record: Record) -> str:
    return _networks(record, {"iou": "IoU %"})


RULES = {
    "bccd": "HD-LIF, random step",
    "bccd_stbp": "HD-LIF, STBP",
    "bccd_w1p5_s4": "HD-LIF, 1.5-bit weights, 4-bit spikes, random step",
    "bccd_sltt": "HD-LIF, SLTT",
    "bccd_parallel": "Parallel, random step",
    "bccd_one_step": "HD-LIF, one time step",
    "bccd_w4_s4_all": "HD-LIF, 4-bit weights and spikes, random step, also trained on validation",
    "bccd_parallel_w4_s4_all": "Parallel, 4-bit weights and spikes, random step, also trained on validation",
    "bccd_parallel_w8_s4_all": "Parallel, 8-bit weights, 4-bit spikes, random step, also trained on validation",
    "bccd_relu_all": "ReLU, one time step, also trained on validation",
    "bccd_lif": "LIF, random step",
}
"""Arms of `benchmarks/experiments.yaml` on bccd, as they are called in the table."""


@registered("places_rules", None)
def _rules(record: Record) -> str:
    lines = []
    for arm, shown in RULES.items():
        if found := records.of_arm(arm).values():
            scores = [100 * one["metrics"]["ap50"] for one in found]
            least = "" if len(found) == 1 else f"{min(scores):.1f} to {max(scores):.1f}"
            # Other work makes a training slower, so that the fastest says most.
            minutes = min(one["train_seconds"] for one in found) / 60
            peak = megabytes(mean(one["peak_bytes"] for one in found))
            lines.append([shown, str(len(found)), f"{mean(scores):.1f}", least, f"{minutes:.0f}", peak])
    heads = ["network, rule", "seeds", "AP50 %, mean", "least to most", "fastest training (min)", "peak, MB"]
    return table(heads, lines)


MOVING = {
    "moving_bccd": "random step",
    "moving_bccd_stbp": "STBP",
    "moving_bccd_stateless": "random step, neurons without memory",
}
"""Arms on frames that move."""


@registered("places_moving", None)
def _moving(record: Record) -> str:
    lines = []
    for arm, shown in MOVING.items():
        for found in records.of_arm(arm).values():
            steps = " ".join(f"{100 * score:.0f}" for score in found["per_step"])
            minutes, peak = f"{found['train_seconds'] / 60:.0f}", megabytes(found["peak_bytes"])
            lines.append([shown, f"{100 * found['metrics']['ap50']:.1f}", steps, minutes, peak])
    return table(["HD-LIF with", "AP50 %", "at each step", "training (min)", "peak, MB"], lines)
