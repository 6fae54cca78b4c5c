"""Requests for whole inputs: the response is that of `hdlif run --json` for the same bytes in a file."""

import io
import json
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hdlif.cli.predict import predict_files as run
from hdlif.graph.artefact import Graph
from served import NPY, STEPS, client, npy, residual_network, series, unbounded, write

RNG = np.random.default_rng(1)
PREDICT = "/v1/models/net/predict"


def picture(form: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def csv(rows: int) -> bytes:
    values = np.random.default_rng(0).normal(size=(rows, 2))
    return "\n".join(",".join(map(str, row)) for row in values).encode()


def sound() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(8000)
        written.writeframes((RNG.normal(size=1600) * 3000).astype("<i2").tobytes())
    return file.getvalue()


def run_on_file(artefact: Path, folder: Path, content: bytes, suffix: str) -> dict[str, Any]:
    path = folder / f"input{suffix}"
    path.write_bytes(content)
    result = json.loads(json.dumps(run(artefact, [path], threads=1).as_dict()))
    for one in result["inputs"]:
        one["input"] = one["input"].replace(str(path), "body")
    return result


NETWORKS: dict[str, Graph] = {
    "image": residual_network(),
    **{task: series(task) for task in ("classify", "sequence", "regress", "regress_each", "multilabel")},
    "windows": replace(series(), input=replace(series().input, windows=(STEPS, 2))),
    "table": series(kind="table"),
}
BODIES: list[tuple[str, str, str, bytes]] = [
    ("image", "image/png", ".png", picture("PNG")),
    ("image", "image/jpeg; charset=binary", ".jpg", picture("JPEG")),
    ("image", "Image/WebP", ".webp", picture("WEBP")),
    ("image", "application/x-npy", ".npy", npy(RNG.integers(0, 256, (3, 9, 7), dtype=np.uint8))),
    ("image", "application/x-npy", ".npy", npy(np.eye(20, dtype=np.uint8) * 255)),
    ("image", "application/x-npy", ".npy", npy(RNG.normal(size=(2, 3, 9, 7)).astype(np.float32))),
    ("classify", "text/csv", ".csv", csv(STEPS)),
    ("classify", "application/x-npy", ".npy", npy(RNG.normal(size=(3, STEPS, 2)))),
    ("sequence", "text/csv", ".csv", csv(STEPS)),
    ("regress", "application/octet-stream", ".npy", npy(RNG.normal(size=(STEPS, 2)))),
    ("regress_each", "text/csv", ".csv", csv(STEPS)),
    ("multilabel", "text/csv", ".csv", csv(STEPS)),
    ("windows", "text/csv", ".csv", csv(STEPS + 5)),
    ("table", "text/csv", ".csv", csv(5)),
    ("sound", "audio/wav", ".wav", sound()),
]


def test_the_answer_is_that_of_the_command(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from series_networks import SOUND, series_network

    artefacts = write(tmp_path, **NETWORKS, sound=series_network(sound=SOUND))
    with client(artefacts) as http:
        for case, (network, kind, suffix, content) in enumerate(BODIES):
            answer = http.post(f"/v1/models/{network}/predict", content=content, headers={"content-type": kind})
            assert answer.status_code == 200, (case, answer.text)
            assert answer.json() == run_on_file(artefacts[network], tmp_path, content, suffix), case


def test_the_layout_is_a_parameter(tmp_path: Path) -> None:
    content = npy(RNG.normal(size=(4, 3, 9, 7)).astype(np.float32))
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    artefacts = write(tmp_path, net=residual_network())
    with client(artefacts) as http:
        assert http.post(PREDICT, content=content, headers=NPY).json()["code"] == "input_refused"
        for layout in ("batch", "sequence"):
            found = http.post(f"{PREDICT}?layout={layout}", content=content, headers=NPY).json()["inputs"]
            expected = [one.answer["logits"] for one in run(artefacts["net"], [path], layout=layout, threads=1).inputs]
            assert [one["logits"] for one in found] == expected, layout


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
    graphs = {kind: series(kind=kind) for kind in ("series", "table")}
    named = {
        kind: replace(graph, input=replace(graph.input, columns=("warm", "wet"))) for kind, graph in graphs.items()
    }
    with client(write(tmp_path, plain=graphs["table"], **named)) as http:
        for kind in named:
            expected = http.post(f"/v1/models/{kind}/predict", json=rows)
            for body in (by_name, {"values": by_name}, {"values": by_name, "type": "float32"}):
                answer = http.post(f"/v1/models/{kind}/predict", json=body)
                assert (answer.status_code, answer.json()) == (200, expected.json())
        streams = [http.post("/v1/models/series/streams").json()["stream"] for _ in range(2)]
        one, other = (
            http.post(f"/v1/streams/{stream}/steps", json=body).json()["answers"]
            for stream, body in zip(streams, (rows[:2], by_name[:2]), strict=True)
        )
        assert one == other
        for model, body, code, words in (
            ("table", [{"warm": 1.0, "wett": 2.0}], "input_refused", "body[0]: column 'wett' is unknown"),
            ("table", [{"warm": 1, "wet": 2}, {"wet": 2}], "input_refused", "body[1]: has no 'warm'"),
            ("table", [{"warm": 1, "wet": None}], "bad_json", "body[0]: 'wet' is None"),
            ("table", [{"warm": 1, "wet": True}], "bad_json", "'wet' is True"),
            ("table", [{"warm": 1, "wet": [2]}], "bad_json", "'wet' is [2]"),
            ("table", [{"warm": 1, "wet": 10**400}], "input_refused", "body[0]"),
            ("table", [{"warm": 1, "wet": 1e300}], "input_refused", "body"),
            ("table", [{"warm": 1, "wet": 2}, [1, 2]], "bad_json", "body[1]"),
            ("table", [[1, 2], {"warm": 1, "wet": 2}], "bad_json", ""),
            ("table", {"values": [{"warm": 1, "wet": 2}], "type": "uint8"}, "bad_json", ""),
            ("table", {"warm": 1, "wet": 2}, "bad_json", ""),
            ("plain", [{"warm": 1, "wet": 2}], "input_refused", "names"),
        ):
            refused = http.post(f"/v1/models/{model}/predict", json=body).json()
            assert (refused["code"], words in refused["message"]) == (code, True), (body, refused)


def test_inputs_whose_answers_are_not_finite_are_listed_apart(tmp_path: Path) -> None:
    values = RNG.normal(size=(2, STEPS, 2)).astype(np.float32)
    values[1] = 3e38
    with client(write(tmp_path, net=unbounded())) as http:
        answer = http.post(PREDICT, content=npy(values), headers=NPY).json()
        assert [one["input"] for one in answer["inputs"]] == ["body[0]"]
        assert [one.partition(":")[0] for one in answer["failed"]] == ["body[1]"]
        refused = http.post(PREDICT, content=npy(values[1]), headers=NPY)
        assert (refused.status_code, refused.json()["code"]) == (422, "answer_not_finite")
