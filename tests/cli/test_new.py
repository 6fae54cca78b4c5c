"""`hdlif new project` writes a folder in which everything that its page says works."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hdlif.cli.new import EACH, SHAPES, project
from hdlif.errors import InputError, OutputError


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


@pytest.mark.parametrize("taken", ["file", "folder", "link"])
def test_what_is_there_is_left_alone(tmp_path: Path, taken: str) -> None:
    place = tmp_path / "mine"
    if taken == "file":
        place.write_text("mine")
    elif taken == "link":
        place.symlink_to(tmp_path / "nowhere")
    else:
        place.mkdir()
        (place / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="already exists; give the name of a new folder"):
        project(place)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_empty_folder_is_taken_and_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert project(tmp_path / "mine")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        project(tmp_path / "file" / "mine")
