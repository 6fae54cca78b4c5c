"""`hdlif run` on images and arrays: answers, batches, refusals, and the page of a recording."""

import inspect
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import hdlif
from cases import every
from command_line import hdlif as command
from deployed_graphs import random_input, residual_network
from hdlif.cli.predict import BATCH
from hdlif.cli.predict import predict_files as run
from hdlif.deploy import export
from hdlif.errors import InputError, printable
from hdlif.graph.artefact import TaskRecord, save
from hdlif.inputs import MOST_BYTES
from hdlif.recipe import builders
from hdlif.report import recording_page as module
from hdlif.report.recording_page import recording_page
from hdlif.runtime import Session
from hostile import one_printable_line
from resource_limits import within_seconds
from series_networks import SOUND, STEPS, series_network
from small_recipes import recipe
from sound_files import tone, wav_bytes
from special_files import special_files


@pytest.fixture
def network(tmp_path: Path) -> Path:
    save(residual_network(), tmp_path / "net.hdlif.safetensors")
    return tmp_path / "net.hdlif.safetensors"


def test_images_and_arrays_give_classes(network: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", pixels.transpose(2, 0, 1))
    normalised = ((pixels / np.float32(255) - np.float32(0.5)) / np.float32(0.25)).transpose(2, 0, 1)
    np.save(tmp_path / "c.npy", normalised)
    np.save(tmp_path / "d.npy", normalised[None].repeat(4, axis=0))
    inputs = [tmp_path / name for name in ("a.png", "b.npy", "c.npy", "d.npy")]
    results = run(network, inputs, layout="sequence", threads=1).as_dict()["inputs"]
    logits = Session(network).run(normalised[None, None]).mean(axis=0)[0]
    powers = np.exp(logits - logits.max())
    for path, result in zip(inputs, results, strict=True):
        assert result["input"] == str(path)
        assert (result["class"], result["label"]) == (logits.argmax(), f"class {logits.argmax()}")
        np.testing.assert_allclose(result["logits"], logits, rtol=1e-6)
        np.testing.assert_allclose(result["probability"], powers.max() / powers.sum(), rtol=1e-5)


def test_an_array_may_hold_an_image_of_any_size(network: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    arrays = [rng.integers(0, 256, (12, 10, *channels), dtype=np.uint8) for channels in ((3,), (), (1,))]
    arrays.append(np.concatenate([arrays[0], np.full((12, 10, 1), 255, np.uint8)], axis=2))
    for i, array in enumerate(arrays):
        np.save(tmp_path / f"{i}.npy", array)
        Image.fromarray(array.squeeze()).save(tmp_path / f"{i}.png")
    of_arrays, of_images = (
        [one.answer["logits"] for one in run(network, [tmp_path / f"{i}.{suffix}" for i in range(4)]).inputs]
        for suffix in ("npy", "png")
    )
    assert of_arrays == of_images


def test_a_folder_gives_all_images_below_it_in_order(network: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (folder / "b").mkdir(parents=True)
    pixels = np.random.default_rng(2).integers(0, 256, (3, 9, 7, 3), dtype=np.uint8)
    names = ["a.png", "b/c.PNG", "d.jpg"]
    for name, image in zip(names, pixels, strict=True):
        Image.fromarray(image).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    results = run(network, [folder, folder / "a.png"]).inputs
    assert [result.input for result in results] == [str(folder / name) for name in [*names, "a.png"]]
    assert results[0] == results[3] != results[1]


def test_what_cannot_be_read_is_named_and_the_rest_answered_for(network: Path, tmp_path: Path) -> None:
    for number in range(BATCH + 3):
        Image.new("RGB", (7, 9), (number, 0, 0)).save(tmp_path / f"{number:02}.png")
    (tmp_path / "05.png").write_bytes(b"none")
    result = run(network, [tmp_path, tmp_path / "nothing.png"], threads=1)
    assert [int(Path(one.input).stem) for one in result.inputs] == [n for n in range(BATCH + 3) if n != 5]
    assert result.as_dict()["failed"] == list(result.failed)
    assert [line.partition(": ")[0] for line in result.failed] == [str(tmp_path / n) for n in ("05.png", "nothing.png")]
    with pytest.raises(InputError, match=r"05.png: .*; 1 more inputs cannot be used$"):
        run(network, [tmp_path / "05.png", tmp_path / "nothing.png"])


def test_inputs_of_equally_many_steps_are_run_in_batches_that_are_not_too_large(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hdlif.cli.predict.BATCH", 4)
    paths, shapes, of_session = [], [], Session.run
    for i, steps in enumerate([1] * 5 + [6, 6, 1]):
        paths.append(tmp_path / f"{i}.npy")
        np.save(paths[-1], random_input(residual_network(), steps, 1, seed=i)[:, 0])
    alone = [run(network, [path], layout="sequence").inputs[0] for path in paths]
    monkeypatch.setattr(Session, "run", lambda self, x: (shapes.append(x.shape[:2]), of_session(self, x))[1])
    assert list(run(network, paths, layout="sequence").inputs) == alone
    assert shapes == [(1, 4), (1, 1), (6, 2), (1, 1)]
    shapes.clear()
    monkeypatch.setattr("hdlif.cli.predict.BATCH_VALUES", 3 * 3 * 9 * 7)
    run(network, paths[:5])
    assert shapes == [(1, 3), (1, 2)]


def test_four_axes_are_a_batch_of_images_unless_the_layout_is_a_sequence(network: Path, tmp_path: Path) -> None:
    graph, path = residual_network(), tmp_path / "x.npy"
    for count in (1, 6, 20):
        x = random_input(graph, count, 1)
        np.save(path, x[:, 0])
        for layout, shown in ((None, x.swapaxes(0, 1)), ("batch", x.swapaxes(0, 1)), ("sequence", x)):
            answers = hdlif.predict(network, path, layout=layout)
            expected = Session(network).run(shown).mean(axis=0)
            np.testing.assert_allclose([one["logits"] for one in answers], expected, rtol=1e-6)
    assert [one.input for one in run(network, [path]).inputs] == [f"{path}[{number}]" for number in range(20)]
    several = x.reshape(5, 4, *graph.input.shape)
    np.save(path, several)
    expected = Session(network).run(several.swapaxes(0, 1)).mean(axis=0)
    np.testing.assert_allclose([one["logits"] for one in hdlif.predict(network, path)], expected, rtol=1e-6)


def test_as_many_images_as_time_steps_are_refused_without_a_layout(network: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((4, 3, 9, 7), np.uint8))
    with pytest.raises(InputError, match="choose the layout"):
        run(network, [path])
    assert [len(run(network, [path], layout=layout).inputs) for layout in ("batch", "sequence")] == [4, 1]
    with pytest.raises(InputError, match="layout = 'series'"):
        hdlif.predict(network, path, layout="series")
    # Frames of events are no samples of their own.
    save(replace(residual_network(), input=replace(residual_network().input, kind="events", resize="none")), network)
    assert [len(run(network, [path], layout=layout).inputs) for layout in (None, "batch")] == [1, 4]


def test_what_is_no_image_and_no_array_that_the_network_takes_is_refused(network: Path, tmp_path: Path) -> None:
    for array, words in (
        (np.zeros((3, 9, 8), np.float32), r"takes \[3, 9, 7\]"),
        (np.zeros((3, 9, 7)), "takes"),
        (np.zeros((1, 1, 1, 3, 9, 7), np.float32), "takes"),
        (np.zeros((2, 0, 3, 9, 7), np.float32), "takes"),
        (np.zeros((0, 3, 9, 7), np.float32), "takes"),
        (np.full((3, 9, 7), np.nan, np.float32), "takes"),
        (np.array(1.0, np.float32), "takes"),
        (np.zeros((2, 3, 9, 8), np.uint8), "takes"),
        (np.zeros((9, 7, 2), np.uint8), r"an image is \[H, W\]"),
        (np.zeros((9, 0), np.uint8), r"an image is \[H, W\]"),
        (np.zeros((3, 9, 8), np.uint8), r"an image is \[H, W\]"),
        (np.zeros((2_000_000, 1), np.uint8), "it is 2000000x1"),
        (np.full((3, 9, 7), 3e38, np.float32), "not finite"),
    ):
        np.save(tmp_path / "x.npy", array)
        with pytest.raises(InputError, match=f"x.npy: .*{words}"):
            run(network, [tmp_path / "x.npy"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.npy").write_bytes(b"nothing")
    for name in ("large.npy", "large.png"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(MOST_BYTES + 1)
    for name, words in (
        ("empty", "no image is in this folder"),
        ("none.npy", "cannot be read as an array"),
        ("absent.npy", "there is no such file"),
        ("absent.png", "there is no such file"),
        ("large.npy", "larger than 268,435,456 bytes"),
        ("large.png", "larger than 268,435,456 bytes"),
    ):
        with pytest.raises(InputError, match=words):
            run(network, [tmp_path / name])


@every(suffix=[".npy", ".png"])
def test_what_is_no_regular_file_is_refused_at_once(network: Path, tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / suffix
    folder.mkdir()
    for kind, path in special_files(folder, suffix).items():
        with within_seconds(10), pytest.raises(InputError) as caught:
            run(network, [path])
        if kind != "long":
            one_printable_line(caught.value)
        assert str(caught.value).startswith(printable(str(path)))


def test_folders_of_any_depth_are_searched_and_links_to_folders_are_not(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top, depth = tmp_path / "top", 300
    top.mkdir()
    (top / "self").symlink_to(top)
    os.mkfifo(top / "fifo.png")
    monkeypatch.chdir(top)
    for _ in range(depth):
        Path("d").mkdir()
        os.chdir("d")
    Image.new("RGB", (7, 9)).save("x.png")
    # A search that calls itself would need as many frames.
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 200)
    try:
        (result,) = run(network, [top]).inputs
    finally:
        sys.setrecursionlimit(before)
    assert result.input == str(top.joinpath(*["d"] * depth, "x.png"))


def test_limits_are_options(network: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, random_input(residual_network(), 1, 1)[0, 0])
    arguments = ("run", network, path)
    assert command(*arguments, "--max-bytes", "10000000", "--max-operations", "100000000").returncode == 0
    for option in ("--max-bytes", "--max-operations"):
        refused = command(*arguments, option, "10000")
        assert (refused.returncode, refused.stderr.count("\n"), option in refused.stderr) == (2, 1, True)
    with pytest.raises(InputError, match=r"nothing\.npy"):
        hdlif.predict(network, path, tmp_path / "nothing.npy")


@every("frames", "steps", of=[("rows", 8), ("pixels", 64)])
def test_a_network_trained_on_parts_of_pictures_is_shown_a_picture_part_by_part(
    tmp_path: Path, frames: str, steps: int
) -> None:
    chosen = recipe("model.blocks=[1]", f"data.frames={frames}", f"time_steps={steps}")
    path, labels = tmp_path / "rows.hdlif.safetensors", builders.data_kind(chosen).labels
    trained = builders.build_model(chosen).eval()
    export(trained, path, input=builders.input_record(chosen), labels=labels, time_steps=steps)
    test = builders.build_data(chosen).test
    Image.fromarray(test.pixels[3, 0].numpy()).save(tmp_path / "digit.png")
    np.save(tmp_path / "digit.npy", test.pixels[3, 0].numpy())
    x, _ = test.sequence(torch.tensor([3]))
    expected = Session(path).run(x.contiguous().numpy()).mean(axis=0)[0].tolist()
    for result in run(path, [tmp_path / "digit.png", tmp_path / "digit.npy"]).inputs:
        assert result.answer["logits"] == expected


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
    assert "one frame of sound per step, by time step: one row per channel (12)" in captions(text)[0]
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
    done = command("run", net, rows, "--page", out)
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
        (["--page", out, "--stream"], "and cannot be combined with --page"),
        (["--page", out, "--layout", "batch"], "remove --layout"),
    ):
        refused = command("run", net, rows, *options)
        assert (refused.returncode, words in refused.stderr) == (2, True), refused.stderr
