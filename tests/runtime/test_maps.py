"""Outputs that are maps: the bits of the reference however they are run, and the masks that are read off them."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from cases import every
from deployed_graphs import CLASSES, Builder, random_input, u_net
from hdlif.graph.artefact import INPUT, TaskRecord
from hdlif.runtime import Session
from hdlif.runtime.answers import alike, answers
from hdlif.runtime.going_on import GoingOn
from hdlif.runtime.images import Placed
from hdlif.runtime.inputs import read_inputs
from hdlif.runtime.masks import NO_CLASS, as_json, as_png, objects_in
from runtime.ways_of_running import assert_runs_as_steps
from same_bits import assert_same_bits

LABELS = tuple("abc")
SEGMENT = TaskRecord("segment")


@every(threads=[1, 2])
def test_maps_have_the_references_bits_in_every_way_of_running(threads: int) -> None:
    graph = u_net()
    x, session = random_input(graph, 5, 3), Session(graph, threads)
    assert session.output_shape == session.run(x).shape[2:] == (CLASSES, 8, 6)
    assert_runs_as_steps(graph, x, threads)
    assert_same_bits(graph, x[:1], 4, threads)


def test_a_saved_sequence_of_maps_goes_on_with_its_sums() -> None:
    graph = u_net()
    session, x = Session(graph, 1), random_input(graph, 4, 1)
    first, second = session.sequence(), session.sequence()
    logits = first.run(x[:3])[:, 0]
    np.testing.assert_array_equal(first.sums, logits.cumsum(0)[-1])
    second.load_bytes(first.to_bytes())
    np.testing.assert_array_equal(second.sums, first.sums)
    np.testing.assert_array_equal(second.step(x[3]), first.step(x[3]))


@every(combine=["mean", "last"])
def test_each_step_of_a_sequence_gives_the_mask_of_the_steps_so_far(combine: str) -> None:
    graph = replace(u_net(), task=TaskRecord("segment", combine))
    session, x = Session(graph, 1), random_input(graph, 4, 1)
    expected = [next(answers(session.run(x[: t + 1], t + 1), graph.task, graph.labels)) for t in range(4)]
    going_on = GoingOn(session)
    found = [answer for part in (x[:1], x[1:]) for answer in going_on.run(part)]
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        assert other is not None
        assert one["pixels"] == other["pixels"]
        np.testing.assert_array_equal(one["mask"], other["mask"])


def test_a_map_smaller_than_the_input_gives_a_mask_of_its_size(tmp_path: Path) -> None:
    b = Builder((3, 8, 6), 2, 0)
    graph = b.maps(b.add("max_pool", INPUT, kernel=(2, 2), stride=(2, 2), padding=(0, 0)))
    session, x = Session(graph, 1), random_input(graph, 2, 1)
    np.save(tmp_path / "x.npy", x[:, 0])
    (sample,) = read_inputs(tmp_path / "x.npy", graph.input, 2, "sequence")
    outputs = session.run(sample.x)
    assert outputs.shape == (2, 1, 3, 4, 3)
    whole = next(answers(outputs, graph.task, graph.labels, [sample.placed]))
    last = GoingOn(session).run(x)[-1]
    expected = outputs.mean(0)[0].argmax(0).repeat(2, 0).repeat(2, 1)
    for answer in (whole, last):
        assert answer is not None
        np.testing.assert_array_equal(answer["mask"], expected)


def test_a_mask_is_that_of_the_mean_logits_in_the_images_own_pixels() -> None:
    maps = np.zeros((2, 1, 3, 2, 2), np.float32)
    # At step 0 class 1 wins everywhere, and over both steps class 2 in the left column.
    maps[0, 0, 1], maps[1, 0, 2, :, 0] = 1, 5
    small, large, none = (
        next(answers(maps, SEGMENT, LABELS, [placed]))
        for placed in (None, Placed((4, 2), (2, 2), "squash"), Placed((4, 2), (2, 2), "crop"))
    )
    assert small is not None
    assert small["mask"].tolist() == [[2, 1], [2, 1]]
    assert small["pixels"] == {"a": 0, "b": 2, "c": 2}
    assert large is not None
    assert large["mask"].tolist() == [[2, 2, 1, 1]] * 2
    # The middle of a wide image is shown; nothing is known of its sides, which are counted nowhere.
    assert none is not None
    assert none["mask"].tolist() == [[NO_CLASS, 2, 1, NO_CLASS]] * 2
    assert none["pixels"] == {"a": 0, "b": 2, "c": 2}


def row(*parts: int) -> np.ndarray:
    """Logits of background, boundary and inside, four pixels high."""
    return 8 * (np.array(parts) == np.arange(3)[:, None])[:, None].repeat(4, 1).astype(np.float32)


def test_objects_are_numbered_at_each_pixel_of_the_image() -> None:
    maps = row(0, 2, 1, 1, 2, 0)[None, None]
    record = TaskRecord("instances")
    small, large, left = (
        next(answers(maps, record, ("background", "boundary", "inside"), [placed]))
        for placed in (None, Placed((12, 4), (6, 4), "squash"), Placed((2, 4), (6, 4), "letterbox"))
    )
    assert small is not None
    assert (small["objects"], small["mask"].tolist()) == (2, [[0, 1, 1, 2, 2, 0]] * 4)
    assert large is not None
    assert (large["objects"], large["mask"].tolist()) == (2, [[0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0]] * 4)
    # The other object is right of the image.
    assert left is not None
    assert (left["objects"], left["mask"].tolist()) == (1, [[0, 1]] * 4)


def test_an_object_without_a_pixel_in_a_small_image_is_none() -> None:
    logits = np.concatenate([row(2, 0, 0, 0), row(0, 0, 2, 0)], 2)
    found = objects_in(logits, Placed((2, 4), (8, 4), "squash"))
    assert found.tolist() == [[0, 1]] * 4


def test_more_than_255_objects_have_a_png_of_16_bits() -> None:
    mask = np.arange(400, dtype=np.uint16).reshape(20, 20)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(as_png(mask)))), mask)


def test_a_map_that_is_not_finite_has_no_answer() -> None:
    maps = np.zeros((1, 2, 3, 2, 2), np.float32)
    maps[0, 1, 0, 0, 0] = np.nan
    assert [answer is None for answer in answers(maps, SEGMENT, LABELS)] == [False, True]


def test_masks_agree_by_the_share_of_pixels() -> None:
    maps = np.zeros((1, 2, 3, 2, 2), np.float32)
    maps[:, :, 1] = 1
    other = maps.copy()
    other[0, 1, 2, 0, 0] = 9
    assert alike(maps, other, u_net()).tolist() == [1.0, 0.75]


def test_a_mask_is_a_png_of_class_numbers_in_colours() -> None:
    mask = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.open(io.BytesIO(as_png(mask)))
    np.testing.assert_array_equal(np.asarray(image), mask)
    colours = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert colours[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert len(np.unique(colours, axis=0)) == 256
    said = as_json({"pixels": {"a": 256}, "mask": mask})
    assert (said["size"], said["mask"][:8]) == ([16, 16], "iVBORw0K")
