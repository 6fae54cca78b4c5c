"""Small recordings in the formats in which event cameras and their data sets keep them."""

import struct
from pathlib import Path

import numpy as np

from hdlif.data import Events


def recording(n: int, *, side: int, seed: int = 0, length: int = 5_000) -> Events:
    """Random events in order of time; no two at one time."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.choice(length, n, replace=False))
    return Events(t, rng.integers(0, side, n), rng.integers(0, side, n), rng.integers(0, 2, n))


def bin_bytes(events: Events) -> bytes:
    """N-MNIST's 40-bit events, with an entry of y = 240 for every 2^13 microseconds that went by."""
    entries, ahead = [], 0
    for t, x, y, p in zip(*(a.tolist() for a in (events.t, events.x, events.y, events.polarity)), strict=True):
        while t - ahead >= 2**13:
            ahead += 2**13
            entries.append(bytes([0, 240, 0, 0, 0]))
        rest = t - ahead
        entries.append(bytes([x, y, p << 7 | rest >> 16, rest >> 8 & 0xFF, rest & 0xFF]))
    return b"".join(entries)


def aedat2_bytes(events: Events) -> bytes:
    """AEDAT 2.0 of a DVS128: its x counts from the right and its y from below, and 1 is darker."""
    header = b"#!AER-DAT2.0\r\n# This is a raw AE data file created by saveaerdat.m\r\n"
    address = (127 - events.y) << 8 | (127 - events.x) << 1 | (1 - events.polarity)
    return header + np.stack([address, events.t], axis=1).astype(">u4").tobytes()


def aedat3_bytes(events: Events, *, packet: int = 7) -> bytes:
    """AEDAT 3.1: packets with room to spare, an invalid event in each, and one of special events between."""
    content = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"
    for first in range(0, len(events.t), packet):
        t, x, y, p = (a[first : first + packet] for a in (events.t, events.x, events.y, events.polarity))
        data = np.append(x << 17 | y << 2 | p << 1 | 1, 5 << 17)
        body = np.stack([data, np.append(t, 0)], axis=1).astype("<u4")
        room = len(body) + 2
        content += np.array([1, 1], "<i2").tobytes() + np.array([8, 4, 0, room, len(body), len(t)], "<i4").tobytes()
        content += body.tobytes() + bytes(8 * (room - len(body)))
        content += np.array([0, 1], "<i2").tobytes() + np.array([8, 4, 0, 1, 1, 1], "<i4").tobytes() + bytes([1] * 8)
    return content


def aedat4_bytes(events: Events) -> bytes:
    """AEDAT 4.0, not compressed: two flatbuffers written out by hand, a header and one packet of events.

    Each has a root offset, an identifier, a table of field offsets (padded to 8 bytes), the fields, and what they
    point to.
    """
    streams = (
        b'<dv version="2.0"><node name="outInfo" path="/o/"><node name="0" path="/o/0/">'
        b'<attr key="compression" type="string">NONE</attr><attr key="typeIdentifier" type="string">EVTS</attr>'
        b'<node name="info" path="/o/0/info/"><attr key="sizeX" type="int">128</attr>'
        b'<attr key="sizeY" type="int">128</attr></node></node></node></dv>'
    )
    # Fields: compression (none), place of the table of packets (-1: there is none), the streams.
    header = struct.pack("<I4s5H6x", 24, b"IOHE", 10, 20, 4, 8, 16) + struct.pack("<iiqI", 16, 0, -1, 4)
    header += struct.pack("<I", len(streams)) + streams + b"\0"
    layout = np.dtype(
        {"names": list("txyp"), "formats": ["<i8", "<i2", "<i2", "?"], "offsets": [0, 8, 10, 12], "itemsize": 16}
    )
    entries = np.zeros(len(events.t), layout)
    for name, values in zip("txyp", (events.t, events.x, events.y, events.polarity), strict=True):
        entries[name] = values
    packet = (
        struct.pack("<I4s3H2x", 16, b"EVTS", 6, 8, 4) + struct.pack("<iI4xI", 8, 8, len(entries)) + entries.tobytes()
    )
    sized = struct.pack("<I", len(packet)) + packet
    prefix = b"#!AER-DAT4.0\r\n" + struct.pack("<I", len(header)) + header
    return prefix + struct.pack("<ii", 0, len(sized)) + sized


