"""Pages that can be followed from their first to their last line, and that show what is printed."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from hdlif.data.sources.sounds import SOUND_KEYS
from hdlif.inputs.recordings import READERS
from hdlif.recipe.builders.own_kinds import arguments
from pages import followed, keys_in_rows, page

ROOM = Path(__file__).parents[2] / "docs" / "tutorials"
FROM_OTHERS = {"from_snntorch", "from_spikingjelly"}
"""tests/peers/test_migration_pages.py runs these, where those libraries are installed."""


class Page(NamedTuple):
    """Attributes:
    verbs: the subcommands of `hdlif` that the page runs, each where it first stands.
    quick: what makes the trainings short; the slow tier trains as a tutorial does.
    words: what a last output of a subcommand has in it, however short the training.
    leaves: files that are there at the end.
    """

    verbs: str
    quick: str
    words: dict[str, str]
    leaves: str


ALL = "data train eval export run"
PAGES = {
    "tutorials/first_network": Page(
        verbs="--version train eval report export run",
        quick="training.epochs=3",
        words={"run": "digit.png: 7 ("},
        leaves="digits.hdlif.safetensors runs/first/report.html",
    ),
    "tutorials/your_own_images": Page(
        verbs=ALL,
        quick="training.epochs=6",
        words={"data": "trained on     3x16x16, RGB", "run": "new.png: triangle ("},
        leaves="sheet.png shapes.hdlif.safetensors",
    ),
    "tutorials/your_own_sensor_data": Page(
        verbs=ALL,
        quick="training.epochs=1 data.stride=64",
        words={"data": "kept together  8, each a group of", "eval": "% of "},
        leaves="new.html activity.hdlif.safetensors",
    ),
    "tutorials/microcontroller": Page(
        verbs="train export",
        quick="training.epochs=1",
        words={"export": "firmware/digits.c and digits.h"},
        leaves="firmware/main.c firmware/samples.h",
    ),
    "tutorials/your_own_neuron": Page(
        verbs="neurons train report export eval",
        quick="training.epochs=1 data.train=256",
        words={"neurons": "states, 0 at first: potential, memory"},
        leaves="both.html mine.hdlif.safetensors",
    ),
    "how_to/your_own_datasets": Page(
        verbs="data train eval export",
        quick="training.epochs=1 model.width=4",
        words={"data": "handwriting:Digits: data sets of train/test, split here (validation 0.15"},
        leaves="runs/digits/parts.json",
    ),
    "how_to/your_own_recordings": Page(
        verbs=ALL,
        quick="training.epochs=6 model.width=4",
        words={"data": "sensor         16x16 (height, width), from data.sensor", "run": ": right ("},
        leaves="sheet.png",
    ),
    "how_to/your_own_sensor_data": Page(
        verbs=ALL,
        quick="training.epochs=1 data.stride=64",
        words={"data": "groups         ann, bob, cem, dora, eve, finn", "run": "activity.html\n"},
        leaves="activity.html",
    ),
    "how_to/your_own_sounds": Page(
        verbs=ALL,
        quick="training.epochs=1",
        words={"data": "time_steps=31", "run": "sounds/bell/"},
        leaves="sheet.png",
    ),
    "how_to/your_own_tables": Page(
        verbs=ALL,
        quick="training.epochs=1",
        words={"data": "features       3: height, width, petal", "run": "flowers.csv:2: "},
        leaves="",
    ),
    "how_to/your_own_targets": Page(
        verbs=ALL,
        quick="training.epochs=6",
        words={"data": 'files in labels.csv, groups in "person", split here', "run": ": loop ("},
        leaves="sheet.png",
    ),
}
TUTORIALS = [name for name in PAGES if name.startswith("tutorials/")]
LONG = ["tutorials/microcontroller", "tutorials/your_own_neuron"]
LONG += ["how_to/your_own_datasets", "how_to/your_own_sensor_data", "how_to/your_own_targets"]
QUICK = [pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in PAGES]


def follow(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *, quickly: bool) -> None:
    expected = PAGES[name]
    training = [part for one in expected.quick.split() for part in ("--set", one)] if quickly else None
    # `make` builds firmware for an emulated processor.
    tools = all(map(shutil.which, ("make", "arm-none-eabi-gcc", "qemu-system-arm")))
    said = followed(page(name), folder, monkeypatch, training=training, without=[] if tools else ["make"])
    assert [verb for verb in said if verb != "make"] == expected.verbs.split()
    for verb, words in expected.words.items():
        assert words in said[verb]
    for file in expected.leaves.split():
        assert (folder / file).stat().st_size > 0


@pytest.mark.parametrize("name", QUICK)
def test_every_step_of_a_page_works(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(name, tmp_path, monkeypatch, quickly=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", TUTORIALS)
def test_every_step_of_a_tutorial_works_as_written(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(name, tmp_path, monkeypatch, quickly=False)


def test_every_tutorial_is_followed() -> None:
    names = {path.stem for path in ROOM.glob("*.md")} - {"index"}
    assert names == {name.removeprefix("tutorials/") for name in TUTORIALS} | FROM_OTHERS


def test_every_key_of_a_data_set_has_a_row_in_its_page() -> None:
    elsewhere = keys_in_rows(page("how_to/your_own_targets")) | {"path", "resample"}
    of_others = {*arguments("folder"), *arguments("events"), *SOUND_KEYS}
    for name, keys in {
        "images": arguments("folder"),
        "recordings": arguments("events"),
        "sensor_data": arguments("series") - {*SOUND_KEYS},
        "sounds": {*SOUND_KEYS, "group", "split"},
        "tables": arguments("table"),
        "datasets": arguments("shards", "arrow") - of_others,
        "targets": {"targets", "file", "label", "group", "values", "labels"} & arguments("folder"),
    }.items():
        assert keys - keys_in_rows(page(f"how_to/your_own_{name}")) <= elsewhere, name
    datasets, recordings = page("how_to/your_own_datasets"), page("how_to/your_own_recordings")
    assert all(f"`{key}`" in datasets for key in arguments("shards") - {"path"})
    assert all(f"`{suffix}`" in recordings for suffix in READERS)
