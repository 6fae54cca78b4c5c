"""Every tutorial can be followed from its first to its last line, and shows what is printed."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from pages import followed, page

ROOM = Path(__file__).parents[2] / "docs" / "tutorials"
FROM_OTHERS = {"from_snntorch", "from_spikingjelly"}
"""tests/peers/test_migration_pages.py runs these, where those libraries are installed."""


class Tutorial(NamedTuple):
    """Attributes:
    verbs: what `hdlif` is asked to do, each where it first stands.
    quick: what makes the trainings short; the slow tier trains as the page does.
    words: what a last output of a verb has in it, however short the training.
    leaves: files that are there at the end.
    """

    verbs: str
    quick: str
    words: dict[str, str]
    leaves: str


TUTORIALS = {
    "first_network": Tutorial(
        verbs="--version train eval report export run",
        quick="training.epochs=3",
        words={"run": "digit.png: 7 ("},
        leaves="digits.hdlif.safetensors runs/first/report.html",
    ),
    "your_own_images": Tutorial(
        verbs="data train eval export run",
        quick="training.epochs=6",
        words={"data": "trained on     3x16x16, RGB", "run": "new.png: triangle ("},
        leaves="sheet.png shapes.hdlif.safetensors",
    ),
    "your_own_sensor_data": Tutorial(
        verbs="data train eval export run",
        quick="training.epochs=1 data.stride=64",
        words={"data": "kept together  8, each a group of", "eval": "% of "},
        leaves="new.html activity.hdlif.safetensors",
    ),
    "microcontroller": Tutorial(
        verbs="train export",
        quick="training.epochs=1",
        words={"export": "firmware/digits.c and digits.h"},
        leaves="firmware/main.c firmware/samples.h",
    ),
    "your_own_neuron": Tutorial(
        verbs="neurons train report export eval",
        quick="training.epochs=1 data.train=256",
        words={"neurons": "states, 0 at first: potential, memory"},
        leaves="both.html mine.hdlif.safetensors",
    ),
}


def walk(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *, quickly: bool) -> None:
    tutorial = TUTORIALS[name]
    training = [part for one in tutorial.quick.split() for part in ("--set", one)] if quickly else None
    said = followed(page(f"tutorials/{name}"), folder, monkeypatch, training=training, without=missing_tools())
    assert [verb for verb in said if verb != "make"] == tutorial.verbs.split()
    for verb, words in tutorial.words.items():
        assert words in said[verb]
    for file in tutorial.leaves.split():
        assert (folder / file).stat().st_size > 0


def missing_tools() -> list[str]:
    """`make` builds firmware for an emulated processor."""
    tools = ("make", "arm-none-eabi-gcc", "qemu-system-arm")
    return [] if all(map(shutil.which, tools)) else ["make"]


@pytest.mark.parametrize("name", [name for name in TUTORIALS if name not in ("microcontroller", "your_own_neuron")])
def test_every_step_of_a_tutorial_works(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walk(name, tmp_path, monkeypatch, quickly=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", TUTORIALS)
def test_every_step_of_a_tutorial_works_as_written(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walk(name, tmp_path, monkeypatch, quickly=False)


def test_every_tutorial_is_followed() -> None:
    assert {path.stem for path in ROOM.glob("*.md")} - {"index"} == {*TUTORIALS, *FROM_OTHERS}
