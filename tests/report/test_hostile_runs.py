"""Whatever the files of a run folder hold, a report is drawn, or there is an `InputError` of one printable line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cases import naming
from hdlif.cli.report import report
from hdlif.errors import InputError
from hdlif.report.runs import read_run
from hostile import NAMES, NO_FILES, VALUES, one_printable_line, within

FILES = ("summary.json", "metrics.jsonl", "recipe.yaml", "confusion.json", "early.json", "coherence.json")
TEXTS = ["", "{", "null", "3", "[]", "{}", "NaN", '"\\ud800"', "[" * 100_000, '{"a":' * 100_000, "1" * 5000]
TEXTS += [
    '{"name": "\\u001b[31m"}',
    '{"networks": 3}',
    '{"networks": []}',
    '{"networks": [{}]}',
    '{"x": "' + "y" * 9999,
]


@pytest.fixture
def one(make_run: Callable[..., Path]) -> Path:
    """A finished run."""
    return make_run()


def passes(read: Callable[[Path], object], folder: Path) -> bool:
    try:
        with within(60):
            read(folder)
    except InputError as error:
        one_printable_line(error)
        return False
    return True


def draw(folder: Path) -> None:
    report([folder], out=folder / "page.html")


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_any_text_is_read_or_refused(name: str, one: Path) -> None:
    for text in TEXTS:
        (one / name).write_text(text)
        if passes(read_run, one):
            assert name == "recipe.yaml" or passes(draw, one)


def test_a_summary_with_deep_values_is_refused(one: Path) -> None:
    summary = (one / "summary.json").read_text().strip()
    for opened, closed in (("[", "]"), ('{"a":', "}")):
        for depth in (100, 900, 5000):
            (one / "summary.json").write_text(f'{summary[:-1]},"recipe":{opened * depth}1{closed * depth}}}')
            assert not passes(read_run, one)


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_text_file_is_refused_soon(name: str, make_run: Callable[..., Path]) -> None:
    # No events yet, bytes that state nothing, a link to nothing in place of a file that may be missing.
    drawn = {("metrics.jsonl", "nothing"), ("recipe.yaml", "nothing")}
    drawn |= {("confusion.json", "loop"), ("early.json", "loop"), ("coherence.json", "loop")}
    for kind, make in NO_FILES.items():
        one = make_run(kind)
        (one / name).unlink(missing_ok=True)
        make(one / name)
        with naming(kind):
            assert passes(draw, one) == ((name, kind) in drawn)


def test_a_summary_with_any_value_is_read_or_refused(one: Path) -> None:
    summary = json.loads((one / "summary.json").read_text())
    values = [value for value in VALUES if not isinstance(value, bytes | set | complex)]
    for key in ("name", "accuracy", "accuracy_per_step", "layers", "neurons", "sops", "recipe", "hardware"):
        for value in values:
            (one / "summary.json").write_text(json.dumps(summary | {key: value}))
            passes(read_run, one)


def test_a_network_whose_name_is_no_single_folder_is_refused(one: Path) -> None:
    summary = json.loads((one / "summary.json").read_text())
    for name in NAMES.values():
        (one / "summary.json").write_text(json.dumps({"networks": [summary | {"name": name}]}))
        assert not passes(read_run, one), name
