"""`hdlif run --stream`: what it says beside `hdlif run` on the same file, at once, and how it ends; and on frames."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from command_line import hdlif
from deployed_graphs import detector, residual_network, u_net
from hdlif.cli.predict import predict_files as run
from hdlif.cli.stream import stream
from hdlif.errors import HdlifError, InputError
from hdlif.graph.artefact import TaskRecord, save
from hostile import one_printable_line
from resource_limits import within_seconds
from series_networks import SOUND, STEPS, series_network
from sound_files import tone, wav_bytes
from special_files import special_files


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("net") / "net.hdlif.safetensors"
    save(series_network("conv1d", columns=("a", "b"), windows=(STEPS, 5)), path)
    return path


@pytest.fixture(scope="module")
def of_sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("net") / "sound.hdlif.safetensors"
    save(series_network("conv1d", sound=SOUND), path)
    return path


def rows(count: int) -> list[list[float]]:
    return np.random.default_rng(0).normal(0.5, 4, (count, 2)).astype(np.float32).tolist()


def text(count: int, header: str = "a,b\n") -> str:
    return header + "".join(f"{a!r},{b!r}\n" for a, b in rows(count))


@contextmanager
def started(*arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """`hdlif run` as a process of its own, with pipes."""
    command = [sys.executable, "-m", "hdlif", "run", *map(str, arguments)]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, bufsize=0, **pipes) as process, within_seconds(60):
        try:
            yield process
        finally:
            process.kill()


def end(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Its exit code, and what it has left on standard error."""
    assert process.stderr
    return process.wait(), process.stderr.read().decode()


def sent(process: subprocess.Popen[bytes], data: str | bytes) -> None:
    assert process.stdin
    process.stdin.write(data.encode() if isinstance(data, str) else data)


