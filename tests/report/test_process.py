"""The process of a training: its commit, its freed memory, its signal stack and its peak memory."""

import ctypes
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hdlif.recipe import load_recipe
from hdlif.report.build_info import Build, _recorded, build, head
from hdlif.report.engines import _Stack, signal_stack_kept
from hdlif.report.peak_memory import peak_memory
from hdlif.report.provenance import versions

ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef" * 2 + "01234567"
ALONE = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=n", "-c", "user.email=a@example.org", *words]
    done = subprocess.run(command, cwd=folder, env=os.environ | ALONE, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "commit", "-q", "--allow-empty", "-m", "more")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "r"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder)
    return folder


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
    for text, expected in ((json.dumps({"commit": COMMIT}), COMMIT), ('{"commit": ""}', None), ("[1]", None)):
        record.write_text(text)
        assert _recorded(record) == expected, text
    assert "commit 0123456789ab" in str(Build("0.2.0", COMMIT, "wheel"))
    assert "an unknown commit" in str(Build("0.2.0", None, "wheel"))


FAULTS = """
import resource
import numpy as np
from hdlif.report.allocator import keep_freed_memory

kept = {keep} and keep_freed_memory()
block = np.ones(2**23)
del block
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    block = np.ones(2**23)
    del block
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
LIBRARY, VERSION = platform.libc_ver()
OLD = LIBRARY != "glibc" or tuple(map(int, VERSION.split("."))) < (2, 35)


@pytest.mark.skipif(OLD, reason="before 2.35 glibc keeps 32 MiB at most")
def test_freed_memory_stays_with_the_process_unless_the_user_has_settings_of_the_allocator() -> None:
    """Ten blocks of 64 MiB fault in their pages ten times, or not at all."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    for keep, settings, kept in (
        (False, {}, False),
        (True, {}, True),
        (True, {"MALLOC_ARENA_MAX": "1"}, False),
        (True, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=1"}, False),
    ):
        program = [sys.executable, "-c", FAULTS.format(keep=keep)]
        child = subprocess.run(program, env=environment | settings, check=True, capture_output=True, text=True)
        said, faults = child.stdout.split()
        assert (said, int(faults) < 100) == (str(kept), kept), settings


def signal_stack() -> tuple[int | None, int]:
    found = _Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found)) == 0
    return found.base, found.size


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_the_stack_of_before_is_back_whatever_took_its_place() -> None:
    before = signal_stack()
    memory = ctypes.create_string_buffer(2**16)

    def fail() -> None:
        ctypes.CDLL(None).sigaltstack(ctypes.byref(_Stack(ctypes.addressof(memory), 0, len(memory))), None)
        assert signal_stack() == (ctypes.addressof(memory), 2**16)
        raise ValueError("lost")

    with pytest.raises(ValueError, match="lost"):
        signal_stack_kept()(fail)()
    assert signal_stack() == before


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is set back on Linux alone")
def test_a_batch_that_lies_apart_is_not_counted() -> None:
    steps, batch, channels = 1024, 1000, 2
    found = {
        "digest": "0" * 64,
        "classes": ["one", "two"],
        "input": {"kind": "series", "shape": [channels, steps, 1], "mean": [0.0] * channels, "std": [1.0] * channels}
        | {"resize": "none", "fit": "squash"},
    }
    sizes = [f"time_steps={steps}", f"data.batch_size={batch}", "rule={kind: stochastic_step}"]
    recipe = load_recipe("hapt_hdlif", [*sizes, f"data.found={json.dumps(found)}", "model.widths=[4, 4]"])
    counted, apart = (peak_memory(recipe, repeats=1, threads=1, batch_apart=one) for one in (False, True))
    assert counted - apart > 0.9 * 4 * steps * batch * channels
