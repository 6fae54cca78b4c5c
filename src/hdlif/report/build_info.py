"""What this program is: its version, the commit that it was made of, and how it is installed. No git is needed."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from hdlif.whole_files import read_regular

MOST_BYTES = 2**24
"""Of a file of git that is read; packed-refs is the largest."""
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True)
class Build:
    """One program.

    Attributes:
        version: of the package when it was installed, which a tag of the repository or the release decides.
        commit: of a checkout the one that is checked out now, of a wheel the one that it was built of, in hexadecimal;
            None where neither is known.
        kind: "editable install", "wheel", or "source tree" of what is not installed.
    """

    version: str
    commit: str | None
    kind: str

    def __str__(self) -> str:
        commit = "an unknown commit" if self.commit is None else f"commit {self.commit[:12]}"
        return f"hdlif {self.version}, {commit}, {self.kind}"


def build() -> Build:
    """The program that runs."""
    import hdlif

    version = hdlif.__version__
    package = Path(__file__).parents[1]
    root = package.parents[1]
    # build.json is written by CMake, into what is built alone.
    if (package.name, package.parent.name) == ("hdlif", "src") and (root / "pyproject.toml").is_file():
        return Build(version, head(root / ".git"), "source tree" if version == "0+unknown" else "editable install")
    return Build(version, _recorded(package / "build.json"), "wheel")


def head(git: Path) -> str | None:
    """The commit that HEAD of a repository or worktree means, by its files; None where they do not say."""
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
    """What a reference means: a file of its own, or a line among the packed ones."""
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
