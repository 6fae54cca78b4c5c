"""What is said of frames as they come, beside `Session.run` on them as a whole."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cases import every
from deployed_graphs import detector, residual_network, u_net
from hdlif.errors import HdlifError, InputError
from hdlif.graph.artefact import Graph, InputRecord, Node
from hdlif.runtime import FrameAnswer, FrameStream, Session
from hdlif.runtime.answers import answers
from hdlif.runtime.images import Placed, read_placed_image
from series_networks import series_network


def frames(folder: Path, count: int, size: tuple[int, int] = (9, 7)) -> list[Path]:
    """Images of another size than the networks take."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8)
    paths = [folder / f"{number}.png" for number in range(count)]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    return paths


def shown(graph: Graph, paths: list[Path]) -> tuple[np.ndarray, Placed]:
    read = [read_placed_image(path, graph.input) for path in paths]
    return np.concatenate([x for x, _ in read]), read[-1][1]


def without_time(said: FrameAnswer | None) -> tuple[str, tuple[int, int], object, bool]:
    assert said is not None
    answer = {key: np.asarray(value).tolist() for key, value in (said.answer or {}).items()}
    return said.input, said.frames, answer, said.partial


@every(network=[residual_network, detector, u_net])
def test_windows_are_answered_for_as_a_run_of_their_frames(network: object, tmp_path: Path) -> None:
    graph: Graph = network()  # type: ignore[operator]
    graph = replace(graph, input=replace(graph.input, resize="bilinear", fit="letterbox"))
    session, steps = Session(graph, 1), graph.time_steps
    paths = frames(tmp_path, 2 * steps + 1)
    stream = FrameStream(session)
    found = [stream.push(path) for path in paths]
    for window in range(2):
        own = paths[window * steps : (window + 1) * steps]
        x, placed = shown(graph, own)
        (expected,) = answers(session.run(x), graph.task, graph.labels, [placed])
        assert expected is not None
        plain = {key: np.asarray(value).tolist() for key, value in expected.items()}
        said = without_time(found[(window + 1) * steps - 1])
        assert said == (str(own[-1]), (window * steps, (window + 1) * steps), plain, False)
    assert sum(one is not None for one in found) == 2
    input_, covered, _, partial = without_time(stream.end())
    assert (input_, covered, partial) == (str(paths[-1]), (2 * steps, 2 * steps + 1), True)


def test_boxes_at_each_step_come_after_each_frame_with_one_state(tmp_path: Path) -> None:
    graph = replace(detector(), task=replace(detector().task, combine="each"))
    session, paths = Session(graph, 1), frames(tmp_path, 3 * graph.time_steps + 1)
    stream = FrameStream(session)
    found = [stream.push(path) for path in paths]
    x, placed = shown(graph, paths)
    outputs = session.run(x)
    for frame, said in enumerate(found):
        (expected,) = answers(outputs[frame : frame + 1], graph.task, graph.labels, [placed])
        assert without_time(said)[1:3] == ((frame, frame + 1), expected)
    assert stream.end() is None


def test_with_a_confidence_the_rest_of_a_window_is_not_run(tmp_path: Path) -> None:
    graph = residual_network()
    graph = replace(graph, input=replace(graph.input, resize="bilinear"))
    paths = frames(tmp_path, 2 * graph.time_steps)
    stream = FrameStream(Session(graph, 1), confidence=0.0)
    found = [stream.push(path) for path in paths]
    assert [frame for frame, one in enumerate(found) if one is not None] == [0, graph.time_steps]
    assert stream.end() is None


def test_what_is_no_network_of_whole_images_is_refused() -> None:
    with pytest.raises(InputError, match="takes inputs of kind series; a stream of frames"):
        FrameStream(Session(series_network("conv1d"), 1))
    by_rows = InputRecord((1, 1, 2), (0.5,), (0.25,), frames="rows")
    rows = Graph((Node("flatten", "logits", ("input",)),), "logits", 2, by_rows, ("dark", "bright"))
    with pytest.raises(InputError, match="takes the rows of an image"):
        FrameStream(Session(rows, 1))
    with pytest.raises(HdlifError, match="confidence applies only to classification"):
        FrameStream(Session(detector(), 1), confidence=0.5)
