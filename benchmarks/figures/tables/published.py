"""Published rows, from the headers of the shipped recipes."""

from figures.registry import Record
from figures.registry import table as registered
from hdlif.cli.recipes import published_table


@registered("published_rows", None)
def _(record: Record) -> str:
    return published_table()
