"""Implement `hdlif models`, which lists and fetches trained networks."""

from pathlib import Path
from typing import Annotated, Any

from hdlif import zoo
from hdlif.cli.names import NETWORK
from hdlif.cli.options import FILE, argument, group, option, subcommand
from hdlif.report.tables import aligned

_ZOO = "Folder or https:// address of the networks.  [default: the checkout that hdlif is installed from]"
Source = Annotated[str | None, option("--from", metavar="DIR|URL", help=_ZOO)]


def ls(*, source: Source = None) -> dict[str, Any]:
    """List trained networks with their data, test metric, 95 % confidence interval, size and licence."""
    found = zoo.manifest(source)
    sizes = {name: found[name]["files"][name + zoo.MODEL]["bytes"] for name in sorted(found)}
    return {"networks": [{"name": name, "bytes": size, **found[name]} for name, size in sizes.items()]}


def _list(result: dict[str, Any]) -> str:
    rows = []
    for row in result["networks"]:
        figures = "{} {:.4g} ({:.4g} to {:.4g})".format(row["metric"], row["value"], *row["interval"])
        rows.append([row["name"], row["data"], figures, f"{row['bytes'] / 1e3:,.1f}", row["licence"]])
    return aligned(["network", "data", "test, 95 % interval", "kB", "licence"], rows)


def get(
    name: Annotated[str, argument(type=NETWORK)],
    *,
    to: Annotated[Path | None, option(type=FILE, metavar="DIR")] = None,
    source: Source = None,
) -> dict[str, Any]:
    """Fetch the model file, weights and card of the network NAME, and check their SHA-256 digests.

    Args:
        to: Folder for the files.  [default: the user's cache, where commands find the network by its name]
    """
    return {"name": name, "files": [str(path) for path in zoo.get(name, source=source, to=to)]}


LS = ("hdlif models ls", "trained networks that commands take by name")
GET = ("hdlif models get digits_hdlif --to networks", "its files, in networks/")
LS_JSON = ("hdlif models ls --json", "the same for a program")
GET_FROM = ("hdlif models get digits_hdlif --from https://example.org/zoo", "from a server, to use it by its name")
COMMAND = group(
    "models",
    "List trained networks, and fetch one.",
    [
        subcommand(ls, LS, LS_JSON, text=_list, short="Trained networks: data, accuracy, size, licence."),
        subcommand(get, GET, GET_FROM, text=lambda found: "\n".join(found["files"]), short="Fetch a trained network."),
    ],
    LS,
    GET,
)
