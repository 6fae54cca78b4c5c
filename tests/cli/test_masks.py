"""`hdlif run` and `hdlif.predict` on networks with masks and boxes: answers in the images' own pixels, and drawn."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hdlif
from command_line import hdlif as command
from deployed_graphs import detector, u_net
from hdlif.errors import InputError
from hdlif.graph.artefact import TaskRecord, save
from hdlif.inputs.fitting import boxes_to_picture
from hdlif.report.recording_page import recording_page
from hdlif.runtime import Session, read_image
from hdlif.runtime.boxes import decode_boxes
from hdlif.runtime.drawing import INKS
from hdlif.runtime.masks import COLOURS


@pytest.fixture
def network(tmp_path: Path) -> Path:
    graph, path = u_net(), tmp_path / "net.hdlif.safetensors"
    save(replace(graph, input=replace(graph.input, fit="letterbox")), path)
    return path


def picture(path: Path, size: tuple[int, int], seed: int = 0) -> Path:
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def read(path: object) -> np.ndarray:
    return np.asarray(Image.open(str(path)))


def read_rgb(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_a_mask_is_written_next_to_each_image(network: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    images = [picture(folder / "a.png", (20, 12)), picture(folder / "b.jpg", (7, 31), seed=1)]
    for _ in range(2):  # masks of the run before are no images
        done = command("run", network, folder, "--json", "--threads", 1)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)["inputs"]
        assert [one["input"] for one in found] == [str(path) for path in images]
        for one, path, answer in zip(found, images, hdlif.predict(network, folder), strict=True):
            mask = read(one["file"])
            assert one["file"] == str(path.with_suffix(".answer.png"))
            np.testing.assert_array_equal(mask, answer["mask"])
            assert one["size"] == list(mask.shape)
            assert one["pixels"] == {f"class {k}": int((mask == k).sum()) for k in range(3)}
            overlay = read(path.with_suffix(".overlay.png"))
            half = read_rgb(path) // 2 + COLOURS[mask] // 2
            np.testing.assert_array_equal(overlay, np.where(mask[..., None] > 0, half, read_rgb(path)))
            assert one.keys() == {"input", "pixels", "size", "file", "overlay"}
            assert one["overlay"] == str(path.with_suffix(".overlay.png"))
    done = command("run", network, images[0])
    count = found[0]["pixels"]["class 1"]
    assert f"class 1 {count:,} pixels ({count / 240:.1%})" in done.stdout
    assert done.stdout.endswith(f"; {images[0].with_suffix('.answer.png')}\n")


def test_boxes_are_in_the_pixels_of_the_image_and_drawn(network: Path, tmp_path: Path) -> None:
    graph = detector()
    save(replace(graph, input=replace(graph.input, fit="letterbox")), network)
    folder = tmp_path / "images"
    images = [picture(folder / "a.png", (120, 100)), picture(folder / "b.jpg", (70, 201), seed=1)]
    for _ in range(2):  # answers of the run before are no images
        done = command("run", network, folder, "--json", "--threads", 1)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)["inputs"]
        assert [one["input"] for one in found] == [str(path) for path in images]
    for one, path, answer in zip(found, images, hdlif.predict(network, folder), strict=True):
        session, size = Session(network, 1), Image.open(path).size
        expected = decode_boxes(
            session.run(read_image(path, session.input)).mean(0)[0],
            **{"classes": 2, "strides": (4, 8), "size": (16, 24), "threshold": 0.4, "overlap": 0.6},
        )
        corners = boxes_to_picture(expected.corners, size, (24, 16), "letterbox")
        assert one["boxes"] == answer["boxes"]
        assert len(one["boxes"]) > 1
        np.testing.assert_array_equal([box["box"] for box in one["boxes"]], corners)
        assert [box["label"] for box in one["boxes"]] == [graph.labels[label] for label in expected.labels]
        assert [box["score"] for box in one["boxes"]] == expected.scores.tolist()
        assert (one.keys(), answer.keys()) == ({"input", "boxes", "file"}, {"boxes"})
        assert one["file"] == str(path.with_suffix(".answer.png"))
        drawn, plain, first = read(one["file"]), read_rgb(path), one["boxes"][0]
        assert drawn.shape == plain.shape
        # The first box is on top; its text is above its upper side.
        left, _, right, bottom = (round(side) for side in first["box"])
        row = drawn[bottom - 1, left:right]
        assert (row == INKS[graph.labels.index(first["label"])]).all()
        changed = (drawn != plain).any(-1)
        assert 0.01 < changed.mean() < 0.8
    words = command("run", network, images[0]).stdout
    count = sum(box["label"] == "red" for box in found[0]["boxes"])
    assert f": {len(found[0]['boxes']) - count} green, {count} red; {images[0].with_suffix('.answer.png')}\n" in words


def test_arrays_have_a_mask_for_each_sample(network: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(2, 3, 8, 6)).astype(np.float32))
    done = command("run", network, tmp_path / "x.npy", "--out", tmp_path / "masks", "--json")
    files = [Path(one["file"]) for one in json.loads(done.stdout)["inputs"]]
    assert files == [tmp_path / "masks" / f"x.{k}.answer.png" for k in range(2)]
    for file, answer in zip(files, hdlif.predict(network, tmp_path / "x.npy"), strict=True):
        assert answer["mask"].shape == (8, 6)
        np.testing.assert_array_equal(read(file), answer["mask"])
    assert [path.name for path in sorted((tmp_path / "masks").iterdir())] == ["x.0.answer.png", "x.1.answer.png"]


def test_objects_are_counted_and_numbered(network: Path, tmp_path: Path) -> None:
    save(replace(u_net(), task=TaskRecord("instances")), network)
    image = picture(tmp_path / "a.png", (20, 12))
    (one,) = json.loads(command("run", network, image, "--json").stdout)["inputs"]
    (answer,) = hdlif.predict(network, image)
    np.testing.assert_array_equal(read(one["file"]), answer["mask"])
    assert answer["mask"].shape == (12, 20)
    assert one["objects"] == answer["objects"] == answer["mask"].max() > 0
    assert one.keys() == {"input", "objects", "size", "file", "overlay"}


def test_what_cannot_be_written_or_does_not_go_with_masks_is_refused(network: Path, tmp_path: Path) -> None:
    one, two = (picture(tmp_path / name / "a.png", (9, 9)) for name in ("one", "two"))
    (tmp_path / "file").touch()
    for inputs, options, code, words in (
        ([one, two], ["--out", tmp_path / "masks"], 2, f"{two}: its output would overwrite that of {one}"),
        ([one], ["--out", tmp_path / "file"], 1, "cannot be written"),
        ([one], ["--confidence", 0.9], 2, "the network's task is segment"),
        ([one], ["--stream"], 2, "an image begins with"),
        ([one], ["--out", tmp_path, "--page", tmp_path / "x.html"], 2, "--out is the folder of masks and boxes"),
    ):
        done = command("run", network, *inputs, *options)
        assert (done.returncode, words in done.stderr) == (code, True), done.stderr


def test_a_page_draws_no_masks(tmp_path: Path) -> None:
    path = tmp_path / "net.hdlif.safetensors"
    for graph in (u_net(), detector()):
        save(replace(graph, input=replace(graph.input, kind="events", resize="none")), path)
        with pytest.raises(InputError, match=f"the network's task is {graph.task.kind}, which --page does not draw"):
            recording_page(path, tmp_path / "x.npy")
