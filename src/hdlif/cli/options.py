"""Options that several verbs have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hdlif.cli.completion import DATA_KEY
from hdlif.errors import brief
from hdlif.serve.byte_counts import ACCEPTED, byte_count

if TYPE_CHECKING:
    _Count = click.ParamType[int]
else:
    # Older releases of click have no type argument there.
    _Count = click.ParamType

FILE = click.Path(path_type=Path)


class ByteCount(_Count):
    """A number of bytes, at least 1, in the forms of `hdlif.serve.byte_counts`."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            count = byte_count(str(value))
        except ValueError:
            self.fail(f"{brief(value)} is not {ACCEPTED}.", param, ctx)
        if count < 1:
            self.fail(f"{brief(value)} is less than 1; give {ACCEPTED}.", param, ctx)
        return count


BYTES = ByteCount()
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
data_root_option = click.option(
    "--data-root",
    type=FILE,
    help="Folder that holds the data set, as docs/reference/data.md lays it out; not needed for digits.",
)
data_set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    type=DATA_KEY,
    metavar="data.KEY=V",
    help="A key of the section data, for data of your own; repeatable.",
)
