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
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
ALONE = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", *who, *words], cwd=folder, env=os.environ | ALONE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def repository(folder: Path) -> Path:
    """With the project's own settings, and three commits."""
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    shutil.copy(ROOT / "pyproject.toml", folder)
    git(folder, "add", ".")
    for number in range(3):
        git(folder, "commit", "-q", "--allow-empty", "-m", str(number))
    return folder


def version_in(folder: Path, **environment: str) -> str:
    """What a build there would have for a version."""
    done = subprocess.run(
        [sys.executable, "-m", "setuptools_scm"],
        cwd=folder,
        env=os.environ | ALONE | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_it_is_said_in_one_line() -> None:
    assert str(Build("0.2.0", COMMIT, "wheel")) == "hdlif 0.2.0, commit 0123456789ab, wheel"
    assert str(Build("0.2.0", None, "wheel")) == "hdlif 0.2.0, an unknown commit, wheel"


@needs_git
def test_a_checkout_has_the_commit_that_is_checked_out_now() -> None:
    this = build()
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    assert this.kind == "editable install"
    assert this.commit == git(ROOT, "rev-parse", "HEAD")
    assert versions()["hdlif_commit"] == git(ROOT, "rev-parse", "HEAD")[:12]


@needs_git
def test_every_way_in_which_git_keeps_a_head_is_read(tmp_path: Path) -> None:
    folder = repository(tmp_path / "r")
    expected = git(folder, "rev-parse", "HEAD")
    assert head(folder / ".git") == expected
    git(folder, "worktree", "add", "-q", "../w", "-b", "beside")
    git(tmp_path / "w", "commit", "-q", "--allow-empty", "-m", "more")
    assert head(tmp_path / "w" / ".git") == git(tmp_path / "w", "rev-parse", "HEAD") != expected
    git(folder, "pack-refs", "--all")
    assert head(folder / ".git") == expected
    assert head(tmp_path / "w" / ".git") == git(tmp_path / "w", "rev-parse", "HEAD")
    git(folder, "checkout", "-q", "--detach", "HEAD~1")
    assert head(folder / ".git") == git(folder, "rev-parse", "HEAD")


def test_a_head_that_says_nothing_is_none(tmp_path: Path) -> None:
    assert head(tmp_path / "nothing") is None
    for content in (b"", b"ref: refs/heads/none", b"\xff\xfe", b"ref: ../../../etc/passwd", b"x" * 40):
        (tmp_path / "HEAD").write_bytes(content)
        assert head(tmp_path) is None, content


def test_what_a_wheel_has_recorded_is_read(tmp_path: Path) -> None:
    record = tmp_path / "build.json"
    assert _recorded(record) is None
    for content, commit in (
        (json.dumps({"commit": COMMIT}), COMMIT),
        ('{"commit": ""}', None),
        ("[1]", None),
        ("{", None),
    ):
        record.write_text(content)
        assert _recorded(record) == commit


@needs_git
def test_a_version_comes_from_the_tags_and_without_them_from_the_settings(tmp_path: Path) -> None:
    coming = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools_scm"]["fallback_version"]
    base = coming.partition(".dev")[0]
    folder = repository(tmp_path / "r")
    untagged = version_in(folder)
    assert untagged.partition(".dev")[0] in (base, base.removesuffix(".0"))
    subprocess.run(["git", "clone", "-q", "--depth", "1", folder.as_uri(), tmp_path / "shallow"], check=True)
    assert version_in(tmp_path / "shallow").partition(".dev")[0] in (base, base.removesuffix(".0"))
    git(folder, "tag", "v0.7.0")
    assert version_in(folder) == "0.7.0"
    git(folder, "commit", "-q", "--allow-empty", "-m", "more")
    assert version_in(folder) == "0.7.1.dev1"
    assert version_in(folder, PATH=os.devnull) == coming


def test_a_version_without_git_is_that_of_the_settings_or_of_the_source_distribution(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert version_in(tmp_path) == "0.1.0.dev0"
    (tmp_path / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: hdlif\nVersion: 0.7.3\n")
    assert version_in(tmp_path) == "0.7.3"
