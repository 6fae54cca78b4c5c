"""What a page writes in place of figures and tables: `{{ fig("WHAT") }}` and `{{ table("NAME") }}`."""

import re
from collections.abc import Iterator
from pathlib import Path

from figures import records
from figures.registry import FIGURES, TABLES

ROOT = Path(__file__).parents[2]
_MACRO = re.compile(r'\{\{ (?P<kind>fig|table)\("(?P<what>[^"]*)"\) \}\}')
_FORM = re.compile(r"(?P<path>.+?) (?:(?P<sign>[*/])(?P<factor>[\d.e]+))?:(?P<form>\S*)")


class MacroError(Exception):
    """A macro that names nothing."""


def pages() -> list[Path]:
    """The pages that may have macros."""
    return sorted((ROOT / "docs").rglob("*.md"))


def macros(text: str) -> Iterator[tuple[str, str]]:
    """The macros of a page: "fig" or "table", and what they name."""
    return ((found["kind"], found["what"]) for found in _MACRO.finditer(text))


def rendered(text: str) -> str:
    """The page with every figure and table as its record has it.

    Raises:
        MacroError: there is no table, record or key of that name.
    """
    return _MACRO.sub(lambda found: {"fig": figure, "table": table}[found["kind"]](found["what"]), text)


def table(name: str) -> str:
    """A table; of several machines one for each."""
    if name not in TABLES:
        raise MacroError(f"no table is named {name}; benchmarks/figures/tables has {', '.join(sorted(TABLES))}")
    of = TABLES[name].record
    measured = [{}] if of is None else records.measurements(of)
    written = [TABLES[name].written(one) for one in measured]
    if len(measured) == 1:
        return written[0]
    heads = [", ".join([records.machine(one), *([one["state"]] if "state" in one else [])]) for one in measured]
    return "\n\n".join(f"{head}:\n\n{text}" for head, text in zip(heads, written, strict=True))


def figure(what: str) -> str:
    """A figure in prose: `NAME`, or `RECORD/KEY/... [*FACTOR or /FACTOR]:FORMAT`."""
    if what in FIGURES:
        return FIGURES[what]()
    if not (form := _FORM.fullmatch(what)):
        raise MacroError(f"{what!r} is no figure of benchmarks/figures/prose.py and no RECORD/KEY/... :FORMAT")
    try:
        value = records.value(form["path"])
    except (KeyError, IndexError, ValueError) as error:
        raise MacroError(f"{what!r}: {error} is not there") from None
    factor = float(form["factor"] or 1)
    return format(value / factor if form["sign"] == "/" else value * factor, form["form"])
