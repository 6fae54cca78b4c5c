"""`hdlif data inspect`: what data of the user's own hold, and what would be trained on."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hdlif import builders
from hdlif.data import Found
from hdlif.errors import DataError, RecipeError, cut
from hdlif.plain_yaml import parse_yaml
from hdlif.runs.files import writing
from hdlif.whole_files import whole_file

SHOWN, MOST_ROWS, MOST_SHEET_SIDE = 8, 64, 128
"""Pictures of a class on a sheet, classes on it, and the side that small pictures are enlarged to."""
_GAP, _PAPER = 4, 255


def inspect(
    path: str,
    *,
    size: int | None = None,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Look at data as a training would; files that cannot be read are listed here, and refused there.

    Args:
        path: of data, or package.module:Name.
        size: of the square that pictures become, as `data.size`.
        overrides: "data.KEY=VALUE" each, as a training takes them.
        out: gets a sheet of pictures, a row for each class, as the network would see them.
        say: gets a line where it will take a while.
    Returns:
        {"path", "kind", "layout", "classes": {name: {part: number}}, "split", "input", "ignored", "digest"}, and what
        the kind of data has besides: of pictures "sizes", "modes", "unreadable", "duplicates", "in_memory", and "sheet"
        where one is written; of series "samples", "channels", "window", "stride", "kept_together", "groups"; of events
        "sensor", "events", "durations", "out_of_order", "unreadable", "duplicates", and "sheet".
    Raises:
        DataError: there is nothing that could be trained on.
        RecipeError: an override is of no key that such data have.
        TrainingError: the sheet cannot be written.
    """
    kind = builders.kind_at(path)
    lenient = {"unreadable": "skip"} if kind in ("folder", "events", "shards") else {}
    found = builders.look(kind, path, {**lenient, **_keys(overrides)}, size=size, say=say)
    record = found.input
    if record.kind == "series" and out is not None:
        raise DataError(f"{path}: is data of series, and --out is a sheet of pictures; leave it out")
    result = {
        "path": str(found.path),
        "kind": kind,
        "samples_of": record.kind,
        "classes": {label: dict(parts) for label, parts in found.manifest.counts().items()},
        "input": {
            "shape": list(record.shape),
            "mean": list(record.mean),
            "std": list(record.std),
            "resize": record.resize,
            "fit": record.fit,
        },
        **found.seen,
        "digest": found.manifest.digest,
    }
    if out is not None:
        _write_sheet(found, out)
        result["sheet"] = str(out)
    return result


def as_text(result: dict[str, Any]) -> str:
    """What a person reads of it."""
    samples = result["samples_of"]
    split = ", ".join(f"{key} {value}" for key, value in result["split"].items())
    digits = ".4g" if samples == "series" else ".4f"
    mean, std = (", ".join(f"{value:{digits}}" for value in result["input"][key]) for key in ("mean", "std"))
    moments = [] if samples == "events" else [f"mean           {mean}", f"deviation      {std}"]
    ignored = ", ".join(f"{count} {what}" for what, count in result["ignored"].items())
    return "\n".join(
        [
            f"{result['path']}: {result['layout']}" + (f", split here ({split})" if split else ""),
            "",
            _class_table(result["classes"]),
            "",
            *_SAID[samples](result),
            *moments,
            *([f"passed over    {ignored}"] if ignored else []),
            *([] if samples == "series" else _odd_files(result)),
        ]
    )


def _of_pictures(result: dict[str, Any]) -> list[str]:
    """What they are, and what they become."""
    seen, sizes = result["input"], result["sizes"]
    channels, height, width = seen["shape"]
    smallest, largest = ("x".join(map(str, sizes[key])) for key in ("smallest", "largest"))
    one_size = f"all {smallest}" if sizes["different"] == 1 else f"{sizes['different']}, {smallest} to {largest}"
    how = {"squash": "all of it, squashed where proportions differ", "crop": "its middle"}[seen["fit"]]
    return [
        f"sizes          {one_size}",
        f"modes          {', '.join(f'{mode} {count}' for mode, count in result['modes'].items())}",
        f"trained on     {channels}x{height}x{width}, {'grey' if channels == 1 else 'RGB'}: {how}, {seen['resize']}",
    ]


def _odd_files(result: dict[str, Any]) -> list[str]:
    """Copies, files that cannot be read, and where the sheet is."""
    lines = []
    duplicates = result["duplicates"]
    if duplicates["files"]:
        lines.append(f"duplicates     {duplicates['files']} files have the content of another")
    for key, what in (("in_several_classes", "classes"), ("in_several_parts", "parts")):
        if groups := duplicates[key]:
            lines.append(
                f"warning        {len(groups)} contents are in several {what}, first {', '.join(groups[0][:3])}"
            )
    if faults := result["unreadable"]:
        lines.append(f"unreadable     {len(faults)} files; a training refuses them but with data.unreadable=skip:")
        lines += [f"  {fault['file']}: {fault['reason']}" for fault in faults[:10]]
        lines += [f"  and {len(faults) - 10} more"] if len(faults) > 10 else []
    if "sheet" in result:
        lines.append(f"pictures       {result['sheet']}, a row for each class")
    return lines


