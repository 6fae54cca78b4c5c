"""Format the text output of `hdlif data inspect`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hdlif.errors import cut
from hdlif.report.tables import aligned

_MOST_FILES = 10
"""Maximum number of odd files that are listed."""
_MOST_SHOWN = 64
"""Maximum number of values or labels that are listed with their ranges or counts."""
_RARE = 5
"""Factor by which another class must have more samples for a class to be reported as rare."""
_EVEN = "task={kind: classify, class_weights: balanced, metrics: [balanced_accuracy], best: balanced_accuracy}"
"""Settings that give all classes the same weight."""
_ALSO_TRAINED = (
    "Validation samples are too few to choose an epoch; without a recipe, `hdlif train` also trains on them."
)
PARTS = ("train", "validation", "test")


def as_text(result: dict[str, Any]) -> str:
    """Format the description of the user's own data as text."""
    if "arguments" in result:
        return shipped_as_text(result)
    samples = result["samples_of"]
    split = ", ".join(
        f"{key} {' and '.join(value) if isinstance(value, list) else value}" for key, value in result["split"].items()
    )
    digits = ".4g" if samples in ("series", "table") else ".4f"
    mean, std = (", ".join(f"{value:{digits}}" for value in result["input"][key]) for key in ("mean", "std"))
    moments = [] if samples == "events" else [f"mean           {mean}", f"deviation      {std}"]
    ignored = ", ".join(f"{count} {what}" for what, count in result["ignored"].items())
    return "\n".join(
        [
            f"{result['path']}: {result['layout']}" + (f", split here ({split})" if split else ""),
            "",
            _counts(result["classes"], "class", total=True),
            *([_ALSO_TRAINED] if result["trains_on_validation"] else []),
            "",
            *_SAID[samples](result),
            *moments,
            *([f"other files    {ignored}"] if ignored else []),
            *_odd_files(result),
            *([f"sheet          {result['sheet']}, {result['sheet_rows']}"] if "sheet" in result else []),
            *(_of_target(result["target"]) if "target" in result else _rare_classes(result["classes"])),
            *persistence_lines(result),
            *(f"warning        {line}" for line in result["warnings"]),
        ]
    )


def _of_target(target: Mapping[str, Any]) -> list[str]:
    """Format the description of a target other than one class per sample, with counts or ranges of its values."""
    names = target["names"]
    shown = names[:_MOST_SHOWN]
    if "counts" in target:
        table = _counts({name: target["counts"][name] for name in shown})
    else:
        columns = ([f"{value:.4g}" for value in target[key]] for key in ("least", "most", "mean", "std"))
        rows = [[cut(name), *row] for name, *row in zip(names, *columns, strict=True)][:_MOST_SHOWN]
        table = aligned(["", "least", "most", "mean", "deviation"], rows)
    more = [f"and {len(names) - len(shown)} more"] if len(names) > len(shown) else []
    return [f"learned        {cut(', '.join(names), 200)}", "", table, *more]


def _of_pictures(result: dict[str, Any]) -> list[str]:
    """Format the sizes and modes of images, and the network input made from them."""
    seen, sizes = result["input"], result["sizes"]
    channels, height, width = seen["shape"]
    smallest, largest = ("x".join(map(str, sizes[key])) for key in ("smallest", "largest"))
    one_size = f"all {smallest}" if sizes["different"] == 1 else f"{sizes['different']}, {smallest} to {largest}"
    how = {
        "squash": "the entire image, stretched if proportions differ",
        "crop": "its centre",
        "letterbox": "the entire image, padded with the mean if proportions differ",
    }[seen["fit"]]
    return [
        f"sizes          {one_size}",
        f"modes          {', '.join(f'{mode} {count}' for mode, count in result['modes'].items())}",
        f"trained on     {channels}x{height}x{width}, {'grey' if channels == 1 else 'RGB'}: {how}, {seen['resize']}",
    ]


def _odd_files(result: dict[str, Any]) -> list[str]:
    """List duplicate files, files shorter than a window, and unreadable files."""
    lines = []
    if copies := result.get("duplicates", {}).get("files"):
        lines.append(f"duplicates     {copies} files are copies of another file")
    if short := result.get("short"):
        lines.append(f"short          {_files(short)} fewer rows than a window, {result['window']}:")
        lines += _listed(f"{one['file']}: {one['rows']} row{'s' * (one['rows'] != 1)}" for one in short)
    if faults := result.get("unreadable"):
        seen = "1 file, which stops training" if len(faults) == 1 else f"{len(faults)} files, which stop training"
        lines.append(f"unreadable     {seen} without --set data.unreadable=skip:")
        lines += _listed(f"{fault['file']}: {fault['reason']}" for fault in faults)
        lines += [f"to read them   {fix}" for fix in result.get("fixes", ())]
    return lines


def _files(names: Sequence[object]) -> str:
    """Format the number of files, followed by "has" or "have".

    >>> _files(["a"]), _files(["a", "b"])
    ('1 file has', '2 files have')
    """
    return "1 file has" if len(names) == 1 else f"{len(names)} files have"


def _listed(lines: Iterable[str]) -> list[str]:
    """Indent the first few lines and add the number of omitted lines."""
    every = [f"  {line}" for line in lines]
    return every[:_MOST_FILES] + ([f"  and {len(every) - _MOST_FILES} more"] if len(every) > _MOST_FILES else [])


