"""The largest bodies in their most expensive forms stay within the memory and the time that are set aside for them."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hdlif
from cases import naming
from hdlif.graph.artefact import InputRecord
from hdlif.graph.graph import SoundRecord
from hdlif.inputs import Unreadable, pictures
from hdlif.inputs.pictures import MOST_SCANS
from hdlif.runtime.inputs import read_inputs
from hdlif.serve import Settings
from hdlif.serve.app import create_app
from hdlif.serve.reading import as_file, reading_bytes
from hostile import jpeg_of_scans, tiff_of_one_tile
from resource_limits import at_most
from served import client, residual_network, write
from sound_files import wav_bytes

PREDICT = "/v1/models/net/predict"
SOUND_BODY, CLIP = 2**18, 16_000
SECONDS = 2.0
"""Of one core, for each body here."""


def test_a_sound_takes_no_more_than_is_set_aside_for_it() -> None:
    forms = [(1000, 8, 1), (1001, 8, 2), (1001, 24, 3), (16000, 32, 1), (44100, 16, 64), (383_999, 8, 1)]
    cases = [*((*form, "windows") for form in forms), (*forms[0], "first"), (*forms[1], "centre")]
    for case in cases:
        rate, bits, channels, how = case
        samples = np.random.default_rng(0).uniform(-1, 1, (SOUND_BODY * 8 // bits // channels, channels))
        content = wav_bytes(samples, rate, bits=bits)
        sound = SoundRecord(16000, CLIP, how, CLIP // 4, 32, 512, 256, 20.0, 8000.0)
        record = InputRecord((32, 1, 1), (0.0,) * 32, (1.0,) * 32, "series", "none", frames="rows", sound=sound)
        body, begin = as_file(content, "audio/wav", 1), time.thread_time()
        with naming(case):
            # Each input is charged as it is read, and those before it are passed over here.
            with at_most(reading_bytes(content, "audio/wav", sound)):
                assert sum(one.x.nbytes for one in islice(read_inputs(body, record, sound.frames), 16))
            assert time.thread_time() - begin < SECONDS


def test_a_body_is_refused_before_it_is_read_if_there_is_no_room_for_reading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from series_networks import SOUND, series_network

    sound, image = wav_bytes(np.zeros(1600), 1000), jpeg_of_scans(160, 2)
    artefacts = write(tmp_path, sound=series_network(sound=SOUND), image=residual_network())
    for name, kind, content, reading, reader in (
        ("sound", "audio/wav", sound, reading_bytes(sound, "audio/wav", SOUND), "hdlif.runtime.series.parse_wave"),
        ("image", "image/jpeg", image, pictures.header(image).decoding_bytes, "hdlif.inputs.pictures.decode"),
    ):
        path, headers = f"/v1/models/{name}/predict", {"content-type": kind}
        with client(artefacts, max_bodies_bytes=len(content) + reading + 10_000) as http:
            assert http.post(path, content=content, headers=headers).status_code == 200, name
        with client(artefacts, max_bodies_bytes=len(content) + reading - 1) as http, monkeypatch.context() as patch:
            patch.setattr(reader, None)
            refused = http.post(path, content=content, headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large"), name
            assert http.app.room.held == 0, name


def images(side: int, folder: Path) -> dict[str, Path]:
    """Write image files of side x side pixels in the forms whose decoding takes most memory."""
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
    files = images(500, tmp_path)
    command = [sys.executable, "-c", _MEASURE, *map(str, files.values())]
    environment = os.environ | {"MALLOC_ARENA_MAX": "1", "PYTHONPATH": str(Path(hdlif.__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    lines = [line.split() for line in done.stdout.splitlines()]
    # Only the second time of each file: the first one loads libraries.
    for name, promised, taken, seconds in lines[len(lines) // 2 :]:
        assert int(taken) <= int(promised), name
        assert float(seconds) < SECONDS, name


def test_a_body_that_takes_too_long_to_read_is_refused(tmp_path: Path) -> None:
    with client(write(tmp_path, net=residual_network()), read_seconds=1e-9) as http:
        refused = http.post(PREDICT, content=jpeg_of_scans(160, 2), headers={"content-type": "image/jpeg"})
        assert (refused.status_code, refused.json()["code"]) == (422, "too_much_work")
        assert http.app.room.held == 0


def test_reading_ends_when_its_client_has_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = threading.Event()

    def header(content: bytes, *, ended: Callable[[], bool]) -> pictures.Header:
        reading.set()
        end = time.monotonic() + 30
        while not ended():
            assert time.monotonic() < end
            time.sleep(0.01)
        raise Unreadable("decoding was stopped")

    monkeypatch.setattr(pictures, "header", header)
    app = create_app(write(tmp_path, net=residual_network()), Settings(threads=1, read_seconds=60))
    messages = [{"type": "http.request", "body": b"x"}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        while not reading.is_set():
            await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError("nobody reads it")

    scope = {
        **{"type": "http", "method": "POST", "path": PREDICT, "query_string": b""},
        "headers": [(b"content-type", b"image/png")],
    }
    asyncio.run(app(scope, receive, send))
    assert app.room.held == 0
    app.close()
