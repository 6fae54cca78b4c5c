"""The marks of a page, and what stands at them."""

import re
from collections.abc import Iterator
from pathlib import Path

from figures import records
from figures.registry import FIGURES, TABLES

ROOT = Path(__file__).parents[2]
_TABLE = re.compile(r"(<!-- figures: (?P<name>\S+) -->\n)(?P<content>.*?)(<!-- end -->)", re.DOTALL)
_FIGURE = re.compile(r"(?P<said>[-−+]?\d[\d.,]*(?:e[-+]\d+)?)?(?P<mark><!-- = (?P<what>[^>]*?) -->)")
_FORM = re.compile(r"(?P<path>.+?) (?:(?P<sign>[*/])(?P<factor>[\d.e]+))?:(?P<form>\S*)")


class MarkError(Exception):
    """A mark that names nothing."""


def pages() -> list[Path]:
    """The pages that may have marks."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def rendered(text: str) -> str:
    """The page with every marked table and figure as its record has it.

    Raises:
        MarkError: there is no table, record or key of that name, or no figure in front of a mark.
    """
    text = _TABLE.sub(lambda found: f"{found[1]}\n{table(found['name'])}\n\n{found[4]}", text)
    return _FIGURE.sub(lambda found: figure(found["what"], found["said"]) + found["mark"], text)


def table(name: str) -> str:
    """A table; of several machines one for each."""
    if name not in TABLES:
        raise MarkError(f"no table is named {name}; benchmarks/figures/tables has {', '.join(sorted(TABLES))}")
    of = TABLES[name].record
    measured = [{}] if of is None else records.measurements(of)
    written = [TABLES[name].written(one) for one in measured]
    if len(measured) == 1:
        return written[0]
    heads = [", ".join([records.machine(one), *([one["state"]] if "state" in one else [])]) for one in measured]
    return "\n\n".join(f"{head}:\n\n{text}" for head, text in zip(heads, written, strict=True))


def figure(what: str, said: str | None = "") -> str:
    """A figure in prose: `NAME`, or `RECORD/KEY/... [*FACTOR or /FACTOR]:FORMAT`."""
    if said is None:
        raise MarkError(f"no figure stands in front of <!-- = {what} -->")
    if what in FIGURES:
        return FIGURES[what]()
    if not (form := _FORM.fullmatch(what)):
        raise MarkError(f"{what!r} is no figure of benchmarks/figures/prose.py and no RECORD/KEY/... :FORMAT")
    try:
        value = records.value(form["path"])
    except (KeyError, IndexError, ValueError) as error:
        raise MarkError(f"{what!r}: {error} is not there") from None
    factor = float(form["factor"] or 1)
    return format(value / factor if form["sign"] == "/" else value * factor, form["form"])


def marked_tables(text: str) -> Iterator[str]:
    """Names of the tables of a page."""
    return (found["name"] for found in _TABLE.finditer(text))
