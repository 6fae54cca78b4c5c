"""`hdlif run --stream` on frames: of a folder, by their numbers, and of a pipe."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import hdlif
from deployed_graphs import detector, u_net
from hdlif.cli.stream import stream
from hdlif.errors import HdlifError, InputError
from hdlif.graph.artefact import save

SIZE = (20, 30)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A network that finds boxes in each frame."""
    graph, path = detector(), tmp_path / "net.hdlif.safetensors"
    task = replace(graph.task, combine="each")
    save(replace(graph, task=task, input=replace(graph.input, resize="bilinear", fit="letterbox")), path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve frames, whose names do not begin with zeros."""
    frames = tmp_path / "frames"
    frames.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (12, *SIZE, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(frames / f"frame{number}.ppm")
    return frames


def test_frames_of_a_folder_and_of_a_pipe_have_the_same_boxes(network: Path, folder: Path, tmp_path: Path) -> None:
    done = hdlif("run", network, folder, "--stream", "--json")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(one["input"]).stem for one in found] == [f"frame{number}" for number in range(12)]
    assert [one["frames"] for one in found] == [[number, number + 1] for number in range(12)]
    assert np.asarray(Image.open(found[0]["file"])).shape == (*SIZE, 3)

    film = tmp_path / "film"
    frames = [(folder / f"frame{number}.ppm").read_bytes() for number in range(12)]
    film.write_bytes(b"".join(frames).replace(b"P6\n", b"P6\n# of a camera\n", 1))
    piped = [one.as_dict() for one in stream(network, film)]
    assert [one["boxes"] for one in piped] == [one["boxes"] for one in found]
    assert not any("file" in one for one in piped)
    (last,) = [one for one in stream(network, film, out=tmp_path / "drawn") if one.answer and one.input == "frame_11"]
    assert last.answer
    assert Path(last.answer["file"]) == tmp_path / "drawn/frame_11.answer.png"
    assert Image.open(last.answer["file"]).size == SIZE[::-1]


def test_what_comes_before_a_fault_is_answered_for(network: Path, folder: Path, tmp_path: Path) -> None:
    good, film = (folder / "frame0.ppm").read_bytes(), tmp_path / "film"
    for bad, said in (
        (good[:-1], "ends within an image, 1,799 of 1,800 bytes"),
        (b"P6 30", "ends, or goes on, within the header"),
        (b"P6 #" + b"x" * 2000, "ends, or goes on, within the header"),
        (good.replace(b"255", b"65535"), "the largest value of an image is 65535"),
        (b"P6 65536 2 255 ", "2x65536"),
        (b"\x89PNG", r"begins with b'\\x89P'"),
    ):
        film.write_bytes(good + bad)
        at_work = stream(network, film)
        assert next(at_work).answer is not None
        with pytest.raises(InputError, match=f"film: reading stopped .*{said}.*ffmpeg -f image2pipe"):
            next(at_work)
    film.write_bytes(b"")
    with pytest.raises(InputError, match="ended before the first frame"):
        list(stream(network, film))


def test_a_window_that_the_frames_end_in_is_named(folder: Path, tmp_path: Path) -> None:
    graph, path, lines = u_net(), tmp_path / "net.hdlif.safetensors", list[str]()
    save(replace(graph, input=replace(graph.input, resize="bilinear")), path)
    for number in range(graph.time_steps + 1, 12):
        (folder / f"frame{number}.ppm").unlink()
    (found,) = stream(path, folder, say=lines.append)
    assert found.as_dict()["frames"] == [0, graph.time_steps]
    steps = graph.time_steps
    said = f"it ended after {steps + 1} frames, within [{steps}:{steps + 1}]: no answer; --partial gives one"
    assert lines == [f"{folder}: {said}"]
    assert len(list(stream(path, folder, partial=True))) == 2
    with pytest.raises(HdlifError, match="hop = 2 applies to series and sounds"):
        list(stream(path, folder, hop=2))
