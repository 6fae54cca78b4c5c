"""What a request may not be: each refusal has its status, its code, one printable line, and how to mend it."""

import contextlib
import io
import json
import pickle
import struct
import tracemalloc
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from hdlif.serve.bodies import given, reading_bytes
from hdlif.serve.manners import MOST_ADDRESSES, Rate
from hdlif.serve.refusals import KINDS, Refusal
from served import NPY, STEPS, client, npy, residual_network, series, unbounded, write

PNG, JSON, CSV = ({"content-type": kind} for kind in ("image/png", "application/json", "text/csv"))


def png(width: int, height: int) -> bytes:
    """A PNG file of a few hundred bytes that claims a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def header(shape: str, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


class Planted:
    def __reduce__(self) -> Any:
        return print, ("this must never run",)


def objects() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([Planted()], object), allow_pickle=True)
    return file.getvalue()


def animated() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 9)).save(file, "PNG")
    return file.getvalue()[:40]


BODIES: dict[str, tuple[bytes, dict[str, str], str, str]] = {
    "nothing said of its type": (b"x", {}, "unknown_content_type", "Content-Type is ''"),
    "a form": (b"x=1", {"content-type": "application/x-www-form-urlencoded"}, "unknown_content_type", "accepted are"),
    "HTML": (b"<p>", {"content-type": "text/html"}, "unknown_content_type", "text/html"),
    "an HDF5 recording": (b"\x89HDF", {"content-type": "application/x-hdf5"}, "unknown_content_type", "hdf5"),
    "nothing": (b"", PNG, "input_refused", "image"),
    "text for an image": (b"hello", PNG, "input_refused", "none of"),
    "a cut image": (animated(), PNG, "input_refused", "image"),
    "a bomb": (png(60_000, 60_000), PNG, "input_refused", "3600000000 pixels"),
    "an image beyond the server's limit": (png(7000, 7000), PNG, "image_too_large", "7000x7000"),
    "an SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", PNG, "input_refused", "none of"),
    "objects in .npy": (objects(), NPY, "input_refused", "not a plain type"),
    "a pickle": (pickle.dumps(Planted()), NPY, "input_refused", "pickle, which is never read"),
    "an .npz": (b"PK\x03\x04", NPY, "input_refused", "zip archive"),
    "petabytes claimed": (header("(1000000, 1000000, 1000)"), NPY, "input_refused", "bytes"),
    "another shape": (npy(np.zeros((3, 9, 8), np.float32)), NPY, "input_refused", "the network takes"),
    "another type": (npy(np.zeros((3, 9, 7))), NPY, "input_refused", "float64"),
    "not finite": (npy(np.full((3, 9, 7), np.nan, np.float32)), NPY, "input_refused", "not finite"),
    "more steps than are granted": (npy(np.zeros((1, 3000, 3, 9, 7), np.uint8)), NPY, "too_much_work", "operations"),
    "no JSON": (b"{", JSON, "bad_json", "not JSON"),
    "JSON of another form": (b'{"x": 1}', JSON, "bad_json", "values"),
    "JSON with more": (b'{"values": [], "y": 1}', JSON, "bad_json", "values"),
    "a number": (b"3", JSON, "bad_json", "neither a list"),
    "NaN": (b"[NaN]", JSON, "bad_json", "NaN is no number"),
    "infinity": (b"[1e999]", JSON, "input_refused", "float32"),
    "text in JSON": (b'["a"]', JSON, "bad_json", "no number"),
    "null in JSON": (b"[null]", JSON, "bad_json", "no number"),
    "true in JSON": (b"[true]", JSON, "bad_json", "no number"),
    "ragged": (b"[[1, 2], [3]]", JSON, "bad_json", "differ in length"),
    "very deep": (b"[" * 100_000 + b"]" * 100_000, JSON, "bad_json", "JSON"),
    "deeper than arrays": (b"[" * 200 + b"1" + b"]" * 200, JSON, "bad_json", "array"),
    "a long integer": (b"[" + b"9" * 10_000 + b"]", JSON, "bad_json", "JSON"),
    "a large integer": (b"[" + b"9" * 400 + b"]", JSON, "bad_json", "no number"),
    "no UTF-8": (b'["\xff"]', JSON, "bad_json", "JSON"),
    "bytes beyond 255": (b'{"values": [256], "type": "uint8"}', JSON, "bad_json", "0..255"),
    "fractions of bytes": (b'{"values": [0.5], "type": "uint8"}', JSON, "bad_json", "0..255"),
    "an unknown type": (b'{"values": [1], "type": "O"}', JSON, "bad_json", "float32, uint8"),
    "rows for an image": (b"1,2\n", CSV, "input_refused", "image"),
}


def assert_refused(answer: Any, code: str, words: str = "") -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (KINDS[code].status, "application/json")
    said = answer.json()
    assert (said.keys(), said["code"], said["mend"]) == ({"code", "message", "mend"}, code, KINDS[code].mend)
    assert words in said["message"]
    assert said["message"].isprintable()
    assert len(said["message"]) < 1000


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    artefacts = write(tmp_path_factory.mktemp("net"), net=residual_network())
    with client(artefacts, max_operations=2 * 10**7) as http:
        yield http


def refused(http: TestClient, code: str) -> float:
    found = [line for line in http.get("/metrics").text.splitlines() if f'refused_total{{code="{code}"}}' in line]
    return float(found[0].split()[-1]) if found else 0.0


@pytest.mark.parametrize("case", BODIES)
def test_a_body_that_cannot_be_used_is_refused_and_the_next_one_answered(
    case: str, images: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    content, headers, code, words = BODIES[case]
    before = refused(images, code)
    assert_refused(images.post("/v1/models/net/predict", content=content, headers=headers), code, words)
    good = images.post("/v1/models/net/predict", content=npy(np.zeros((3, 9, 7), np.uint8)), headers=NPY)
    assert good.status_code == 200
    assert images.app.state.server.room.held == 0
    assert refused(images, code) == before + 1
    assert capsys.readouterr().out == ""


def test_paths_methods_and_models_that_are_not_there(tmp_path: Path) -> None:
    with client(write(tmp_path, digits=residual_network())) as http:
        assert_refused(http.get("/"), "unknown_path")
        assert_refused(http.get("/v1/models/digit"), "unknown_model", 'did you mean "digits"?')
        assert_refused(http.post("/v1/models/%1b%5b2J/predict", content=b"", headers=NPY), "unknown_model", "x1b")
        put = http.put("/v1/models/digits/predict")
        assert_refused(put, "method_not_allowed")
        assert put.headers["allow"] == "POST"
        assert_refused(http.post("/v1/models/digits/reload"), "unknown_path")
        assert [http.get(path).status_code for path in ("/docs", "/redoc")] == [404, 404]


def test_a_body_beyond_the_limit_is_refused_whether_or_not_its_length_is_said(tmp_path: Path) -> None:
    with client(write(tmp_path, net=series()), max_body_bytes=1000) as http:

        def parts(count: int) -> Any:
            yield from (b"0,0\n" for _ in range(count))

        assert http.post("/v1/models/net/predict", content=parts(STEPS), headers=CSV).status_code == 200
        assert_refused(
            http.post("/v1/models/net/predict", content=b"0,0\n" * 251, headers=CSV), "body_too_large", "1,000"
        )
        assert_refused(http.post("/v1/models/net/predict", content=parts(300), headers=CSV), "body_too_large")
        far = http.post("/v1/models/net/predict", content=parts(3000), headers=CSV)
        assert_refused(far, "body_too_large")
        assert far.headers["connection"] == "close"
        assert_refused(http.post("/v1/models/net/streams", content=bytes(1001)), "body_too_large")
        assert http.app.state.server.room.held == 0


def test_bodies_of_all_requests_share_what_is_set_aside(tmp_path: Path) -> None:
    rows = json.dumps([[0.5, 0.25]] * STEPS).encode()
    with client(write(tmp_path, net=series()), max_bodies_bytes=10_000) as http:
        room = http.app.state.server.room
        assert http.post("/v1/models/net/predict", content=rows, headers=JSON).status_code == 200
        with room.lent() as other:
            other.grow(9000)
            full = http.post("/v1/models/net/predict", content=rows, headers=JSON)
            assert_refused(full, "overloaded", "memory")
            assert full.headers["retry-after"] == "1"
        assert room.held == 0
        # What one request takes alone no waiting mends.
        long = json.dumps([[0.5, 0.25]] * 100).encode()
        assert_refused(http.post("/v1/models/net/predict", content=long, headers=JSON), "body_too_large", "10,000")
        assert room.held == 0


@pytest.mark.parametrize(
    "said",
    [
        "[" + "0," * 50_000 + "0]",
        "[" + "-9," * 50_000 + "0]",
        "[" + "0.1," * 50_000 + "0]",
        "[" + "[]," * 50_000 + "[]]",
        "[" + "{}," * 50_000 + "{}]",
        "[" + '{"a":1,"b":2.5},' * 50_000 + '{"a":1,"b":2.5}]',
        "[" + '{"a":{}},' * 50_000 + "0]",
        '[{"":1' + "".join(f',"{i}":1' for i in range(50_000)) + "}]",
        "[" + ",".join(f'{{"{i}":1}}' for i in range(50_000)) + "]",
    ],
)
@pytest.mark.parametrize("form", ["{}", '{{"values": {}, "type": "uint8"}}'])
def test_reading_json_takes_no_more_than_is_set_aside_for_it(said: str, form: str) -> None:
    content = form.format(said).encode()
    tracemalloc.start()
    with contextlib.suppress(Refusal):
        given(content, "application/json", 1, ("a", "b"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak <= reading_bytes(content, "application/json")


def test_texts_in_json_become_no_array(tmp_path: Path) -> None:
    # As an array of texts they would take 4 * 100,000 * 1,000 bytes.
    long = ["a" * 100_000, *[""] * 1000]
    tracemalloc.start()
    with client(write(tmp_path, net=series())) as http:
        for values in (long, [long], [[0.5], long], {"values": long}):
            refused = http.post("/v1/models/net/predict", json=values)
            assert_refused(refused, "bad_json", "no number")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**25


def test_inputs_that_a_small_body_becomes_are_counted(tmp_path: Path) -> None:
    graph = unbounded()
    graph = replace(graph, input=replace(graph.input, windows=(1000, 1)), time_steps=1000)
    rows = npy(np.zeros((1100, 2), np.float32))
    # 101 windows of 8,000 bytes each.
    with client(write(tmp_path, net=graph), max_bodies_bytes=2**20) as http:
        assert_refused(http.post("/v1/models/net/predict", content=rows, headers=NPY), "body_too_large")
        assert http.post("/v1/models/net/predict", content=rows[: -80 * 100], headers=NPY).status_code == 422
        assert http.app.state.server.room.held == 0
    with client(write(tmp_path, net=graph)) as http:
        assert len(http.post("/v1/models/net/predict", content=rows, headers=NPY).json()["inputs"]) == 101


def test_inputs_of_a_request_are_bounded(tmp_path: Path) -> None:
    with client(write(tmp_path, net=series(kind="table")), max_inputs=3) as http:
        assert len(http.post("/v1/models/net/predict", content=b"0,0\n" * 3, headers=CSV).json()["inputs"]) == 3
        assert_refused(http.post("/v1/models/net/predict", content=b"0,0\n" * 4, headers=CSV), "too_many_inputs")


def test_an_address_that_asks_too_often_is_told_when_to_come_again(tmp_path: Path) -> None:
    with client(write(tmp_path, net=series()), requests_per_second=0.5) as http:
        assert http.get("/v1/models").status_code == 200
        refused = http.get("/v1/models")
        assert_refused(refused, "too_many_requests")
        assert refused.headers["retry-after"] == "2"
        assert {http.get(path).status_code for path in ("/healthz", "/readyz", "/metrics")} == {200}


def test_tokens_come_back_with_time_and_addresses_are_counted_apart() -> None:
    now = 0.0
    rate = Rate(2.0, lambda: now)
    assert [rate.wait("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert rate.wait("b") == 0
    now = 0.5
    assert [rate.wait("a"), rate.wait("a")] == [0, 0.5]
    for number in range(MOST_ADDRESSES + 10):
        rate.wait(str(number))
    assert len(rate._known) == MOST_ADDRESSES


def test_a_fault_of_the_server_is_said_without_its_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("/secret/path")

    with client(write(tmp_path, net=series())) as http:
        monkeypatch.setattr(type(http.app.state.server.reader), "_inputs", failing)
        plain = TestClient(http.app, raise_server_exceptions=False)
        answer = plain.post("/v1/models/net/predict", content=npy(np.zeros((STEPS, 2))), headers=NPY)
        assert_refused(answer, "internal")
        assert "secret" not in answer.text
