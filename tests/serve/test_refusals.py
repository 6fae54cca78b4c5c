"""Refused requests: each gets its status, its code, one printable line and the fix, and the next is answered."""

import contextlib
import io
import json
import pickle
import struct
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hdlif.errors import AllocationError
from hdlif.serve.reading import as_file, reading_bytes
from hdlif.serve.refusals import KINDS, Refusal
from served import NPY, STEPS, client, npy, residual_network, series, unbounded, write

PNG, JSON, CSV = ({"content-type": kind} for kind in ("image/png", "application/json", "text/csv"))
PREDICT = "/v1/models/net/predict"


def png(width: int, height: int) -> bytes:
    """Return a PNG file of a few hundred bytes that claims a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def header(shape: str) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


class Planted:
    def __reduce__(self) -> Any:
        return print, ("this must never run",)


def objects() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([Planted()], object), allow_pickle=True)
    return file.getvalue()


def cut_image() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 9)).save(file, "PNG")
    return file.getvalue()[:40]


BODIES: dict[str, tuple[bytes, dict[str, str], str]] = {
    "no type": (b"x", {}, "unknown_content_type"),
    "a form": (b"x=1", {"content-type": "application/x-www-form-urlencoded"}, "unknown_content_type"),
    "an HDF5 recording": (b"\x89HDF", {"content-type": "application/x-hdf5"}, "unknown_content_type"),
    "nothing": (b"", PNG, "input_refused"),
    "text for an image": (b"hello", PNG, "input_refused"),
    "a cut image": (cut_image(), PNG, "input_refused"),
    "a bomb": (png(60_000, 60_000), PNG, "input_refused"),
    "an image beyond the server's limit": (png(7000, 7000), PNG, "image_too_large"),
    "an SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", PNG, "input_refused"),
    "objects in .npy": (objects(), NPY, "input_refused"),
    "a pickle": (pickle.dumps(Planted()), NPY, "input_refused"),
    "an .npz": (b"PK\x03\x04", NPY, "input_refused"),
    "petabytes claimed": (header("(1000000, 1000000, 1000)"), NPY, "input_refused"),
    "another shape": (npy(np.zeros((3, 9, 8), np.float32)), NPY, "input_refused"),
    "another type": (npy(np.zeros((3, 9, 7))), NPY, "input_refused"),
    "not finite": (npy(np.full((3, 9, 7), np.nan, np.float32)), NPY, "input_refused"),
    "too many steps": (npy(np.zeros((1, 3000, 3, 9, 7), np.uint8)), NPY, "too_much_work"),
    "no JSON": (b"{", JSON, "bad_json"),
    "JSON of another form": (b'{"x": 1}', JSON, "bad_json"),
    "JSON with more": (b'{"values": [], "y": 1}', JSON, "bad_json"),
    "a number": (b"3", JSON, "bad_json"),
    "values that are none": (b'{"values": 3}', JSON, "bad_json"),
    "NaN": (b"[NaN]", JSON, "bad_json"),
    "infinity": (b"[1e999]", JSON, "input_refused"),
    "text in JSON": (b'["a"]', JSON, "bad_json"),
    "null in JSON": (b"[null]", JSON, "bad_json"),
    "true in JSON": (b"[true]", JSON, "bad_json"),
    "ragged": (b"[[1, 2], [3]]", JSON, "bad_json"),
    "very deep": (b"[" * 100_000 + b"]" * 100_000, JSON, "bad_json"),
    "deeper than arrays": (b"[" * 200 + b"1" + b"]" * 200, JSON, "bad_json"),
    "a long integer": (b"[" + b"9" * 10_000 + b"]", JSON, "bad_json"),
    "a large integer": (b"[" + b"9" * 400 + b"]", JSON, "bad_json"),
    "no UTF-8": (b'["\xff"]', JSON, "bad_json"),
    "bytes beyond 255": (b'{"values": [256], "type": "uint8"}', JSON, "bad_json"),
    "fractions of bytes": (b'{"values": [0.5], "type": "uint8"}', JSON, "bad_json"),
    "an unknown type": (b'{"values": [1], "type": "O"}', JSON, "bad_json"),
    "rows for an image": (b"1,2\n", CSV, "input_refused"),
}


def assert_refused(answer: Any, code: str, case: object = "") -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (KINDS[code][0], "application/json"), case
    said = answer.json()
    assert (said.keys(), said["code"], said["mend"]) == ({"code", "message", "mend"}, code, KINDS[code][1]), case
    assert said["message"].isprintable(), case
    assert len(said["message"]) < 1000, case


def test_a_body_that_cannot_be_used_is_refused_and_the_next_one_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = npy(np.zeros((3, 9, 7), np.uint8))
    with client(write(tmp_path, net=residual_network()), max_operations=2 * 10**7) as http:
        for case, (content, headers, code) in BODIES.items():
            assert_refused(http.post(PREDICT, content=content, headers=headers), code, case)
            assert http.post(PREDICT, content=good, headers=NPY).status_code == 200, case
            assert http.app.room.held == 0, case
        text = http.get("/metrics").text
    count = sum(code == "bad_json" for *_, code in BODIES.values())
    assert f'hdlif_refused_total{{code="bad_json"}} {count}.0' in text
    assert capsys.readouterr().out == ""


def test_paths_methods_models_and_parameters_that_do_not_exist(tmp_path: Path) -> None:
    with client(write(tmp_path, digits=residual_network())) as http:
        for path in ("/", "/docs", "/v1/models/digits/reload"):
            assert_refused(http.get(path), "unknown_path", path)
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
    for number, values in enumerate(
        (
            "[" + "0," * 10_000 + "0]",
            "[" + "-9," * 10_000 + "0]",
            "[" + "0.1," * 10_000 + "0]",
            "[" + "[]," * 10_000 + "[]]",
            "[" + "{}," * 10_000 + "{}]",
            "[" + '{"a":1,"b":2.5},' * 10_000 + '{"a":1,"b":2.5}]',
            "[" + '{"a":{}},' * 10_000 + "0]",
            '[{"":1' + "".join(f',"{i}":1' for i in range(10_000)) + "}]",
            "[" + ",".join(f'{{"{i}":1}}' for i in range(10_000)) + "]",
        )
    ):
        for form in (values, f'{{"values": {values}, "type": "uint8"}}'):
            content = form.encode()
            tracemalloc.start()
            with contextlib.suppress(Refusal):
                as_file(content, "application/json", 1, ("a", "b"))
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak <= reading_bytes(content, "application/json"), (number, form[:60])


def test_strings_in_json_become_no_array(tmp_path: Path) -> None:
    # As an array of strings they would take 4 * 100,000 * 1,000 bytes.
    long = ["a" * 100_000, *[""] * 1000]
    with client(write(tmp_path, net=series())) as http:
        tracemalloc.start()
        for values in (long, [long], [[0.5], long], {"values": long}):
            assert_refused(http.post(PREDICT, json=values), "bad_json")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 2**23


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
    with client(write(tmp_path, net=series())) as http:
        for error, code in (
            (RuntimeError("/secret/path"), "internal"),
            (MemoryError(), "no_memory"),
            (AllocationError("too little"), "no_memory"),
        ):

            def fail(*_: object, error: Exception = error) -> None:
                raise error

            monkeypatch.setattr("hdlif.serve.reading.read_inputs", fail)
            answer = http.post(PREDICT, content=npy(np.zeros((STEPS, 2))), headers=NPY)
            assert_refused(answer, code)
            assert "secret" not in answer.text
    assert "/secret/path" in caplog.text
