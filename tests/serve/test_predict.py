"""What a request is answered with is what `hdlif run --json` says of the same bytes in a file."""

import io
import json
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hdlif.artefact import Graph
from hdlif.cli.predict import predict_files as run
from served import NPY, STEPS, client, npy, residual_network, series, unbounded, write


def picture(form: str, size: tuple[int, int] = (20, 30)) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def csv(rows: int, columns: int = 2) -> bytes:
    values = np.random.default_rng(0).normal(size=(rows, columns))
    return "\n".join(",".join(map(str, row)) for row in values).encode()


def said_by_run(artefact: Path, folder: Path, content: bytes, suffix: str) -> dict[str, Any]:
    path = folder / f"input{suffix}"
    path.write_bytes(content)
    result = json.loads(json.dumps(run(artefact, [path], threads=1).as_dict()))
    for one in result["inputs"]:
        one["input"] = one["input"].replace(str(path), "body")
    return result


RNG = np.random.default_rng(1)
NETWORKS: dict[str, Graph] = {
    "image": residual_network(),
    **{task: series(task) for task in ("classify", "sequence", "regress", "regress_each", "multilabel")},
    "windows": replace(series(), input=replace(series().input, windows=(STEPS, 2))),
    "table": series(kind="table"),
}
BODIES: dict[str, tuple[str, str, str, bytes]] = {
    "PNG": ("image", "image/png", ".png", picture("PNG")),
    "JPEG": ("image", "image/jpeg; charset=binary", ".jpg", picture("JPEG")),
    "WebP": ("image", "Image/WebP", ".webp", picture("WEBP")),
    "pixels": ("image", "application/x-npy", ".npy", npy(RNG.integers(0, 256, (3, 9, 7), dtype=np.uint8))),
    "an image of another size": ("image", "application/x-npy", ".npy", npy(np.eye(20, dtype=np.uint8) * 255)),
    "two images": ("image", "application/x-npy", ".npy", npy(RNG.normal(size=(2, 3, 9, 7)).astype(np.float32))),
    "series": ("classify", "text/csv", ".csv", csv(STEPS)),
    "a class at each step": ("sequence", "text/csv", ".csv", csv(STEPS)),
    "values": ("regress", "application/octet-stream", ".npy", npy(RNG.normal(size=(STEPS, 2)))),
    "values of each step": ("regress_each", "text/csv", ".csv", csv(STEPS)),
    "labels": ("multilabel", "text/csv", ".csv", csv(STEPS)),
    "windows of one": ("windows", "text/csv", ".csv", csv(STEPS + 5)),
    "several series": ("classify", "application/x-npy", ".npy", npy(RNG.normal(size=(3, STEPS, 2)))),
    "rows": ("table", "text/csv", ".csv", csv(5)),
}


@pytest.mark.parametrize("case", BODIES)
def test_the_answer_is_that_of_the_command(case: str, tmp_path: Path) -> None:
    network, kind, suffix, content = BODIES[case]
    artefacts = write(tmp_path, net=NETWORKS[network])
    with client(artefacts) as http:
        answer = http.post("/v1/models/net/predict", content=content, headers={"content-type": kind})
    assert answer.status_code == 200, answer.text
    assert answer.json() == said_by_run(artefacts["net"], tmp_path, content, suffix)


