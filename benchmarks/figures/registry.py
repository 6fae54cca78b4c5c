"""What has a name: tables, figures that are computed, plots."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from figures.drawing import Plot

Record = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """A table of one record, and of every other measurement of it on another machine; or of no single record."""

    record: str | None
    written: Callable[[Record], str]
    """The table in Markdown, of one measurement."""


TABLES: dict[str, Table] = {}
FIGURES: dict[str, Callable[[], str]] = {}
PLOTS: dict[str, Callable[[], Plot]] = {}


def table(name: str, record: str | None) -> Callable[[Callable[[Record], str]], Callable[[Record], str]]:
    """Registers a function that writes a record as a table; without a record it gets an empty one."""

    def registered(written: Callable[[Record], str]) -> Callable[[Record], str]:
        assert name not in TABLES, name
        TABLES[name] = Table(record, written)
        return written

    return registered


def figure(name: str) -> Callable[[Callable[[], str]], Callable[[], str]]:
    """Registers a function that returns a figure in prose, of digits alone."""

    def registered(said: Callable[[], str]) -> Callable[[], str]:
        assert name not in FIGURES, name
        FIGURES[name] = said
        return said

    return registered


def plot(name: str) -> Callable[[Callable[[], Plot]], Callable[[], Plot]]:
    """Registers a function that returns a plot, which becomes `docs/images/NAME.svg`."""

    def registered(drawn: Callable[[], Plot]) -> Callable[[], Plot]:
        assert name not in PLOTS, name
        PLOTS[name] = drawn
        return drawn

    return registered