def _of_series(result: dict[str, Any]) -> list[str]:
    """What they are, and what they become."""
    channels, steps, _ = result["input"]["shape"]
    together, names = result["kept_together"], result["channels"]
    lines = [
        f"samples        {result['samples']}, each of {steps} steps"
        + (f": windows, one every {result['stride']} rows" if result["window"] else ""),
        f"channels       {channels}" + (f": {cut(', '.join(names), 200)}" if names else ""),
        f"kept together  {together['count']}, each a {together['what']}: none is in two parts",
    ]
    if result["groups"]:
        lines.append(f"groups         {cut(', '.join(result['groups']), 200)}")
    seen = f"{channels} number{'s' * (channels != 1)}"
    return [*lines, f"trained on     a step sees {seen}, that time's alone: time_steps={steps}"]


def _of_events(result: dict[str, Any]) -> list[str]:
    """What they are, and what they become."""
    seen, events, lengths, sensor = result["input"], result["events"], result["durations"], result["sensor"]
    _, height, width = seen["shape"]
    how = {"none": "of the sensor's size", "pool": "counts added up", "bilinear": "resized, bilinear"}[seen["resize"]]
    lines = [
        f"sensor         {'x'.join(map(str, sensor['size']))} (height, width), from {sensor['from']}",
        f"events         {events['least']:,} to {events['most']:,} in a recording, median {events['median']:,}",
        f"durations      {lengths['shortest']:,.10g} to {lengths['longest']:,.10g}, in the files' unit of time",
    ]
    if late := result["out_of_order"]:
        lines.append(f"order          {late} recordings are not in order of time, and are sorted")
    return [*lines, f"trained on     counts 2x{height}x{width} (darker, brighter) a step: {how}"]


_SAID = {"image": _of_pictures, "series": _of_series, "events": _of_events}


def _class_table(classes: Mapping[str, Mapping[str, int]]) -> str:
    from hdlif.commands.tables import aligned

    parts = ("train", "validation", "test")
    rows = [[cut(name), *(str(counts[part]) for part in parts)] for name, counts in classes.items()]
    totals = [str(sum(counts[part] for counts in classes.values())) for part in parts]
    return aligned(["class", *parts], [*rows, ["all", *totals]])


def _keys(overrides: Sequence[str]) -> dict[str, Any]:
    """The keys and values of "data.KEY=VALUE"s. Raises `RecipeError`."""
    found = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        section, dot, name = key.partition(".")
        if section != "data" or not (equals and dot and name):
            raise RecipeError(f"--set {cut(override)} is refused; give data.KEY=VALUE, for example data.window=64")
        found[name] = parse_yaml(text, source=f"--set {key}")
    return found


def _write_sheet(found: Found, out: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(sheet(found)).save(file, "PNG")
    with writing(out), whole_file(out) as temporary:
        temporary.write_bytes(file.getvalue())


def sheet(found: Found) -> NDArray[np.uint8]:
    """RGB pixels [H, W, 3] of the first training pictures of each class, a row for each, enlarged by whole numbers."""
    import torch

    train = found.make((), 0).train
    channels, height, width = found.input.shape
    events = found.input.kind == "events"
    larger = max(1, MOST_SHEET_SIDE // max(height, width))
    step_y, step_x = larger * height + _GAP, larger * width + _GAP
    rows = min(len(found.classes), MOST_ROWS)
    paper = np.full((rows * step_y + _GAP, SHOWN * step_x + _GAP, 3), _PAPER, np.uint8)
    for row in range(rows):
        members = torch.nonzero(train.labels == row).flatten()[:SHOWN]
        for column, read in enumerate(train.read(members).numpy()):
            pixels = _as_picture(read) if events else read
            picture = np.broadcast_to(pixels, (3, height, width)) if channels == 1 else pixels
            picture = picture.transpose(1, 2, 0).repeat(larger, axis=0).repeat(larger, axis=1)
            y, x = _GAP + row * step_y, _GAP + column * step_x
            paper[y : y + larger * height, x : x + larger * width] = picture
    return paper


def _as_picture(counts: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Counts [2, H, W] of a whole recording as RGB: brighter is red and darker blue, the more the stronger."""
    darker, brighter = np.sqrt(counts / max(1.0, float(counts.max()))) * 255
    return np.stack([brighter, np.minimum(darker, brighter), darker]).astype(np.uint8)
