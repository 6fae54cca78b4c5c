"""`hdlif run --page`: a page of a recording that stands by itself."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from command_line import hdlif
from deployed_graphs import residual_network
from hdlif.cli.predict import predict_files as run
from hdlif.errors import InputError
from hdlif.graph.artefact import TaskRecord, save
from hdlif.report import recording_page as module
from hdlif.report.recording_page import recording_page
from series_networks import SOUND, STEPS, series_network
from sound_files import tone, wav_bytes


def page(tmp_path: Path, recording: Path, **network: object) -> str:
    save(series_network("conv1d", **network), tmp_path / "net.hdlif.safetensors")  # type: ignore[arg-type]
    return recording_page(tmp_path / "net.hdlif.safetensors", recording)


def readings(tmp_path: Path, rows: int = 40) -> Path:
    x = np.random.default_rng(0).normal(0.5, 4, (rows, 2))
    path = tmp_path / "x.csv"
    path.write_text("left,right\n" + "".join(f"{a},{b}\n" for a, b in x.tolist()))
    return path


def captions(text: str) -> list[str]:
    return re.findall(r"<figcaption><b>Figure \d\.</b> (.*?)</figcaption>", text)


def test_a_series_is_shown_with_what_the_network_does_and_says(tmp_path: Path) -> None:
    recording = readings(tmp_path)
    text = page(tmp_path, recording, columns=("left", "right"), windows=(STEPS, STEPS))
    assert len(captions(text)) == 5
    assert re.search(r'<th scope="row">body.act1:(\d+)</th><td>channel \1, row 0, column 0</td>', text)
    # Captions name the file, whose windows alone stand in the table.
    assert "on x.csv:2-13" in captions(text)[3]
    for name in ("left", "right", "a", "b", "c", "body.act1", "body.act2"):
        assert f"<span>{name}</span>" in text
    for one in run(tmp_path / "net.hdlif.safetensors", [recording]).inputs:
        place, answer = str(one).removeprefix(str(recording)).split(": ")
        assert f'<th scope="row">{place}</th><td>{answer}</td>' in text
    assert re.search(r'<p class="findings">(\w in \d(, )?)+ of 3 windows\.</p>', text)
    # It stands by itself, and is the same for the same numbers.
    assert not re.search(r"<script (?!>)|https?:|src=|<link|@import|url\((?!#)", text)
    assert "default-src 'none'" in text
    assert recording_page(tmp_path / "net.hdlif.safetensors", recording) == text


@pytest.mark.slow
def test_windows_that_overlap_or_are_too_many_are_left_out_and_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = page(tmp_path, readings(tmp_path), windows=(STEPS, 5))
    # Of those from row 0, 5, 10, ..., 25 every third.
    assert re.findall(r'<th scope="row">(:[\d-]+)</th>', text) == [":2-13", ":17-28"]
    assert "4 further windows" in text
    monkeypatch.setattr(module, "MOST_STEPS", 30)
    assert "of 2 windows. 48 further windows" in page(tmp_path, readings(tmp_path, 600), windows=(STEPS, STEPS))


@pytest.mark.slow
def test_a_sound_is_a_map_of_its_frames(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(wav_bytes(tone("low", 0, 0.2)))
    text = page(tmp_path, tmp_path / "x.wav", channels=12, sound=replace(SOUND, mels=12))
    assert "a frame of sound a step, by time step: a row for each of 12 channels" in captions(text)[0]
    assert re.search(r'<p class="findings">[abc] \([\d.]+%\)\.</p>', text)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "unit"),
    [
        (TaskRecord("sequence", "each", delay=1), "probability"),
        (TaskRecord("regress", "mean", mean=(0.0,) * 3, std=(1.0,) * 3), "value"),
        (TaskRecord("multilabel"), "probability of each label"),
    ],
)
def test_other_tasks_say_what_they_say(tmp_path: Path, task: TaskRecord, unit: str) -> None:
    text = page(tmp_path, readings(tmp_path, STEPS), task=task)
    assert captions(text)[1] == f"The {unit} after each step of a window, by time step."


def test_names_of_strangers_are_text_alone(tmp_path: Path) -> None:
    recording = readings(tmp_path, STEPS).rename(tmp_path / "<b>\u202ex.csv")
    save(replace(series_network(), labels=("<script>", "b&b", "c")), tmp_path / "net.hdlif.safetensors")
    text = recording_page(tmp_path / "net.hdlif.safetensors", recording)
    assert text.count("<script") == 1
    assert "\u202e" not in text
    assert "<h1>&lt;b&gt;\\u202ex.csv</h1>" in text


def test_the_command_says_where_the_page_is_and_refuses_what_has_none(tmp_path: Path) -> None:
    net, out, rows = tmp_path / "net.hdlif.safetensors", tmp_path / "page.html", readings(tmp_path, STEPS)
    save(series_network(), net)
    done = hdlif("run", net, rows, "--page", out)
    assert (done.returncode, done.stdout) == (0, f"{out}\n")
    assert out.read_text("utf-8").startswith("<!DOCTYPE html>")
    save(residual_network(), tmp_path / "pictures.hdlif.safetensors")
    np.save(tmp_path / "x.npy", np.full((STEPS, 2), 3e38, np.float32))
    for network, recording, words in (
        (tmp_path / "pictures.hdlif.safetensors", tmp_path / "x.png", "inputs of kind image"),
        (net, tmp_path / "nothing.csv", "there is no such file"),
        (net, tmp_path / "x.npy", "not finite"),
        (net, tmp_path, "is a folder; --page takes one file"),
    ):
        with pytest.raises(InputError, match=words):
            recording_page(network, recording)
    for options, words in (
        (["--page", tmp_path], "is a folder"),
        (["--page", out, rows], "--page takes one INPUT"),
        (["--page", out, "--stream"], "and no --page"),
        (["--page", out, "--layout", "batch"], "leave out --layout"),
    ):
        refused = hdlif("run", net, rows, *options)
        assert (refused.returncode, words in refused.stderr) == (2, True), refused.stderr