def evt2_bytes(events: Events, *, header: str = "% evt 2.0\n% geometry 34x34\n% end\n") -> bytes:
    """EVT 2.0: a word of time before every event, whether it changed or not."""
    t, x, y, p = (a.astype(np.int64) for a in (events.t, events.x, events.y, events.polarity))
    words = np.stack([8 << 28 | t >> 6, p << 28 | (t & 63) << 22 | x << 11 | y], axis=1)
    return header.encode() + words.astype("<u4").tobytes()


def fields(events: Events) -> np.ndarray:
    """A structured array of fields x, y, p, t, as some cameras' programs save one."""
    layout = [("x", "<u2"), ("y", "<u2"), ("p", "u1"), ("t", "<i8")]
    columns = (events.x, events.y, events.polarity, events.t)
    return np.array(list(zip(*(a.tolist() for a in columns), strict=True)), layout)


MOVES = ("left", "right")


def moving(label: str, number: int, *, side: int = 8, n: int = 60) -> Events:
    """A dot that moves over a sensor of side x side, to the left or to the right."""
    rng = np.random.default_rng([len(label), number])
    t = np.sort(rng.integers(0, 10_000, n))
    way = t * (side - 1) // 10_000
    x = way if label == "right" else side - 1 - way
    return Events(t, x, np.clip(number % side + rng.integers(-1, 2, n), 0, side - 1), rng.integers(0, 2, n))


def write_moves(root: Path, per_class: int = 10, *, side: int = 8) -> Path:
    """ROOT/CLASS/000.npy or .npz ... of dots that move over a sensor of side x side."""
    for label in MOVES:
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            events = moving(label, number, side=side)
            if number % 2:
                columns = {"t": events.t, "x": events.x, "y": events.y, "p": events.polarity * 2 - 1}
                np.savez(root / label / f"{number:03}.npz", **columns)
            else:
                np.save(root / label / f"{number:03}.npy", fields(events))
    return root


def write_n_mnist(root: Path, *, per_digit: tuple[int, int] = (3, 1)) -> None:
    for part, count in zip(("Train", "Test"), per_digit, strict=True):
        for digit in range(10):
            folder = root / "NMNIST" / part / str(digit)
            folder.mkdir(parents=True)
            for i in range(count):
                events = recording(40, side=34, seed=100 * digit + i, length=300_000)
                (folder / f"{10 * i + digit:05d}.bin").write_bytes(bin_bytes(events))


def write_dvs_cifar10(root: Path, classes: tuple[str, ...], *, per_class: int = 5) -> None:
    """Recording NUMBER of a class has 20 + NUMBER events."""
    for label, name in enumerate(classes):
        folder = root / "CIFAR10DVS" / name
        folder.mkdir(parents=True)
        for number in range(8, 8 + per_class):
            events = recording(20 + number, side=128, seed=100 * label + number)
            (folder / f"cifar10_{name}_{number}.aedat").write_bytes(aedat2_bytes(events))


def write_dvs_gesture(root: Path) -> None:
    """Two users for training and one for testing; each does gestures 1 to 11, for 100 microseconds each."""
    folder = root / "DvsGesture"
    folder.mkdir()
    for user in range(3):
        trial = f"user{user:02d}_fluorescent"
        events = recording(900, side=128, seed=user, length=1_200)
        (folder / f"{trial}.aedat").write_bytes(aedat3_bytes(events, packet=100))
        lines = [f"{gesture},{100 * gesture},{100 * gesture + 100}" for gesture in range(1, 12)]
        (folder / f"{trial}_labels.csv").write_text("class,startTime_usec,endTime_usec\n" + "\n".join(lines) + "\n")
    (folder / "trials_to_train.txt").write_text("user00_fluorescent.aedat\nuser01_fluorescent.aedat\n")
    (folder / "trials_to_test.txt").write_text("user02_fluorescent.aedat\n\n")
