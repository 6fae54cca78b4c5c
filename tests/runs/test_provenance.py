"""Where a measurement says it comes from."""

import shutil
import subprocess
from pathlib import Path

import pytest

from hdlif.runs.provenance import command, commit, measured


def test_command_names_no_folder_of_this_machine() -> None:
    assert command(["/opt/bin/hdlif", "ablate", "digits", "--out", "/tmp/runs"]) == "hdlif ablate digits --out runs"
    script = ["/home/me/hdlif/benchmarks/bench_rules.py", "--rules", "STBP;random step"]
    assert command(script) == "python benchmarks/bench_rules.py --rules 'STBP;random step'"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_commit_is_that_of_the_checkout_that_has_the_file(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        identity = ("-c", "user.name=me", "-c", "user.email=me@localhost")
        found = subprocess.run(["git", *identity, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return found.stdout.strip()

    source, other = tmp_path / "source.py", tmp_path / "other.py"
    source.write_text("1")
    assert commit(source) == "not recorded"
    git("init", "--quiet")
    git("add", "source.py")
    git("commit", "--quiet", "-m", "First")
    assert commit(source) == git("rev-parse", "HEAD")
    source.write_text("2")
    assert commit(source) == git("rev-parse", "HEAD") + "-dirty"
    other.write_text("")
    assert commit(other) == "not recorded"


def test_seeds_are_said_even_where_there_are_none() -> None:
    assert measured([42, 43])["seeds"] == [42, 43]
    assert measured("the recipe's own")["seeds"] == "the recipe's own"
    assert measured(None)["seeds"] == "nothing is random"
