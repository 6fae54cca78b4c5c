"""Every tutorial can be followed from its first to its last line, and shows what is printed."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from pages import followed, page, steps

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


@pytest.mark.parametrize("name", TUTORIALS)
def test_every_step_of_a_tutorial_works(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walk(name, tmp_path, monkeypatch, quickly=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", TUTORIALS)
def test_every_step_of_a_tutorial_works_as_written(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walk(name, tmp_path, monkeypatch, quickly=False)


def test_every_tutorial_is_followed() -> None:
    pages = {path.stem for path in ROOM.glob("*.md")} - {"index"}
    assert pages - {"your_own_sensor_data"} == {*TUTORIALS, *FROM_OTHERS}


@pytest.mark.parametrize("name", TUTORIALS)
def test_a_tutorial_begins_with_its_end_and_shows_what_its_commands_print(name: str) -> None:
    text = page(f"tutorials/{name}")
    assert "**At the end you have**" in text[:400]
    assert "**It takes**" in text[:600]
    assert "## What next" in text
    kinds = [step.kind for step in steps(text)]
    commands = [place for place, kind in enumerate(kinds) if kind == "command"]
    shown = [place for place in commands if kinds[place + 1 : place + 2] == ["output"]]
    assert len(shown) >= len(commands) - 1
