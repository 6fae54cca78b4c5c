"""Refused requests: each gets its status, its code, one printable line and the fix, and the next is answered."""

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from cases import naming
from hdlif.errors import AllocationError
from hdlif.serve.reading import as_file, reading_bytes
from hdlif.serve.refusals import KINDS, Refusal
from resource_limits import at_most
from served import NPY, STEPS, client, npy, residual_network, series, unbounded, write

PNG, JSON, CSV = ({"content-type": kind} for kind in ("image/png", "application/json", "text/csv"))
PREDICT = "/v1/models/net/predict"


FORM = {"content-type": "application/x-www-form-urlencoded"}
BODIES: dict[str, tuple[bytes, dict[str, str], str]] = {
    "no type": (b"x", {}, "unknown_content_type"),
    "a form": (b"x=1", FORM, "unknown_content_type"),
    "nothing": (b"", PNG, "input_refused"),
    "text for an image": (b"hello", PNG, "input_refused"),
    "an image beyond the server's limit": (b"P6 7000 7000 255\n", PNG, "image_too_large"),
    "no array": (b"PK\x03\x04", NPY, "input_refused"),
    "another shape": (npy(np.zeros((3, 9, 8), np.float32)), NPY, "input_refused"),
    "another type": (npy(np.zeros((3, 9, 7))), NPY, "input_refused"),
    "not finite": (npy(np.full((3, 9, 7), np.nan, np.float32)), NPY, "input_refused"),
    "too many steps": (npy(np.zeros((1, 3000, 3, 9, 7), np.uint8)), NPY, "too_much_work"),
    "infinity": (b"[1e999]", JSON, "input_refused"),
    "rows for an image": (b"1,2\n", CSV, "input_refused"),
}
BAD_JSON = (
    *(b"{", b'{"x": 1}', b'{"values": [], "y": 1}', b"3", b'{"values": 3}', b"[NaN]", b'["a"]', b"[null]", b"[true]"),
    *(b"[[1, 2], [3]]", b"[" * 100_000 + b"]" * 100_000, b"[" * 200 + b"1" + b"]" * 200, b'["\xff"]'),
    *(b"[" + b"9" * 10_000 + b"]", b"[" + b"9" * 400 + b"]", b'{"values": [256], "type": "uint8"}'),
    *(b'{"values": [0.5], "type": "uint8"}', b'{"values": [1], "type": "O"}'),
)


def assert_refused(answer: Any, code: str) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (KINDS[code][0], "application/json")
    said = answer.json()
    assert (said.keys(), said["code"], said["fix"]) == ({"code", "message", "fix"}, code, KINDS[code][1])
    assert said["message"].isprintable()
    assert len(said["message"]) < 1000


def test_a_body_that_cannot_be_used_is_refused_and_the_next_one_answered(tmp_path: Path) -> None:
    good = npy(np.zeros((3, 9, 7), np.uint8))
    bodies = [*BODIES.values(), *((content, JSON, "bad_json") for content in BAD_JSON)]
    with client(write(tmp_path, net=residual_network()), max_operations=2 * 10**7) as http:
        for content, headers, code in bodies:
            with naming(content[:60], code):
                assert_refused(http.post(PREDICT, content=content, headers=headers), code)
                assert http.post(PREDICT, content=good, headers=NPY).status_code == 200
                assert http.app.room.held == 0
        assert f'hdlif_refused_total{{code="bad_json"}} {len(BAD_JSON)}.0' in http.get("/metrics").text


def test_paths_methods_models_and_parameters_that_do_not_exist(tmp_path: Path) -> None:
    with client(write(tmp_path, digits=residual_network())) as http:
        for path in ("/", "/docs", "/v1/models/digits/reload"):
            assert_refused(http.get(path), "unknown_path")
        near = http.get("/v1/models/digit")
        assert_refused(near, "unknown_model")
        assert 'did you mean "digits"?' in near.json()["message"]
        assert_refused(http.post("/v1/models/%1b%5b2J/predict", content=b"", headers=NPY), "unknown_model")
        put = http.put("/v1/models/digits/predict")
        assert_refused(put, "method_not_allowed")
        assert put.headers["allow"] == "POST"
        assert http.put("/v1/streams/x").headers["allow"] == "DELETE, GET"
        assert_refused(http.post("/v1/models/digits/predict?layout=series", content=b"", headers=NPY), "bad_parameter")


