"""Runs that are trained once per session; tests read them, and copy what they change."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.own_kinds import KINDS, Made
from command_line import hdlif
from hdlif.cli.export import export_file
from single_thread import one_thread  # noqa: F401 - an autouse fixture; the bytes of a training depend on the threads

FAST = ["training.epochs=1", "data.batch_size=128", "model.width=4", "model.blocks=[1]"]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of a run on the digits, and what its training printed."""
    out = tmp_path_factory.mktemp("trained") / "net"
    options = [word for one in FAST for word in ("--set", one)]
    done = hdlif("train", "digits_hdlif_w1p5_s4_parallel", *options, "--out", out, "--memory-repeats", 0, "--json")
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout)


@pytest.fixture(scope="session")
def run_folder(trained: tuple[Path, dict[str, Any]]) -> Path:
    return trained[0]


@pytest.fixture(scope="session")
def artefact(run_folder: Path) -> Path:
    path = run_folder.with_name("net.hdlif.safetensors")
    done = hdlif("export", run_folder, "--out", path, "--json")
    printed = json.loads(done.stdout)
    assert (printed["artefact"], printed["bytes"]) == (str(path), path.stat().st_size)
    return path


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """Data of one's own of a kind, with a run on them and its model file."""

    @functools.cache
    def make(name: str) -> Made:
        root = tmp_path_factory.mktemp("own")
        made = Made(str(KINDS[name].write(root)), root / "run", root / "net.hdlif.safetensors")
        KINDS[name].train(made.data, made.run)
        export_file(made.run, out=made.network)
        return made

    return make
