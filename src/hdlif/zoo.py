"""Find trained networks by name, and copy them from a zoo.

A zoo is a folder or a web address with manifest.json and three files per network:

- NAME.hdlif.safetensors: the model file
- NAME.weights.safetensors: a checkpoint for further training
- NAME.json: the network's card

The manifest lists the size and the SHA-256 of each file. hdlif rejects files that do not match the manifest.
"""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from hdlif.errors import InputError, OutputError, cut, did_you_mean, reason
from hdlif.whole_files import read_regular, whole_file

SUFFIXES = MODEL, WEIGHTS, CARD = ".hdlif.safetensors", ".weights.safetensors", ".json"
MANIFEST = "manifest.json"
MOST_BYTES = 25_000_000
"""Maximum size of a file in a zoo, in bytes."""
MOST_MANIFEST = 2**20
SECONDS = 30
"""Seconds to wait for data from a server."""
CHECKOUT = Path(__file__).parents[2] / "zoo"
"""Zoo of the repository, next to the sources of an editable install."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIX = "give --from the folder zoo of hdlif's repository, or the https:// address of a copy"


def manifest(source: str | None = None) -> dict[str, dict[str, Any]]:
    """Return the networks in a zoo: {name: {"data", "metric", "value", "interval", "licence", "files"}}.

    Args:
        source: a folder or a web address; by default the zoo of the checkout that this package is installed from.
    Raises:
        InputError: there is no zoo, its address is neither https nor local, or its manifest is damaged.
    """
    try:
        found: dict[str, dict[str, Any]] = json.loads(_read(source, MANIFEST, MOST_MANIFEST))["networks"]
        for name, entry in found.items():
            _check_entry(name, entry)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{source or CHECKOUT}: its {MANIFEST} is damaged ({reason(error)}); {_FIX}") from error
    return found


def get(name: str, *, source: str | None = None, to: Path | None = None) -> list[Path]:
    """Check all files of a network in a zoo, copy them, and return the paths of the copies.

    Args:
        source: as in `manifest`.
        to: a folder; by default the one where commands find the network by its name.
    Raises:
        InputError: the zoo has no such network, a file differs from its manifest, or `to` already contains a file.
        OutputError: the folder cannot be written.
    """
    networks, place, folder = manifest(source), source or CHECKOUT, to or cache()
    if name not in networks:
        raise InputError(f"{place}: has no network {cut(name)!r}; {did_you_mean(name, networks)}")
    contents = {}
    for file, stated in networks[name]["files"].items():
        content = contents[folder / file] = _read(source, file, stated["bytes"])
        if hashlib.sha256(content).hexdigest() != stated["sha256"]:
            seen = f"{place}/{file}: does not have the stated SHA-256 ({len(content):,} of {stated['bytes']:,} bytes)"
            raise InputError(f"{seen}; fetch it again, or from another --from")
    if to is not None and (there := [path for path in contents if os.path.lexists(path)]):
        raise InputError(f"{there[0]}: already exists; move it away, or give another --to")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in contents.items():
            with whole_file(path) as temporary:
                temporary.write_bytes(content)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({reason(error)}); give another folder by --to") from error
    return list(contents)


def network_file(given: str | os.PathLike[str], suffix: str = MODEL) -> Path:
    """Convert the name of a trained network to the path of its file; if a path is given, return it unchanged.

    An existing file or folder takes precedence over a network with the same name. Text that contains a dot or a slash
    is never a name and is returned unchanged.

    Raises:
        InputError: no file, folder or network has that name.
    """
    path = Path(given)
    if os.path.lexists(path) or not NAME.fullmatch(os.fspath(given)):
        return path
    for folder in (CHECKOUT, cache()):
        if (file := folder / f"{path}{suffix}").is_file():
            return file
    fix = f"{did_you_mean(str(path), names)}, or " if (names := network_names()) else ""
    seen = f"{path}: there is no such file or folder, and no trained network of that name"
    raise InputError(f"{seen}; {fix}fetch it: hdlif models get {path} --from zoo, the folder of hdlif's repository")


def network_names() -> list[str]:
    """Return the sorted names of the networks that commands can find."""
    found = (file.name.removesuffix(MODEL) for folder in (CHECKOUT, cache()) for file in folder.glob(f"*{MODEL}"))
    return sorted(set(found))


def cache() -> Path:
    """Return the folder for downloaded networks; a relative XDG_CACHE_HOME is ignored, as the XDG standard requires."""
    stated = Path(os.environ.get("XDG_CACHE_HOME", ""))
    base = stated if stated.is_absolute() else Path(os.path.expanduser("~"), ".cache")  # noqa: PTH111 - may be without
    return base / "hdlif" / "networks"


def _check_entry(name: str, entry: dict[str, Any]) -> None:
    files, figures = entry["files"], [entry["value"], *entry["interval"]]
    sound = NAME.fullmatch(name) and files.keys() == {name + suffix for suffix in SUFFIXES}
    sound = sound and all(type(one["bytes"]) is int and 0 < one["bytes"] <= MOST_BYTES for one in files.values())
    sound = sound and all(_SHA256.fullmatch(one["sha256"]) for one in files.values())
    texts = [entry[key] for key in ("data", "metric", "licence")]
    if not sound or [*map(type, figures)] != [float] * 3 or [*map(type, texts)] != [str] * 3:
        raise ValueError(f"the entry {cut(name)!r}")


def _read(source: str | None, name: str, most: int) -> bytes:
    """Read a zoo file of at most `most` bytes, or raise `InputError`; plain HTTP is accepted only from localhost."""
    import urllib.request
    from http.client import HTTPException
    from urllib.parse import urlsplit

    class ToHttps(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str) -> Any:
            if not newurl.lower().startswith("https://"):
                raise InputError(f"{place}: redirects to {cut(newurl)}, which is not allowed; {_FIX}")
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    if source is None and not CHECKOUT.is_dir():
        raise InputError(f"this installation of hdlif has no trained networks; {_FIX}")
    place = f"{str(source or CHECKOUT).rstrip('/')}/{name}"
    try:
        if "://" not in place:
            return read_regular(Path(place), most=most)
        parts = urlsplit(place)
        is_here = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
        if parts.scheme != "https" and not is_here:
            raise InputError(f"{place}: only encrypted (https://) addresses are allowed; {_FIX}")
        with urllib.request.build_opener(ToHttps).open(place, timeout=SECONDS) as answer:
            if (stated := int(answer.headers.get("Content-Length") or 0)) > most:
                raise InputError(f"{place}: has {stated:,} bytes, but at most {most:,} are accepted; {_FIX}")
            content: bytes = answer.read(most)
            return content
    except (OSError, HTTPException, ValueError) as error:
        raise InputError(f"{place}: cannot be read ({reason(error)}); {_FIX}") from error
