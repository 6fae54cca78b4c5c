"""Boxes, masks and objects in JavaScript are those of `hdlif.runtime.answers`, in Node."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cases import naming
from deployed_graphs import CLASSES, detector, random_input, u_net
from hdlif.deploy import browser
from hdlif.graph.artefact import Graph, InputRecord, TaskRecord
from hdlif.inputs.fitting import covered
from hdlif.runtime import Session
from hdlif.runtime.answers import Answer, answers
from hdlif.runtime.images import Placed, read_image
from hdlif.runtime.masks import COLOURS
from planted_boxes import planted

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
PLACES = [
    ((24, 16), "squash"),
    ((120, 70), "letterbox"),
    ((31, 200), "letterbox"),
    ((90, 31), "crop"),
    ((3, 2), "squash"),
]
SCRIPT = """
import { readFileSync } from "node:fs";
import { answerOf, coveredPart } from "./answers.mjs";
const cases = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(cases.map(({ graph, outputs, count, size }) => {
  const answer = answerOf({ graph, outputs: count }, Float32Array.from(outputs), size);
  if (answer?.mask) answer.mask = [...answer.mask];
  const [, height, width] = graph.input.shape;
  return { answer, part: coveredPart(size ?? [width, height], [width, height], graph.input.fit) };
})));
"""


def by_javascript(folder: Path, cases: list[tuple[Graph, np.ndarray, tuple[int, int] | None]]) -> list[Any]:
    """What the script gives for outputs [T, ...] of each graph, for an image of that size."""
    (folder / "answers.mjs").write_text(browser.answers_script())
    (folder / "run.mjs").write_text(SCRIPT)
    given = [
        {
            "graph": {
                "task": vars(graph.task),
                "labels": graph.labels,
                "input": {"shape": graph.input.shape, "fit": graph.input.fit},
            },
            "outputs": outputs.ravel().tolist(),
            "count": outputs[0].size,
            "size": size,
        }
        for graph, outputs, size in cases
    ]
    done = subprocess.run(
        ["node", folder / "run.mjs"], input=json.dumps(given), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


def by_python(graph: Graph, outputs: np.ndarray, size: tuple[int, int] | None) -> Answer:
    _, height, width = graph.input.shape
    placed = Placed.whole(graph.input) if size is None else Placed(size, (width, height), graph.input.fit)
    (answer,) = answers(outputs[:, None], graph.task, graph.labels, [placed])
    assert answer is not None
    return answer


def check(folder: Path, cases: list[tuple[Graph, np.ndarray, tuple[int, int] | None]]) -> list[Answer]:
    expected = [by_python(*case) for case in cases]
    for (graph, _, size), found, wanted in zip(cases, by_javascript(folder, cases), expected, strict=True):
        with naming(graph.task.kind, size, graph.input.fit):
            _, height, width = graph.input.shape
            part = covered(size or (width, height), (width, height), graph.input.fit)
            assert found["part"] == pytest.approx(part, abs=1e-9)
            if "boxes" in wanted:
                assert [box["label"] for box in found["answer"]["boxes"]] == [box["label"] for box in wanted["boxes"]]
                for one, box in zip(found["answer"]["boxes"], wanted["boxes"], strict=True):
                    assert one["score"] == pytest.approx(box["score"], abs=1e-6)
                    assert one["box"] == pytest.approx(box["box"], abs=1e-3)
            else:
                assert found["answer"] == {**wanted, "mask": wanted["mask"].ravel().tolist()}
    return expected


def fitted(graph: Graph, fit: str) -> Graph:
    return replace(graph, input=replace(graph.input, fit=fit))


def test_answers_on_an_image_are_those_of_python(tmp_path: Path) -> None:
    cases = []
    for size, fit in PLACES:
        path = tmp_path / "image.png"
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(path)
        for graph in (detector(), u_net(), replace(u_net(), task=TaskRecord("instances"))):
            graph = fitted(graph, fit)
            cases.append((graph, Session(graph, 1).run(read_image(path, graph.input))[:, 0], size))
    found = check(tmp_path, cases)
    assert all(len(answer["boxes"]) > 1 for answer in found[::3])
    last = replace(u_net(), task=TaskRecord("segment", "last"))
    outputs = Session(last, 1).run(random_input(last, 3, 1))[:, 0]
    assert (by_python(last, outputs, None)["mask"] != by_python(u_net(), outputs, None)["mask"]).any()
    each = replace(detector(), task=replace(detector().task, combine="each"))
    of_boxes = Session(each, 1).run(random_input(each, 3, 1))[:, 0]
    assert by_python(each, of_boxes, None) != by_python(detector(), of_boxes, None)
    check(tmp_path, [(last, outputs, None), (u_net(), outputs, None), (each, of_boxes, None)])


def test_boxes_that_overlap_are_dropped_and_many_are_cut(tmp_path: Path) -> None:
    record = InputRecord((3, 96, 128), (0.5,) * 3, (0.5,) * 3)
    graph = replace(detector(), input=record)
    boxes = [(0, (0.0, 0.0, 80.0, 80.0), 2.0), (0, (16.0, 0.0, 96.0, 80.0), 1.0), (1, (9.0, 0.0, 90.0, 80.0), 0.5)]
    outputs = planted(boxes, classes=2, strides=(4, 8), size=(96, 128), level=1)[None]
    noise = np.random.default_rng(0).normal(0, 2, outputs.shape).astype(np.float32)
    few = replace(graph, task=replace(graph.task, overlap=1.0))
    found = check(tmp_path, [(graph, outputs, None), (few, outputs, None), (few, noise, None), (graph, noise, None)])
    assert [len(one["boxes"]) for one in found[:3]] == [2, 3, 100]


def test_objects_that_touch_come_apart(tmp_path: Path) -> None:
    rng, (height, width) = np.random.default_rng(1), (40, 56)
    rows, columns = np.mgrid[:height, :width]
    near = np.full((height, width), 99.0)
    for _ in range(25):
        y, x, radius = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(3, 7)
        near = np.minimum(near, np.hypot(rows - y, columns - x) / radius)
    outputs = np.stack([6 * (near - 1), 3 - 6 * np.abs(near - 0.8), 6 * (0.8 - near)])[None].astype(np.float32)
    outputs += rng.normal(0, 0.8, outputs.shape).astype(np.float32)
    graph = replace(
        u_net(), task=TaskRecord("instances"), input=InputRecord((3, height, width), (0.5,) * 3, (0.5,) * 3)
    )
    places: list[tuple[tuple[int, int] | None, str]] = [(None, "squash"), ((90, 90), "letterbox"), ((9, 7), "crop")]
    whole, *_ = check(tmp_path, [(fitted(graph, fit), outputs, size) for size, fit in places])
    assert whole["objects"] > 8


def test_another_task_has_no_such_answer(tmp_path: Path) -> None:
    graph = replace(u_net(), task=TaskRecord())
    ((found),) = by_javascript(tmp_path, [(graph, np.zeros((1, CLASSES), np.float32), None)])
    assert found["answer"] is None


def test_colours_are_those_of_the_masks(tmp_path: Path) -> None:
    script = (Path(browser.__file__).parents[2] / "report/live.js").read_text()
    function = script[script.index("function colourOf") : script.index("const INKS")]
    (tmp_path / "colours.mjs").write_text(
        function + "console.log(JSON.stringify(Array.from({ length: 256 }, (_, k) => colourOf(k))));"
    )
    done = subprocess.run(["node", tmp_path / "colours.mjs"], capture_output=True, text=True, check=True)
    np.testing.assert_array_equal(json.loads(done.stdout), COLOURS)
