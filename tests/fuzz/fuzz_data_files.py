"""Files of data sets: the first byte chooses a reader, and the rest is read, or refused in its own words."""

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import driver

from hdlif.data.files import tar_members as members
from hdlif.data.pickles import integers, parse_pickle
from hdlif.data.sources.fashion_mnist import parse_idx
from hdlif.inputs import Unreadable
from hdlif.inputs.recordings import read_recording


def read_pickle(data: bytes) -> None:
    found = parse_pickle(data)
    if isinstance(found, dict):
        for value in found.values():
            integers(value)


def read_tar(data: bytes) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        for member in members(file):
            assert 0 < member.offset <= member.offset + member.size <= len(data)


def recording(suffix: str) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        with driver.may_refuse():
            events = read_recording(Path(f"a{suffix}"), data)
            assert len({len(events.t), len(events.x), len(events.y), len(events.polarity)}) == 1

    return read


READERS: tuple[Callable[[bytes], object], ...] = (
    lambda data: parse_idx(data, 1),
    lambda data: parse_idx(data, 3),
    read_pickle,
    read_tar,
    recording(".bin"),
    recording(".aedat"),
    recording(".raw"),
    recording(".npy"),
    recording(".npz"),
)


def target(data: bytes) -> None:
    with suppress(Unreadable):
        READERS[data[0] % len(READERS) if data else 0](data[1:])


if __name__ == "__main__":
    driver.main(target, "data_files")