def line(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The next line on standard output, which is waited for."""
    assert process.stdout
    found: dict[str, Any] = json.loads(process.stdout.readline())
    return found


def test_each_window_of_a_file_is_answered_for_as_run_does(artefact: Path, of_sounds: Path, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(text(40))
    np.save(tmp_path / "x.npy", np.array(rows(40), np.float32))
    (tmp_path / "x.wav").write_bytes(wav_bytes(tone("low", 0, 0.45, 11025), 11025))
    for network, name in ((artefact, "x.csv"), (artefact, "x.npy"), (of_sounds, "x.wav")):
        wanted = [one.answer for one in run(network, [tmp_path / name]).inputs]
        found = list(stream(network, tmp_path / name))
        assert [decision.answer for decision in found[: len(wanted)]] == wanted
        if network == artefact:
            assert [decision.samples[0] for decision in found] == list(range(0, 40 - STEPS + 1, 5))
    (tmp_path / "x.raw").write_bytes((tmp_path / "x.wav").read_bytes()[44:])
    assert [one.answer for one in stream(of_sounds, tmp_path / "x.raw", rate=11025)] == [one.answer for one in found]
    # The text is a line for each decision.
    (tmp_path / "x.csv").write_text(text(STEPS + 5))
    lines = hdlif("run", artefact, "--stream", tmp_path / "x.csv").stdout.splitlines()
    wanted = [str(one).partition(": ")[2] for one in run(artefact, [tmp_path / "x.csv"]).inputs]
    for number, (said, answer) in enumerate(zip(lines, wanted, strict=True)):
        assert said.startswith(f"{number} [{5 * number}:{5 * number + 12}]: {answer}, step 12, ")
        assert said.endswith(" ms")


def test_a_line_is_said_as_soon_as_the_window_s_last_sample_is_there(artefact: Path) -> None:
    lines = text(20).splitlines(keepends=True)
    with started(artefact, "--stream", "-", "--json") as process:
        sent(process, "".join(lines[: 1 + STEPS]))
        said = line(process)
        assert list(said) == ["window", "samples", "step", "class", "label", "probability", "logits", "ms"]
        assert (said["window"], said["samples"], said["step"]) == (0, [0, STEPS], STEPS)
        for one in lines[1 + STEPS : 1 + STEPS + 5]:
            sent(process, one)
        assert line(process)["samples"] == [5, 5 + STEPS]
        # Ctrl-C leaves what has been said.
        process.send_signal(signal.SIGINT)
        code, said_of_it = end(process)
        assert (code, said_of_it.strip()) == (130, "interrupted after 2 decisions")


def test_the_end_within_a_window_is_said_and_answered_for_where_asked(artefact: Path, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(text(STEPS + 3))
    done = hdlif("run", artefact, "--stream", tmp_path / "x.csv")
    assert (done.returncode, done.stdout.count("\n"), done.stdout.startswith("0 [0:12]: ")) == (0, 1, True)
    assert "within windows 1 to 2 ([5:17])" in done.stderr
    options = ["--partial", "--confidence", "0", "--hop", "12", "--json"]
    done = hdlif("run", artefact, "--stream", tmp_path / "x.csv", *options)
    found = [json.loads(one) for one in done.stdout.splitlines()]
    assert [(one["samples"], one["step"]) for one in found] == [([0, 12], 1), ([12, 24], 1)]


def test_a_reader_that_goes_away_ends_it_in_silence(artefact: Path, tmp_path: Path) -> None:
    # A pipe in the file system is read as it is written to.
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with started(artefact, "--stream", fifo, "--json") as process, fifo.open("wb", buffering=0) as written:
        written.write(text(STEPS).encode())
        assert line(process)["window"] == 0
        assert process.stdout
        process.stdout.close()
        written.write(text(40, header="").encode())
        assert end(process) == (1, "")


def test_a_fault_ends_it_in_one_line_behind_what_was_said_unless_gaps_are_filled(
    artefact: Path, tmp_path: Path
) -> None:
    rows = text(STEPS) + "1,\n" + text(11, header="")
    with started(artefact, "--stream", "-") as process:
        out, err = process.communicate(rows.encode())
    assert (process.returncode, out.count(b"\n"), err.count(b"\n")) == (2, 1, 1)
    assert err.startswith(b"InputError: standard input: ")
    assert b"line 14, column 'b'" in err
    (tmp_path / "x.csv").write_text(rows)
    assert len(list(stream(artefact, tmp_path / "x.csv", gaps="hold", hop=12))) == 2
    said: list[str] = []
    (tmp_path / "x.csv").write_text("1\n" + text(STEPS, header="") + "a,b\n" + text(STEPS, header=""))
    assert len(list(stream(artefact, tmp_path / "x.csv", bad_lines="skip", hop=12, say=said.append))) == 2
    assert [line.split(": ", 1)[1] for line in said] == ["skipped 2 lines that are not rows of numbers"]
    # Windows whose answers are not finite are named, and the others answered for.
    (tmp_path / "x.csv").write_text("3e38,3e38\n" * STEPS + text(STEPS, header=""))
    save(series_network(), tmp_path / "net.hdlif.safetensors")
    done = hdlif("run", tmp_path / "net.hdlif.safetensors", "--stream", tmp_path / "x.csv", "--json")
    assert (done.returncode, json.loads(done.stdout)["window"]) == (1, 1)
    assert done.stderr.startswith("InputError: 0 [0:12]: no finite prediction")


def test_what_is_no_stream_is_refused_at_once(artefact: Path, tmp_path: Path) -> None:
    places = special_files(tmp_path, ".csv")
    # which waits for whoever writes to it, as it should
    del places["fifo"]
    for place in [*places.values(), tmp_path / "nothing.csv", Path("/dev/zero")]:
        with within_seconds(10), pytest.raises(InputError) as caught:
            list(stream(artefact, place))
        if len(str(place)) < 1000:
            one_printable_line(caught.value)
    assert "line 1 has more than 131,072 bytes" in str(caught.value)


def test_what_does_not_fit_the_network_is_refused(artefact: Path, of_sounds: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_bytes(b"")
    pictures, labels = tmp_path / "pictures.hdlif.safetensors", tmp_path / "labels.hdlif.safetensors"
    save(residual_network(), pictures)
    save(series_network(task=TaskRecord("multilabel")), labels)
    for network, options, words in (
        (artefact, {}, r"empty\.csv: the stream ended before the first sample"),
        (of_sounds, {}, r"empty\.csv: .*sound at 8,000 Hz"),
        (artefact, {"rate": 16000}, "rate = 16000 applies only to audio.* at the rate of the training data"),
        (of_sounds, {"gaps": "stop"}, "gaps = stop applies only to rows"),
        (of_sounds, {"bad_lines": "skip"}, "bad-lines = skip applies only to rows"),
        (artefact, {"out": tmp_path}, "a network for time series does not produce"),
        (pictures, {}, "ended before the first frame"),
        (pictures, {"gaps": "hold"}, "the network takes images"),
        (labels, {"confidence": 0.5}, "task is multilabel"),
    ):
        with pytest.raises(HdlifError, match=words):
            list(stream(network, tmp_path / "empty.csv", **options))
    for arguments, words in (
        (["--stream", "a", "b"], "--stream takes one INPUT"),
        (["a", "--confidence", "0.5", "--page", "a.html"], "--page shows all time steps"),
        (["a", "--gaps", "hold"], "--gaps applies to streams"),
        (["a", "--bad-lines", "skip"], "--bad-lines applies to streams"),
        (["a", "--partial"], "--partial applies to streams"),
        (["a", "--hop", "3"], "--hop applies to streams"),
        (["a", "--rate", "8000"], "--rate applies to streams"),
    ):
        result = hdlif("run", artefact, *arguments)
        assert (result.returncode, words in result.stderr) == (2, True), result.stderr


SIZE = (20, 30)


@pytest.fixture
def of_boxes(tmp_path: Path) -> Path:
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


def test_frames_of_a_folder_and_of_a_pipe_have_the_same_boxes(of_boxes: Path, folder: Path, tmp_path: Path) -> None:
    done = hdlif("run", of_boxes, folder, "--stream", "--json")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(one["input"]).stem for one in found] == [f"frame{number}" for number in range(12)]
    assert [one["frames"] for one in found] == [[number, number + 1] for number in range(12)]
    assert np.asarray(Image.open(found[0]["file"])).shape == (*SIZE, 3)

    film = tmp_path / "film"
    frames = [(folder / f"frame{number}.ppm").read_bytes() for number in range(12)]
    film.write_bytes(b"".join(frames).replace(b"P6\n", b"P6\n# of a camera\n", 1))
    piped = [one.as_dict() for one in stream(of_boxes, film)]
    assert [one["boxes"] for one in piped] == [one["boxes"] for one in found]
    assert not any("file" in one for one in piped)
    (last,) = [one for one in stream(of_boxes, film, out=tmp_path / "drawn") if one.answer and one.input == "frame_11"]
    assert last.answer
    assert Path(last.answer["file"]) == tmp_path / "drawn/frame_11.answer.png"
    assert Image.open(last.answer["file"]).size == SIZE[::-1]


def test_what_comes_before_a_fault_is_answered_for(of_boxes: Path, folder: Path, tmp_path: Path) -> None:
    good, film = (folder / "frame0.ppm").read_bytes(), tmp_path / "film"
    for bad, said in (
        (good[:-1], "ends within an image, after 1,799 of 1,800 bytes"),
        (b"P6 30", "the header of an image is cut short or too long"),
        (b"P6 #" + b"x" * 2000, "the header of an image is cut short or too long"),
        (good.replace(b"255", b"65535"), "the largest value of an image is 65535"),
        (b"P6 65536 2 255 ", "2x65536"),
        (b"\x89PNG", r"begins with b'\\x89P'"),
    ):
        film.write_bytes(good + bad)
        at_work = stream(of_boxes, film)
        assert next(at_work).answer is not None
        with pytest.raises(InputError, match=f"film: reading stopped .*{said}.*ffmpeg -f image2pipe"):
            next(at_work)
    film.write_bytes(b"")
    with pytest.raises(InputError, match="ended before the first frame"):
        list(stream(of_boxes, film))


def test_a_window_that_the_frames_end_in_is_named(folder: Path, tmp_path: Path) -> None:
    graph, path, lines = u_net(), tmp_path / "net.hdlif.safetensors", list[str]()
    save(replace(graph, input=replace(graph.input, resize="bilinear")), path)
    for number in range(graph.time_steps + 1, 12):
        (folder / f"frame{number}.ppm").unlink()
    (found,) = stream(path, folder, say=lines.append)
    assert found.as_dict()["frames"] == [0, graph.time_steps]
    steps = graph.time_steps
    said = (
        f"the stream ended after {steps + 1} frames, within [{steps}:{steps + 1}]: no prediction; --partial gives one"
    )
    hint = f"one prediction per {steps} frames; for unrelated images, remove --stream"
    assert lines == [f"{folder}: {hint}", f"{folder}: {said}"]
    assert len(list(stream(path, folder, partial=True))) == 2
    with pytest.raises(HdlifError, match="hop = 2 applies only to time series and audio"):
        list(stream(path, folder, hop=2))
