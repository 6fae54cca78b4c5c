"""Find the version, commit and installation type of hdlif without running git."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from hdlif.whole_files import read_regular

MOST_BYTES = 2**24
"""Maximum size of a git file in bytes; packed-refs is the largest."""
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True)
class Build:
    """The version, commit and installation type of hdlif.

    Attributes:
        version: version of the package when it was installed, from a tag of the repository or from the release.
        commit: hash of the commit that is checked out now, or of the commit that a wheel was built from; None if
            unknown.
        kind: "editable install", "wheel", or "source tree" if it is not installed.
    """

    version: str
    commit: str | None
    kind: str

    def __str__(self) -> str:
        commit = "an unknown commit" if self.commit is None else f"commit {self.commit[:12]}"
        return f"hdlif {self.version}, {commit}, {self.kind}"


def build() -> Build:
    """Return the version, commit and installation type of the running program."""
    import hdlif

    version = hdlif.__version__
    package = Path(__file__).parents[1]
    root = package.parents[1]
    # CMake writes build.json only into builds.
    if (package.name, package.parent.name) == ("hdlif", "src") and (root / "pyproject.toml").is_file():
        return Build(version, head(root / ".git"), "source tree" if version == "0+unknown" else "editable install")
    return Build(version, _recorded(package / "build.json"), "wheel")


def head(git: Path) -> str | None:
    """Return the commit at HEAD as read from a repository's files, or None if it cannot be read."""
    try:
        if git.is_file():
            git = git.parent / _text(git).removeprefix("gitdir: ")
        said = _text(git / "HEAD")
        if said.startswith("ref: "):
            said = _of_reference(git, said.removeprefix("ref: "))
    except (OSError, UnicodeDecodeError):
        return None
    return said if _COMMIT.fullmatch(said) else None


def _of_reference(git: Path, name: str) -> str:
    """Read the commit to which a git reference points, from the reference's own file or from packed-refs."""
    common = git / _text(git / "commondir") if (git / "commondir").exists() else git
    for place in (git, common):
        if (place / name).is_file():
            return _text(place / name)
    lines = (line.split(" ") for line in _text(common / "packed-refs").splitlines())
    return next((words[0] for words in lines if words[1:] == [name]), "")


def _recorded(path: Path) -> str | None:
    try:
        found = json.loads(_text(path)).get("commit", "")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, str) and _COMMIT.fullmatch(found) else None


def _text(path: Path) -> str:
    return read_regular(path, most=MOST_BYTES).decode().strip()
