"""The picture of a terminal: what was written is in it, in both colours, and it loads nothing."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import terminal_cast
from cli.test_examples import parse, words_of
from terminal_cast import COLUMNS, COMMANDS, MOST_LINES, Ran, drawn, fitted, run

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "terminal.svg"
NAMES = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{NAMES}text")]


def test_all_that_was_written_is_drawn_in_its_order() -> None:
    svg = drawn([Ran("one < two", "hdlif a", ("x & y", "z"), 1.0), Ran("three", "hdlif b", ("w",), 9.0)])
    assert texts(svg) == ["# one < two", "$", "hdlif a", "x & y", "z", "# three", "$", "hdlif b", "w"]
    assert "prefers-color-scheme: dark" in svg
    assert "prefers-reduced-motion" in svg
    # The name of the format is the one address in it.
    assert re.findall(r"https?://[^\"]+", svg) == ["http://www.w3.org/2000/svg"]


def test_a_row_appears_after_the_one_before_it() -> None:
    svg = drawn([Ran("r", "hdlif a", ("x",), 1.0), Ran("s", "hdlif b", ("y",), 1.0)])
    begins = {name: float(at) for name, at in re.findall(r"@keyframes k(\d+) .*?; \} ([\d.]+)% \{", svg)}
    times = [begins[name] for name in sorted(begins, key=int)]
    assert len(times) == 6
    assert times == sorted(times)
    assert times[-1] < 100


def test_a_long_line_is_cut_and_of_many_lines_the_first_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fitted("x" * 500) == "x" * (COLUMNS - 1) + "…"
    ran = run("r", "seq 9", tmp_path)
    assert ran.lines == (*map(str, range(1, MOST_LINES)), "…")
    assert ran.seconds > 0
    monkeypatch.setattr(terminal_cast, "MOST_LINES", 9)
    assert len(run("r", "seq 9", tmp_path).lines) == 9


@pytest.mark.parametrize("command", [command for _, command in COMMANDS])
def test_the_commands_are_understood_and_drawn(command: str) -> None:
    for words in words_of(command):
        parse(words)
    assert command in texts(PICTURE.read_text("utf-8"))
