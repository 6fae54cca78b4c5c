"""One long recording in a .csv or .parquet file, cut into windows."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from hdlif.data.columns import LABEL, Tabular, channel_names, rows_of
from hdlif.data.manifest import Sample
from hdlif.data.targets import values_hint
from hdlif.data.value_samples import STRETCH, Recorded, kept_together, of_target, with_next
from hdlif.errors import DataError
from hdlif.inputs.series import windows
from hdlif.inputs.tables import Table


def of_recording(place: Path, request: Tabular, window: int | None, stride: int | None) -> Recorded:
    """Cut a long recording into windows, each of one group, and of one label unless each step has its own.

    Windows may share rows if they are not divided into parts.
    """
    wanted, group = request.wanted, request.group
    if wanted.labels is not None:
        raise DataError(f"{place}: data.labels is of arrays x and y; leave it out of a recording")
    found = rows_of(place, request)
    table = found.table
    if window is None:
        raise DataError(
            f"{place}: is one recording of {len(table.lines):,} rows; say how many of them are a sample: "
            "--set data.window=N"
        )
    # A sample is of one label, or has no label of its own.
    one_label = wanted.one_class
    none = [""] * len(table.lines)
    labels, groups = found.classes if found.classes and one_label else none, found.groups or none
    samples: list[Sample] = []
    longest: Counter[str] = Counter()
    rows = used = 0
    needed = window + (wanted.ahead or 0)
    if not request.shares.whole and not one_label and not group and stride is not None and stride < needed:
        raise DataError(
            f"{place}: windows that share rows would be in two parts; set data.stride={needed} or more, or name a "
            "column of groups with data.group"
        )
    for number, ((of_label, of_group), begin, end) in enumerate(_stretches(labels, groups)):
        longest[of_label] = max(longest[of_label], end - begin)
        starts = windows(end - begin, needed, stride)
        rows += end - begin
        used += starts[-1] + needed if starts else 0
        for start in range(begin + starts.start, begin + starts.stop, starts.step):
            unit = of_group if group else f"{of_label} {number if one_label else start}"
            name, values = lines_of(place.name, table, start, window), table.numbers[start : start + needed]
            if wanted.ahead is not None:
                samples.append(with_next(place, name, unit, values, wanted.ahead))
                continue
            learned = found.learned if found.classes is None else found.classes
            assert learned is not None, "what comes next is all that is not given"
            target = learned[start : start + window] if wanted.each_step else learned[start + window - 1]
            samples.append(of_target(name, unit, values, target, wanted))
    present = {one.label for one in samples}
    for name, most in longest.items():
        if name not in present:
            raise DataError(
                f'{place}: class "{name}" has at most {most} rows one after another{" of one group" if group else ""}, '
                f"and data.window = {window}; {values_hint(labels, request.label or LABEL) or 'lower it'}"
            )
    unused = {"rows": rows - used} if rows > used else {}
    return Recorded(
        f"a recording{found.words}",
        kept_together(group, STRETCH if one_label else "window"),
        samples,
        grouped=group is not None,
        channels=table.names,
        ignored=unused,
        windows=(window, stride or needed),
        seen={"window": window, "stride": stride or needed},
        names=channel_names(table) if wanted.ahead is not None else (),
    )


def _stretches(labels: Sequence[str], groups: Sequence[str]) -> Iterator[tuple[tuple[str, str], int, int]]:
    """Yield label and group of each run of rows that has one of each, where it begins, and where it ends."""
    begin = 0
    for key, rows in groupby(zip(labels, groups, strict=True)):
        end = begin + sum(1 for _ in rows)
        yield key, begin, end
        begin = end


def lines_of(file: str, table: Table, begin: int, window: int) -> str:
    """Name a window by its file and lines."""
    return f"{file}:{table.lines[begin]}-{table.lines[begin + window - 1]}"