def _of_series(result: dict[str, Any]) -> list[str]:
    """Format the shape and channels of time series, and the network input made from them."""
    channels, steps, _ = result["input"]["shape"]
    shortest = result["input"].get("shortest", steps)
    lengths = f"{steps}" if shortest == steps else f"{shortest} to {steps}"
    together, names = result["kept_together"], result["channels"]
    is_table = result["samples_of"] == "table"
    called, each = ("features", "a row") if is_table else ("channels", f"of {lengths} steps")
    lines = [
        f"samples        {result['samples']}, each {each}"
        + (f": windows, one every {result['stride']} rows" if result.get("window") else ""),
        *(_of_sounds(result) if "sound" in result else []),
        f"{called:<14} {channels}" + (f": {cut(', '.join(names), 200)}" if names else ""),
        f"kept together  {together['count']}, each a {together['what']}: never split between parts",
    ]
    if result["groups"]:
        lines.append(f"groups         {cut(', '.join(result['groups']), 200)}")
    if is_table:
        lines.append("as a recording where rows follow one another in time: --set data.window=ROWS")
    return [*lines, f"trained on     {_seen_by_a_step(channels, None if is_table else steps)}"]


def _seen_by_a_step(channels: int, steps: int | None) -> str:
    """Describe the network's input at each time step."""
    seen = f"{channels} number{'s' * (channels != 1)}"
    if steps is None:
        return f"the same {seen} at each step"
    return f"{seen} per step, from that time only: time_steps={steps}"


def _of_events(result: dict[str, Any]) -> list[str]:
    """Format the sensor, sizes and durations of event-camera data, and the network input."""
    seen, events, lengths, sensor = result["input"], result["events"], result["durations"], result["sensor"]
    _, height, width = seen["shape"]
    how = {"none": "of the sensor's size", "pool": "counts added up", "bilinear": "resized, bilinear"}[seen["resize"]]
    lines = [
        f"sensor         {'x'.join(map(str, sensor['size']))} (height, width), from {sensor['from']}",
        f"events         {events['least']:,} to {events['most']:,} in a recording, median {events['median']:,}",
        f"durations      {lengths['shortest']:,.10g} to {lengths['longest']:,.10g}, in the files' unit of time",
    ]
    if late := result["out_of_order"]:
        lines.append(f"order          {late} recordings are not in time order; they are sorted")
    return [*lines, f"trained on     counts 2x{height}x{width} (darker, brighter) a step: {how}"]


def _of_sounds(result: dict[str, Any]) -> list[str]:
    sound, rates = result["sound"], result["rates"]
    rate = sound["rate"]
    from_rates = ", ".join(f"{count} files of {each} Hz" for each, count in rates.items())
    where = {
        "first": "from the beginning",
        "centre": "from the centre",
        "windows": f"one every {sound['every'] / rate:g} s",
    }[sound["clips"]]
    frame, hop = (f"{1000 * sound[key] / rate:g} ms" for key in ("frame", "hop"))
    band = f"{sound['lowest_hz']:g} to {sound['highest_hz']:g} Hz"
    odd = f"{result['padded']} files are shorter (silence is added), {result['cut']} longer"
    return [
        f"sounds         {rate} Hz, from {from_rates}",
        f"clips          {sound['samples'] / rate:g} s, {where}; {odd}",
        f"frames         {sound['mels']} mels of {band}, {frame} every {hop}",
    ]


_SAID = {"image": _of_pictures, "series": _of_series, "table": _of_series, "events": _of_events}


def _rare_classes(classes: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Report the rarest training class if the most frequent class has at least `_RARE` times as many samples."""
    counts = {name: parts["train"] for name, parts in classes.items() if parts["train"]}
    if not counts or max(counts.values()) < _RARE * min(counts.values()):
        return []
    rarest = min(counts, key=counts.__getitem__)
    of_all = f"{cut(rarest)}, {counts[rarest]} of {sum(counts.values())} to train; to weight all classes equally:"
    return [f"rarest class   {of_all}", f"               --set '{_EVEN}'"]


def _counts(counts: Mapping[str, Mapping[str, int]], what: str = "", *, total: bool = False) -> str:
    """Format a table of counts by name and split."""
    rows = [[cut(name), *(str(of_name[part]) for part in PARTS)] for name, of_name in counts.items()]
    totals = [str(sum(of_name[part] for of_name in counts.values())) for part in PARTS]
    return aligned([what, *PARTS], [*rows, *([["all", *totals]] if total else [])])


def shipped_as_text(result: dict[str, Any]) -> str:
    """Format the description of a shipped data set as text."""
    arguments = ", ".join(f"{key} {value}" for key, value in result["arguments"].items())
    counts = {**result.get("classes", {}), "all": result["samples"]}
    shape, is_image = result["input"]["shape"], result["samples_of"] == "image"
    seen = "x".join(map(str, shape)) if is_image else _seen_by_a_step(shape[0], result.get("time_steps"))
    mean, std = (", ".join(f"{value:.4g}" for value in result["input"][key]) for key in ("mean", "std"))
    return "\n".join(
        [
            f"{result['path']}: {_SHIPPED[result['samples_of']]}" + (f", {arguments}" if arguments else ""),
            "",
            _counts(counts, "class" if "classes" in result else ""),
            "",
            f"trained on     {seen}",
            f"mean           {mean}",
            f"deviation      {std}",
            *([f"learned        {cut(', '.join(result['target']['names']), 200)}"] if "target" in result else []),
            *persistence_lines(result),
        ]
    )


_SHIPPED = {"image": "pictures", "series": "series", "table": "rows of a table"}


def persistence_lines(result: dict[str, Any]) -> list[str]:
    """Format the error of the last-value forecast, if the result contains it."""
    if "persistence" not in result:
        return []
    figures = ", ".join(f"{key} {value:.4g}" for key, value in result["persistence"].items())
    ahead = result["target"]["ahead"]
    later = f"{ahead} step{'s' * (ahead != 1)} later"
    return [f"persistence    {figures}: on the test part, with the last value as the forecast {later}"]
