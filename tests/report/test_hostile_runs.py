"""Whatever the files of a run folder hold, a report is drawn, or there is an `InputError` of one printable line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

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
    '{"x": "' + "y" * 10_000,
]


@pytest.fixture
def one(make_run: Callable[..., Path]) -> Path:
    """A finished run."""
    return make_run()


def drawn(folder: Path) -> bool:
    try:
        with within(60):
            report([folder], out=folder / "page.html")
    except InputError as error:
        one_printable_line(error)
        return False
    return True


def is_read(folder: Path) -> bool:
    try:
        with within(60):
            read_run(folder)
    except InputError as error:
        one_printable_line(error)
        return False
    return True


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_any_text_is_read_or_refused(name: str, one: Path) -> None:
    for text in TEXTS:
        (one / name).write_text(text)
        if is_read(one):
            assert name == "recipe.yaml" or drawn(one)


def test_a_summary_with_deep_values_is_refused(one: Path) -> None:
    summary = (one / "summary.json").read_text().strip()
    for opened, closed in (("[", "]"), ('{"a":', "}")):
        for depth in (100, 900, 5000):
            (one / "summary.json").write_text(f'{summary[:-1]},"recipe":{opened * depth}1{closed * depth}}}')
            assert not is_read(one)


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_text_file_is_refused_soon(name: str, make_run: Callable[..., Path]) -> None:
    for make in NO_FILES.values():
        one = make_run(make.__name__)
        (one / name).unlink(missing_ok=True)
        make(one / name)
        assert not drawn(one) or (name, make.__name__) in {
            # no events yet; bytes that say nothing; a link to nothing, of a file that may be left out
            *(("metrics.jsonl", "as_nothing"), ("recipe.yaml", "as_nothing")),
            *(("confusion.json", "as_loop"), ("early.json", "as_loop"), ("coherence.json", "as_loop")),
        }


def test_a_summary_with_any_value_is_read_or_refused(one: Path) -> None:
    summary = json.loads((one / "summary.json").read_text())
    values = [value for value in VALUES if not isinstance(value, bytes | set | complex)]
    for key in ("name", "accuracy", "accuracy_per_step", "layers", "neurons", "sops", "recipe", "hardware"):
        for value in values:
            (one / "summary.json").write_text(json.dumps(summary | {key: value}))
            is_read(one)


def test_a_network_whose_name_is_no_single_folder_is_refused(one: Path) -> None:
    summary = json.loads((one / "summary.json").read_text())
    demo = one.parent / "demo"
    demo.mkdir()
    for name in NAMES.values():
        (demo / "summary.json").write_text(json.dumps({"networks": [summary | {"name": name}]}))
        assert not is_read(demo), name
