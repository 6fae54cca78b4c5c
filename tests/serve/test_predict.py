"""Requests for whole inputs: the response is that of `hdlif run --json` for the same bytes in a file."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cases import naming
from deployed_graphs import detector, u_net
from hdlif.cli.predict import predict_files as run
from hdlif.errors import HdlifError
from hdlif.graph.artefact import Graph, TaskRecord
from served import NPY, STEPS, client, npy, residual_network, series, unbounded, write
from sound_files import tone, wav_bytes

RNG = np.random.default_rng(1)
PREDICT = "/v1/models/net/predict"


def picture(form: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def csv(rows: int) -> bytes:
    return "\n".join(",".join(map(str, row)) for row in RNG.normal(size=(rows, 2))).encode()


def run_on_file(artefact: Path, path: Path, content: bytes, **options: Any) -> dict[str, Any]:
    """Return what `hdlif run --json` prints for the content, in a file that is called as a body is."""
    path.write_bytes(content)
    text = json.dumps(run(artefact, [path], threads=1, **options).as_dict())
    found: dict[str, Any] = json.loads(text.replace(str(path), "body"))
    return found


NETWORKS: dict[str, Graph] = {
    "image": residual_network(),
    "maps": u_net(),
    "objects": replace(u_net(), task=TaskRecord("instances")),
    "boxes": detector(),
    **{task: series(task) for task in ("classify", "sequence", "regress", "regress_each", "multilabel")},
    "windows": replace(series(), input=replace(series().input, windows=(STEPS, 2))),
    "table": series(kind="table"),
}
CSV, ARRAY = ("text/csv", ".csv"), ("application/x-npy", ".npy")
BODIES: list[tuple[str, tuple[str, str], bytes]] = [
    ("image", ("image/png", ".png"), picture("PNG")),
    ("image", ("image/jpeg; charset=binary", ".jpg"), picture("JPEG")),
    ("image", ("Image/WebP", ".webp"), picture("WEBP")),
    ("image", ARRAY, npy(RNG.integers(0, 256, (3, 9, 7), dtype=np.uint8))),
    ("image", ARRAY, npy(np.eye(20, dtype=np.uint8) * 255)),
    ("image", ARRAY, npy(RNG.normal(size=(2, 3, 9, 7)).astype(np.float32))),
    *((network, ("image/png", ".png"), picture("PNG")) for network in ("maps", "objects", "boxes")),
    ("maps", ARRAY, npy(RNG.normal(size=(2, 3, 8, 6)).astype(np.float32))),
    ("classify", ARRAY, npy(RNG.normal(size=(3, STEPS, 2)))),
    *((task, CSV, csv(STEPS)) for task in ("classify", "sequence", "regress_each", "multilabel")),
    ("regress", ("application/octet-stream", ".npy"), npy(RNG.normal(size=(STEPS, 2)))),
    ("windows", CSV, csv(STEPS + 5)),
    ("table", CSV, csv(5)),
    ("sound", ("audio/wav", ".wav"), wav_bytes(tone("low", 0))),
]


def test_the_answer_is_that_of_the_command(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from series_networks import SOUND, series_network

    artefacts = write(tmp_path, **NETWORKS, sound=series_network(sound=SOUND))
    with client(artefacts) as http:
        for network, (kind, suffix), content in BODIES:
            answer = http.post(f"/v1/models/{network}/predict", content=content, headers={"content-type": kind})
            with naming(network, kind):
                assert answer.status_code == 200, answer.text
                assert answer.json() == run_on_file(artefacts[network], tmp_path / f"input{suffix}", content)
        content = npy(RNG.normal(size=(4, 3, 9, 7)).astype(np.float32))
        assert http.post("/v1/models/image/predict", content=content, headers=NPY).json()["code"] == "input_refused"
        for layout in ("batch", "sequence"):
            answer = http.post(f"/v1/models/image/predict?layout={layout}", content=content, headers=NPY)
            expected = run_on_file(artefacts["image"], tmp_path / "input.npy", content, layout=layout)
            assert answer.json() == expected, layout


def test_arrays_in_json_are_those_of_npy(tmp_path: Path) -> None:
    floats = RNG.normal(size=(3, 9, 7)).astype(np.float32)
    pixels = RNG.integers(0, 256, (3, 9, 7), dtype=np.uint8)
    rows = RNG.normal(size=(STEPS, 2)).astype(np.float32)
    with client(write(tmp_path, net=residual_network(), line=series())) as http:
        for model, array, body in (
            ("net", floats, floats.tolist()),
            ("net", floats, {"values": floats.tolist()}),
            ("net", pixels, {"values": pixels.tolist(), "type": "uint8"}),
            ("line", rows, rows.tolist()),
        ):
            by_json = http.post(f"/v1/models/{model}/predict", json=body)
            by_npy = http.post(f"/v1/models/{model}/predict", content=npy(array), headers=NPY)
            assert (by_json.status_code, by_json.json()) == (200, by_npy.json())


def test_rows_are_read_by_the_names_of_columns(tmp_path: Path) -> None:
    rows = RNG.normal(size=(STEPS, 2)).astype(np.float32).tolist()
    by_name: list[dict[str, float]] = [{"wet": wet, "warm": warm} for warm, wet in rows]
    named = {kind: series(kind=kind) for kind in ("series", "table")}
    for kind, graph in named.items():
        named[kind] = replace(graph, input=replace(graph.input, columns=("warm", "wet")))
    with client(write(tmp_path, plain=series(kind="table"), **named)) as http:
        for kind in named:
            expected = http.post(f"/v1/models/{kind}/predict", json=rows)
            for body in (by_name, {"values": by_name}, {"values": by_name, "type": "float32"}):
                answer = http.post(f"/v1/models/{kind}/predict", json=body)
                assert (answer.status_code, answer.json()) == (200, expected.json())
        answers = []
        for body in (rows[:2], by_name[:2]):
            stream = http.post("/v1/models/series/streams").json()["stream"]
            answers.append(http.post(f"/v1/streams/{stream}/steps", json=body).json()["answers"])
        assert answers[0] == answers[1]
        good = {"warm": 1, "wet": 2}
        for model, body, code, place in (
            ("table", [{"warm": 1.0, "wett": 2.0}], "input_refused", "body[0]: column 'wett'"),
            ("table", [good, {"wet": 2}], "input_refused", "body[1]: has no 'warm'"),
            *(("table", [good | {"wet": wet}], "bad_json", "body[0]: 'wet'") for wet in (None, True, [2])),
            ("table", [good | {"wet": 10**400}], "input_refused", "body[0]"),
            ("table", [good | {"wet": 1e300}], "input_refused", "body"),
            ("table", [good, [1, 2]], "bad_json", "body[1]"),
            *(("table", body, "bad_json", "") for body in ([[1, 2], good], {"values": [good], "type": "uint8"}, good)),
            ("plain", [good], "input_refused", "names"),
        ):
            refused = http.post(f"/v1/models/{model}/predict", json=body).json()
            assert (refused["code"], place in refused["message"]) == (code, True), (body, refused)


def test_inputs_whose_answers_are_not_finite_are_listed_apart(tmp_path: Path) -> None:
    values = RNG.normal(size=(2, STEPS, 2)).astype(np.float32)
    values[1] = 3e38
    with client(write(tmp_path, net=unbounded())) as http:
        answer = http.post(PREDICT, content=npy(values), headers=NPY).json()
        assert [one["input"] for one in answer["inputs"]] == ["body[0]"]
        assert [one.partition(":")[0] for one in answer["failed"]] == ["body[1]"]
        refused = http.post(PREDICT, content=npy(values[1]), headers=NPY)
        assert (refused.status_code, refused.json()["code"]) == (422, "answer_not_finite")


@pytest.mark.parametrize("confidence", [None, "auto", 0.9, "off"])
def test_a_stored_confidence_is_used_unless_the_server_is_told(confidence: float | str | None, tmp_path: Path) -> None:
    """Inputs of several requests that run as one stop each at its own step."""
    graph = replace(residual_network(), confidence=0.97)
    artefacts = write(tmp_path, net=graph)
    body = npy(np.random.default_rng(0).normal(size=(20, 3, 9, 7)).astype(np.float32))
    expected = run_on_file(artefacts["net"], tmp_path / "input.npy", body, confidence=confidence)
    with client(artefacts, confidence=confidence) as http:
        found = http.post(PREDICT, content=body, headers=NPY).json()
        stored = {"off": None, 0.9: 0.9}.get(confidence, 0.97)  # type: ignore[call-overload]
        assert http.get("/v1/models/net").json()["confidence"] == stored
    assert found == expected
    assert (len({one.get("steps") for one in found["inputs"]}) > 2) != (confidence == "off")


def test_a_confidence_that_a_network_cannot_have_ends_the_start(tmp_path: Path) -> None:
    for graph, confidence, words in (
        (residual_network(), "auto", "net.hdlif.safetensors: .*the model file has none"),
        (series("regress"), 0.5, "the network's task is regress"),
        (residual_network(), 2, "give a number in 0..1"),
    ):
        with pytest.raises(HdlifError, match=words), client(write(tmp_path, net=graph), confidence=confidence):
            pass
