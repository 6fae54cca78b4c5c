"""Options that several verbs have."""

from pathlib import Path

import click

from hdlif.cli.completion import DATA_KEY

FILE = click.Path(path_type=Path)
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
