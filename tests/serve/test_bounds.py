"""The largest bodies in their most expensive forms stay within the bytes set aside for them, and within seconds."""

import asyncio
import os
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hdlif
from hdlif.artefact import InputRecord
from hdlif.inputs import Unreadable, pictures
from hdlif.inputs.pictures import MOST_SCANS
from hdlif.ops.sound import SoundRecord
from hdlif.runtime.inputs import read_inputs
from hdlif.serve import Settings
from hdlif.serve.app import create_app
from hdlif.serve.bodies import given, reading_bytes
from hostile import jpeg_of_scans, tiff_of_one_tile
from served import client, residual_network, write
from sound_files import wav_bytes

JPEG = {"content-type": "image/jpeg"}
SOUND_BODY, CLIP = 2**20, 16_000
SECONDS = 2.0
"""Of one core, for each body here."""


@contextmanager
def within(count: int) -> Iterator[None]:
    begin = time.thread_time()
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= count
    assert time.thread_time() - begin < SECONDS


def takes_sounds(how: str, every: int = CLIP) -> InputRecord:
    record = SoundRecord(16000, CLIP, how, every, 32, 512, 256, 20.0, 8000.0)
    return InputRecord((32, 1, 1), (0.0,) * 32, (1.0,) * 32, "series", "none", frames="rows", sound=record)


@pytest.mark.parametrize("how", ["first", "centre", "windows"])
@pytest.mark.parametrize(
    ("rate", "bits", "channels"),
    [(1000, 8, 1), (1001, 8, 2), (1001, 24, 3), (16000, 32, 1), (44100, 16, 64), (383_999, 8, 1)],
)
def test_a_sound_takes_no_more_than_is_set_aside_for_it(rate: int, bits: int, channels: int, how: str) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (SOUND_BODY * 8 // bits // channels, channels))
    content, record = wav_bytes(samples, rate, bits=bits), takes_sounds(how, CLIP // 4)
    body = given(content, "audio/wav", 1)
    assert record.sound is not None
    with within(reading_bytes(content, "audio/wav", record.sound)):
        # Each input is charged as it is read, and those before it are passed over here.
        assert sum(x.nbytes for _, x in islice(read_inputs(body, record, record.sound.frames), 16))


def test_a_sound_is_refused_before_it_is_read_if_there_is_no_room_for_reading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from series_networks import SOUND, series_network

    content = wav_bytes(np.zeros(1600), 1000)
    room = len(content) + reading_bytes(content, "audio/wav", SOUND)
    artefacts, sent = write(tmp_path, net=series_network(sound=SOUND)), {"content-type": "audio/wav"}
    with client(artefacts, max_bodies_bytes=room + 10_000) as http:
        assert http.post("/v1/models/net/predict", content=content, headers=sent).status_code == 200
    with client(artefacts, max_bodies_bytes=room - 1) as http:
        monkeypatch.setattr("hdlif.runtime.series.parse_wave", None)
        refused = http.post("/v1/models/net/predict", content=content, headers=sent)
        assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large")
        assert http.app.state.server.room.held == 0


def images(side: int, folder: Path) -> dict[str, Path]:
    """Image files of side x side pixels in the forms whose decoding takes most memory."""
    blocks = np.random.default_rng(0).integers(0, 256, (side // 10, side // 10, 3), dtype=np.uint8)
    rgb = Image.fromarray(blocks.repeat(10, 0).repeat(10, 1))
    forms: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "cmyk.jpg": (rgb.convert("CMYK"), {"progressive": True}),
        "rgb.jpg": (rgb, {"progressive": True, "subsampling": 0}),
        "lossless.webp": (rgb, {"lossless": True, "quality": 0, "method": 0}),
        "lossy.webp": (rgb.convert("RGBA"), {"method": 0}),
        "rgba.png": (rgb.convert("RGBA"), {"compress_level": 1}),
        "palette.gif": (rgb.quantize(64), {}),
        "rgb.bmp": (rgb, {}),
        "rgb.ppm": (rgb, {}),
        "cmyk.tif": (rgb.convert("CMYK"), {"compression": "tiff_lzw"}),
    }
    for name, (image, options) in forms.items():
        image.save(folder / name, **options)
    (folder / "scans.jpg").write_bytes(jpeg_of_scans(side, MOST_SCANS))
    (folder / "tile.tif").write_bytes(tiff_of_one_tile(16, side))
    return {name: folder / name for name in (*forms, "scans.jpg", "tile.tif")}


_MEASURE = """
import sys, time
from pathlib import Path
from hdlif.inputs import pictures

def resident(key):
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key)]
    return int(line.split()[1]) * 1024

for name in sys.argv[1:] * 2:
    content = Path(name).read_bytes()
    promised = pictures.header(content).decoding_bytes
    for mode in ("RGB", "L"):
        Path("/proc/self/clear_refs").write_text("5")
        before, begin = resident("VmRSS"), time.thread_time()
        pictures.decode(content, mode)
        print(name, promised, resident("VmHWM") - before, time.thread_time() - begin)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux' peak of resident memory")
def test_an_image_takes_no_more_than_is_set_aside_for_it(tmp_path: Path) -> None:
    files = images(1000, tmp_path)
    command = [sys.executable, "-c", _MEASURE, *map(str, files.values())]
    environment = os.environ | {"MALLOC_ARENA_MAX": "1", "PYTHONPATH": str(Path(hdlif.__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    lines = [line.split() for line in done.stdout.splitlines()]
    # Of each file the second time: the first one loads libraries.
    for name, promised, taken, seconds in lines[len(lines) // 2 :]:
        assert int(taken) <= int(promised), name
        assert float(seconds) < SECONDS, name


def test_an_image_is_refused_before_it_is_decoded_if_there_is_no_room_for_decoding_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artefacts, content = write(tmp_path, net=residual_network()), jpeg_of_scans(160, 2)
    room = len(content) + pictures.header(content).decoding_bytes
    with client(artefacts, max_bodies_bytes=room + 10_000) as http:
        assert http.post("/v1/models/net/predict", content=content, headers=JPEG).status_code == 200
    with client(artefacts, max_bodies_bytes=room - 1) as http:
        monkeypatch.setattr(pictures, "decode", None)
        refused = http.post("/v1/models/net/predict", content=content, headers=JPEG)
        assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large")
        assert http.app.state.server.room.held == 0


def test_a_body_that_takes_too_long_to_read_is_refused(tmp_path: Path) -> None:
    with client(write(tmp_path, net=residual_network()), read_seconds=1e-9) as http:
        refused = http.post("/v1/models/net/predict", content=jpeg_of_scans(160, 2), headers=JPEG)
        assert (refused.status_code, refused.json()["code"]) == (422, "too_much_work")
        assert "reading it takes more than 1e-09 seconds" in refused.json()["message"]


def test_reading_ends_when_its_client_has_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = threading.Event()

    def header(content: bytes, *, ended: Callable[[], bool]) -> pictures.Header:
        left.set()
        end = time.monotonic() + 30
        while not ended():
            assert time.monotonic() < end
            time.sleep(0.01)
        raise Unreadable("decoding it was ended")

    monkeypatch.setattr(pictures, "header", header)
    app = create_app(write(tmp_path, net=residual_network()), Settings(threads=1, read_seconds=60))
    messages = [{"type": "http.request", "body": b"x"}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        while not left.is_set():
            await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    scope = {
        **{"type": "http", "method": "POST", "path": "/v1/models/net/predict", "query_string": b""},
        "headers": [(b"content-type", b"image/png")],
    }
    asyncio.run(app(scope, receive, send))
    assert app.state.server.room.held == 0
    app.state.server.close()
