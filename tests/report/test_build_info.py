"""Which program it is: version, commit and kind of an editable install, a wheel and a source tree; without git."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from hdlif.report.build_info import Build, _recorded, build, head
from hdlif.report.provenance import versions

ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef" * 2 + "01234567"
ALONE = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")


def printed(folder: Path, *command: str, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env=os.environ | ALONE | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def git(folder: Path, *words: str) -> str:
    return printed(folder, "git", "-c", "user.name=n", "-c", "user.email=a@example.org", *words)


def commit(folder: Path) -> str:
    git(folder, "commit", "-q", "--allow-empty", "-m", "more")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """With the project's own settings."""
    folder = tmp_path / "r"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    shutil.copy(ROOT / "pyproject.toml", folder)
    git(folder, "add", ".")
    commit(folder)
    return folder


def version_in(folder: Path, **environment: str) -> str:
    """The version that a build there would have."""
    return printed(folder, sys.executable, "-m", "setuptools_scm", **environment).splitlines()[-1]


@needs_git
def test_a_checkout_has_the_commit_that_is_checked_out_now() -> None:
    this = build()
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    assert this.kind == "editable install"
    assert this.commit == git(ROOT, "rev-parse", "HEAD")
    assert versions()["hdlif_commit"] == this.commit[:12]


@needs_git
def test_every_way_in_which_git_keeps_a_head_is_read(repository: Path) -> None:
    first, second = git(repository, "rev-parse", "HEAD"), commit(repository)
    assert head(repository / ".git") == second
    git(repository, "worktree", "add", "-q", "../w", "-b", "beside")
    worktree = repository.parent / "w"
    third = commit(worktree)
    assert head(worktree / ".git") == third
    git(repository, "pack-refs", "--all")
    assert (head(repository / ".git"), head(worktree / ".git")) == (second, third)
    git(repository, "checkout", "-q", "--detach", "HEAD~1")
    assert head(repository / ".git") == first


def test_a_commit_that_nothing_states_is_none(tmp_path: Path) -> None:
    assert head(tmp_path / "nothing") is None
    for content in (b"", b"ref: refs/heads/none", b"\xff\xfe", b"ref: ../../../etc/passwd", b"x" * 40):
        (tmp_path / "HEAD").write_bytes(content)
        assert head(tmp_path) is None, content
    record = tmp_path / "build.json"
    assert _recorded(record) is None
    for text, expected in (
        (json.dumps({"commit": COMMIT}), COMMIT),
        ('{"commit": ""}', None),
        ("[1]", None),
        ("{", None),
    ):
        record.write_text(text)
        assert _recorded(record) == expected, text
    assert [str(Build("0.2.0", one, "wheel")).split(", ")[1] for one in (COMMIT, None)] == [
        "commit 0123456789ab",
        "an unknown commit",
    ]


@needs_git
def test_a_version_comes_from_the_tags_and_without_them_from_the_settings(repository: Path, tmp_path: Path) -> None:
    coming = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools_scm"]["fallback_version"]
    base = coming.partition(".dev")[0]
    assert version_in(repository).partition(".dev")[0] in (base, base.removesuffix(".0"))
    git(repository, "tag", "v0.7.0")
    assert version_in(repository) == "0.7.0"
    commit(repository)
    assert version_in(repository) == "0.7.1.dev1"
    assert version_in(repository, PATH=os.devnull) == coming
    # Of a source distribution it is its own.
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert version_in(tmp_path) == coming
    (tmp_path / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: hdlif\nVersion: 0.7.3\n")
    assert version_in(tmp_path) == "0.7.3"
