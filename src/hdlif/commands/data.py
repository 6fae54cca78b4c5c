"""`hdlif data inspect`: what lies in a folder of the user's own, and what would be trained on."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hdlif import builders
from hdlif.commands.files import writing
from hdlif.data import Found
from hdlif.errors import cut
from hdlif.whole_files import whole_file

SHOWN, MOST_ROWS, MOST_SHEET_SIDE = 8, 64, 128
"""Pictures of a class on a sheet, classes on it, and the side that small pictures are enlarged to."""
_GAP, _PAPER = 4, 255


def inspect(
    path: str, *, size: int | None = None, out: Path | None = None, say: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Look at a folder as a training would; what cannot be read is listed here, and refused there.

    Args:
        size: of the square that pictures become, as `data.size`.
        out: gets a sheet of pictures, a row for each class, as the network would see them.
        say: gets a line where it will take a while.
    Returns:
        {"path", "kind", "layout", "classes": {name: {part: number}}, "split", "input", "sizes", "modes", "ignored",
        "unreadable", "duplicates", "in_memory", "digest"}, and "sheet" where one is written.
    Raises:
        DataError: the folder holds nothing that could be trained on.
        TrainingError: the sheet cannot be written.
    """
    kind = builders.kind_at(path)
    found = builders.FOUND[kind].find(None, size=size, known=None, say=say, path=path, unreadable="skip")
    record = found.input
    result = {
        "path": str(found.path),
        "kind": kind,
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
    from hdlif.commands.tables import aligned

    parts = ("train", "validation", "test")
    rows = [[cut(name), *(str(counts[part]) for part in parts)] for name, counts in result["classes"].items()]
    totals = [str(sum(counts[part] for counts in result["classes"].values())) for part in parts]
    seen, sizes = result["input"], result["sizes"]
    channels, height, width = seen["shape"]
    mean, std = (", ".join(f"{value:.4f}" for value in seen[key]) for key in ("mean", "std"))
    smallest, largest = ("x".join(map(str, sizes[key])) for key in ("smallest", "largest"))
    one_size = f"all {smallest}" if sizes["different"] == 1 else f"{sizes['different']}, {smallest} to {largest}"
    split = ", ".join(f"{key} {value}" for key, value in result["split"].items())
    how = {"squash": "all of it, squashed where proportions differ", "crop": "its middle"}[seen["fit"]]
    lines = [
        f"{result['path']}: {result['layout']}" + (f", split here ({split})" if split else ""),
        "",
        aligned(["class", *parts], [*rows, ["all", *totals]]),
        "",
        f"sizes          {one_size}",
        f"modes          {', '.join(f'{mode} {count}' for mode, count in result['modes'].items())}",
        f"trained on     {channels}x{height}x{width}, {'grey' if channels == 1 else 'RGB'}: {how}, {seen['resize']}",
        f"mean           {mean}",
        f"deviation      {std}",
    ]
    if result["ignored"]:
        lines.append(f"passed over    {', '.join(f'{count} {end}' for end, count in result['ignored'].items())}")
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
    return "\n".join(lines)


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
    larger = max(1, MOST_SHEET_SIDE // max(height, width))
    step_y, step_x = larger * height + _GAP, larger * width + _GAP
    rows = min(len(found.classes), MOST_ROWS)
    paper = np.full((rows * step_y + _GAP, SHOWN * step_x + _GAP, 3), _PAPER, np.uint8)
    for row in range(rows):
        members = torch.nonzero(train.labels == row).flatten()[:SHOWN]
        for column, pixels in enumerate(train.read(members).numpy()):
            picture = np.broadcast_to(pixels, (3, height, width)) if channels == 1 else pixels
            picture = picture.transpose(1, 2, 0).repeat(larger, axis=0).repeat(larger, axis=1)
            y, x = _GAP + row * step_y, _GAP + column * step_x
            paper[y : y + larger * height, x : x + larger * width] = picture
    return paper
