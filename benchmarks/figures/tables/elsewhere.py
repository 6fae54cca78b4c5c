"""Microcontrollers, loading images, and statistics measured again."""

import statistics

from figures.markdown import table
from figures.registry import Record
from figures.registry import table as registered

DEVICES = {"cortex-m0plus-mps2": "Cortex-M0+", "cortex-m4": "Cortex-M4", "cortex-m55": "Cortex-M55"}


@registered("c", "c")
def _(record: Record) -> str:
    lines = []
    for device, kinds in record["devices"].items():
        dense = kinds["dense int8"]["mean"]
        for kind, found in kinds.items():
            ram = "" if kind == "dense int8" else f"{found['ram']:,}"
            ratio = "1" if kind == "dense int8" else f"{dense / found['mean']:.2f}"
            lines.append([f"{DEVICES[device]}, {kind}", f"{found['mean']:,.0f}", ratio, f"{found['rom']:,}", ram])
    return table(["processor", "instructions a step", "dense int8 / this", "image", "state and work space"], lines)


@registered("loading", "loading")
def _(record: Record) -> str:
    names = {
        "random_resized_crop, flip, autoaugment_imagenet": "the published augmentation",
        "crop, flip": "`[random_resized_crop, flip]`",
        "centre": "none: shorter side to 256, centre (evaluation)",
    }
    found = {(row["form"], row["augment"]): row for row in record["images_per_cpu_second"]}
    lines = []
    for augment, name in names.items():
        rows = [found[form, augment] for form in ("folders", "shards")]
        lines.append([name, *(f"{row['median']:.0f} ({row['min']:.0f} to {row['max']:.0f})" for row in rows)])
    return table(["images a second", "folders", "tar shards"], lines)


@registered("reestimation", "reestimation")
def _(record: Record) -> str:
    by_recipe: dict[str, list[dict[str, dict[str, float]]]] = {}
    for network in record["networks"]:
        by_recipe.setdefault(network["recipe"], []).append(network["by_images"])
    most = max(next(iter(by_recipe.values()))[0], key=int)
    lines = []
    for count in next(iter(by_recipe.values()))[0]:
        line, others = [f"{int(count):,}"], []
        for of in by_recipe.values():
            gained = 100 * statistics.mean(one[count]["accuracy"] - one[most]["accuracy"] for one in of)
            spread = 100 * statistics.mean(one[count]["std"] or 0.0 for one in of)
            line.append(f"{'' if count == most else f'{gained:.2f} '}± {spread:.2f}")
            others.append(100 * statistics.mean(one[count]["other_class"] for one in of))
        lines.append([*line, f"{min(others):.1f} to {max(others):.1f}"])
    return table(["images", *by_recipe, "classes, %"], lines)