def test_a_body_beyond_the_limit_is_refused_with_and_without_its_length(tmp_path: Path) -> None:
    with client(write(tmp_path, net=series()), max_body_bytes=1000) as http:

        def parts(count: int) -> Any:
            yield from (b"0,0\n" for _ in range(count))

        assert http.post(PREDICT, content=parts(STEPS), headers=CSV).status_code == 200
        assert_refused(http.post(PREDICT, content=b"0,0\n" * 251, headers=CSV), "body_too_large")
        assert_refused(http.post(PREDICT, content=parts(300), headers=CSV), "body_too_large")
        assert_refused(http.post("/v1/models/net/streams", content=bytes(1001)), "body_too_large")
        assert http.app.room.held == 0


def test_bodies_of_all_requests_share_the_room(tmp_path: Path) -> None:
    rows = json.dumps([[0.5, 0.25]] * STEPS).encode()
    with client(write(tmp_path, net=series()), max_bodies_bytes=10_000) as http:
        room = http.app.room
        assert http.post(PREDICT, content=rows, headers=JSON).status_code == 200
        with room.lend() as grow:
            grow(9000)
            full = http.post(PREDICT, content=rows, headers=JSON)
            assert_refused(full, "overloaded")
            assert full.headers["retry-after"] == "1"
        # Waiting does not help a request that needs more than all of it.
        long = json.dumps([[0.5, 0.25]] * 100).encode()
        assert_refused(http.post(PREDICT, content=long, headers=JSON), "body_too_large")
        # A thread that still reads for a request that was given up takes nothing any more.
        with pytest.raises(Refusal):
            grow(1)
        assert room.held == 0


def test_reading_json_takes_no_more_than_is_set_aside_for_it() -> None:
    many = ("0", "-9", "0.1", "[]", "{}", '{"a":1,"b":2.5}', '{"a":{}}')
    for values in (
        *("[" + f"{value}," * 10_000 + f"{value}]" for value in many),
        '[{"":1' + "".join(f',"{i}":1' for i in range(10_000)) + "}]",
        "[" + ",".join(f'{{"{i}":1}}' for i in range(10_000)) + "]",
    ):
        for form in (values, f'{{"values": {values}, "type": "uint8"}}'):
            content = form.encode()
            most = reading_bytes(content, "application/json")
            with naming(form[:60]), at_most(most), contextlib.suppress(Refusal):
                as_file(content, "application/json", 1, ("a", "b"))


def test_strings_in_json_become_no_array(tmp_path: Path) -> None:
    # As an array of strings they would take 4 * 100,000 * 1,000 bytes.
    long = ["a" * 100_000, *[""] * 1000]
    with client(write(tmp_path, net=series())) as http, at_most(2**23):
        for values in (long, [long], [[0.5], long], {"values": long}):
            assert_refused(http.post(PREDICT, json=values), "bad_json")


def test_inputs_of_a_request_are_bounded_in_number_and_memory(tmp_path: Path) -> None:
    with client(write(tmp_path, net=series(kind="table")), max_inputs=3) as http:
        assert len(http.post(PREDICT, content=b"0,0\n" * 3, headers=CSV).json()["inputs"]) == 3
        assert_refused(http.post(PREDICT, content=b"0,0\n" * 4, headers=CSV), "too_many_inputs")
    windows = replace(unbounded(), input=replace(unbounded().input, windows=(STEPS, 1)))
    rows = npy(np.zeros((STEPS + 100, 2), np.float32))
    with client(write(tmp_path, net=windows)) as http:
        assert len(http.post(PREDICT, content=rows, headers=NPY).json()["inputs"]) == 101
    with client(write(tmp_path, net=windows), max_bodies_bytes=50_000) as http:
        assert_refused(http.post(PREDICT, content=rows, headers=NPY), "body_too_large")
        assert http.app.room.held == 0


def test_errors_of_the_server_are_logged_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    errors = {RuntimeError("/secret/path"): "internal", MemoryError(): "no_memory", AllocationError(""): "no_memory"}
    with client(write(tmp_path, net=series())) as http:
        for error, code in errors.items():
            monkeypatch.setattr("hdlif.serve.reading.read_inputs", Mock(side_effect=error))
            answer = http.post(PREDICT, content=npy(np.zeros((STEPS, 2))), headers=NPY)
            assert_refused(answer, code)
            assert "secret" not in answer.text
    assert "/secret/path" in caplog.text
