"""The largest bodies in their most expensive forms stay within the bytes set aside for them, and within seconds."""

import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from hdlif.artefact import InputRecord
from hdlif.ops.sound import SoundRecord
from hdlif.runtime.inputs import read_inputs
from hdlif.serve.bodies import given, reading_bytes
from served import client, write
from sound_files import wav_bytes

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