def test_a_sound_is_answered_for_as_by_the_command(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from series_networks import SOUND, series_network

    artefacts = write(tmp_path, net=series_network(sound=SOUND))
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes((RNG.normal(size=1600) * 3000).astype("<i2").tobytes())
    with client(artefacts) as http:
        answer = http.post("/v1/models/net/predict", content=file.getvalue(), headers={"content-type": "audio/wav"})
    assert answer.json() == said_by_run(artefacts["net"], tmp_path, file.getvalue(), ".wav")


def test_the_layout_is_a_parameter(tmp_path: Path) -> None:
    content = npy(RNG.normal(size=(4, 3, 9, 7)).astype(np.float32))
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    artefacts = write(tmp_path, net=residual_network())
    with client(artefacts) as http:
        found = {
            layout: http.post(f"/v1/models/net/predict{query}", content=content, headers=NPY)
            for layout, query in ((None, ""), ("batch", "?layout=batch"), ("sequence", "?layout=sequence"))
        }
        wrong = http.post("/v1/models/net/predict?layout=series", content=content, headers=NPY)
    assert (found[None].status_code, found[None].json()["code"]) == (422, "input_refused")
    assert (wrong.status_code, wrong.json()["code"]) == (400, "bad_parameter")
    for layout in ("batch", "sequence"):
        expected = [one.answer["logits"] for one in run(artefacts["net"], [path], layout=layout, threads=1).inputs]
        assert [one["logits"] for one in found[layout].json()["inputs"]] == expected


@pytest.mark.parametrize("bare", [True, False])
def test_arrays_in_json_are_those_of_npy(bare: bool, tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=residual_network(), line=series())
    floats = RNG.normal(size=(3, 9, 7)).astype(np.float32)
    pixels = RNG.integers(0, 256, (3, 9, 7), dtype=np.uint8)
    rows = RNG.normal(size=(STEPS, 2)).astype(np.float32)
    with client(artefacts) as http:
        for model, array in (("net", floats), ("net", pixels), ("line", rows)):
            body: Any = array.tolist()
            if array.dtype == np.uint8:
                body = {"values": body, "type": "uint8"}
            elif not bare:
                body = {"values": body}
            by_json = http.post(f"/v1/models/{model}/predict", json=body)
            by_npy = http.post(f"/v1/models/{model}/predict", content=npy(array), headers=NPY)
            assert (by_json.status_code, by_json.json()) == (200, by_npy.json())


def named(kind: str) -> Graph:
    graph = series(kind=kind)
    return replace(graph, input=replace(graph.input, columns=("warm", "wet")))


@pytest.mark.parametrize("kind", ["series", "table"])
def test_rows_of_named_columns_are_found_by_name(kind: str, tmp_path: Path) -> None:
    rows = RNG.normal(size=(STEPS, 2)).astype(np.float32).tolist()
    by_name: list[dict[str, float]] = [{"wet": wet, "warm": warm} for warm, wet in rows]
    with client(write(tmp_path, net=named(kind))) as http:
        expected = http.post("/v1/models/net/predict", json=rows)
        for body in (by_name, {"values": by_name}, {"values": by_name, "type": "float32"}):
            answer = http.post("/v1/models/net/predict", json=body)
            assert (answer.status_code, answer.json()) == (200, expected.json())


@pytest.mark.parametrize(
    ("rows", "code", "said"),
    [
        ([{"warm": 1.0, "wett": 2.0}], "input_refused", "body[0]: column 'wett' is unknown; choose one of warm, wet"),
        ([{"warm": 1, "wet": 2}, {"wet": 2}], "input_refused", "body[1]: has no 'warm'; give a number for each"),
        ([{"warm": 1, "wet": None}], "bad_json", "body[0]: 'wet' is None, and no number"),
        ([{"warm": 1, "wet": True}], "bad_json", "'wet' is True"),
        ([{"warm": 1, "wet": [2]}], "bad_json", "'wet' is [2]"),
        ([{"warm": 1, "wet": 10**400}], "input_refused", "too large"),
        ([{"warm": 1, "wet": 1e300}], "input_refused", "body"),
        ([{"warm": 1, "wet": 2}, [1, 2]], "bad_json", "body[1]: is no object"),
        ([[1, 2], {"warm": 1, "wet": 2}], "bad_json", "no number"),
        ({"values": [{"warm": 1, "wet": 2}], "type": "uint8"}, "bad_json", "no number"),
        ({"warm": 1, "wet": 2}, "bad_json", "neither a list nor an object"),
    ],
)
def test_rows_that_name_other_columns_are_refused(rows: Any, code: str, said: str, tmp_path: Path) -> None:
    with client(write(tmp_path, net=named("table"))) as http:
        answer = http.post("/v1/models/net/predict", json=rows)
    assert answer.json()["code"] == code
    assert said in answer.json()["message"]


def test_names_are_refused_where_the_network_has_none(tmp_path: Path) -> None:
    with client(write(tmp_path, net=series(kind="table"))) as http:
        answer = http.post("/v1/models/net/predict", json=[{"warm": 1, "wet": 2}])
    assert answer.json()["code"] == "input_refused"
    assert "have no names; send a list of numbers a row" in answer.json()["message"]


def test_a_stream_takes_steps_of_named_columns(tmp_path: Path) -> None:
    with client(write(tmp_path, net=named("series"))) as http:
        answers = []
        for body in ([[0.5, 1.0], [0.25, 2.0]], [{"wet": 1.0, "warm": 0.5}, {"warm": 0.25, "wet": 2.0}]):
            stream = http.post("/v1/models/net/streams").json()["stream"]
            answers.append(http.post(f"/v1/streams/{stream}/steps", json=body).json()["answers"])
    assert answers[0] == answers[1]
    assert len(answers[0]) == 2


def test_a_wrong_content_type_is_mended_by_a_header_that_is_shown(tmp_path: Path) -> None:
    with client(write(tmp_path, net=series())) as http:
        form = {"content-type": "application/x-www-form-urlencoded"}
        answer = http.post("/v1/models/net/predict", content=b"0,0\n", headers=form)
    assert "-H 'Content-Type: text/csv'" in answer.json()["mend"]


def test_what_is_finite_is_answered_for_and_the_rest_named(tmp_path: Path) -> None:
    values = RNG.normal(size=(2, STEPS, 2)).astype(np.float32)
    values[1] = 3e38
    with client(write(tmp_path, net=unbounded())) as http:
        answer = http.post("/v1/models/net/predict", content=npy(values), headers=NPY).json()
        assert [one["input"] for one in answer["inputs"]] == ["body[0]"]
        assert answer["failed"][0].startswith("body[1]: its values are so large")
        refused = http.post("/v1/models/net/predict", content=npy(values[1]), headers=NPY)
        assert (refused.status_code, refused.json()["code"]) == (422, "answer_not_finite")


def test_models_say_what_they_take(tmp_path: Path) -> None:
    with client(write(tmp_path, a=residual_network(), b=series("sequence"))) as http:
        listed = http.get("/v1/models").json()["models"]
        assert [one["name"] for one in listed] == ["a", "b"]
        assert http.get("/v1/models/b").json() == listed[1]
        assert (listed[0]["input"]["shape"], listed[1]["task"], listed[1]["delay"]) == ([3, 9, 7], "sequence", 2)
