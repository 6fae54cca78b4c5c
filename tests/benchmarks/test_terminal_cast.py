"""The picture of a terminal: what was written is in it, in both colours, and it loads nothing."""

import re
from pathlib import Path
from xml.etree import ElementTree

from cli.test_examples import parse, words_of
from terminal_cast import COMMANDS, Ran, drawn

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "terminal.svg"
NAMES = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{NAMES}text")]


def test_what_was_written_is_drawn_and_nothing_is_loaded() -> None:
    svg = drawn([Ran("one < two", "hdlif a", ("x & y", "z"), 1.0), Ran("three", "hdlif b", ("w",), 9.0)])
    assert texts(svg) == ["# one < two", "$", "hdlif a", "x & y", "z", "# three", "$", "hdlif b", "w"]
    # The name of the format is the one address in it.
    assert re.findall(r"https?://[^\"]+", svg) == ["http://www.w3.org/2000/svg"]


def test_the_commands_are_understood_and_drawn() -> None:
    for _, command in COMMANDS:
        for words in words_of(command):
            parse(words)
        assert command in texts(PICTURE.read_text("utf-8"))
