"""Networks that find boxes and masks, beside one another."""

from figures.markdown import table
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
        f"points beside {first}",
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
def _boxes(record: Record) -> str:
    return _networks(record, {})


@registered("places_masks", "places_nuclei")
def _masks(record: Record) -> str:
    return _networks(record, {"iou": "IoU %"})
