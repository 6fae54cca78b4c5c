"""Whatever the files of a run folder hold, a report is drawn, or there is an `InputError` of one printable line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_any_text_is_read_or_refused(name: str, one: Path) -> None:
    for text in TEXTS:
        (one / name).write_text(text)
        try:
            with within(60):
                read_run(one)
        except InputError as error:
            one_printable_line(error)
        else:
            assert name == "recipe.yaml" or drawn(one)


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")])
def test_a_summary_with_deep_values_is_refused(opened: str, closed: str, one: Path) -> None:
    summary = (one / "summary.json").read_text().strip()
    for depth in (100, 900, 5000):
        (one / "summary.json").write_text(f'{summary[:-1]},"recipe":{opened * depth}1{closed * depth}}}')
        assert not drawn(one)


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_text_file_is_refused_soon(name: str, make: Any, one: Path) -> None:
    (one / name).unlink(missing_ok=True)
    make(one / name)
    assert not drawn(one) or (name, make.__name__) in {
        # no events yet; bytes that say nothing; a link to nothing, of a file that may be left out
        *(("metrics.jsonl", "as_nothing"), ("recipe.yaml", "as_nothing")),
        *(("confusion.json", "as_loop"), ("early.json", "as_loop"), ("coherence.json", "as_loop")),
    }


@pytest.mark.parametrize(
    "key", ["name", "accuracy", "accuracy_per_step", "layers", "neurons", "sops", "recipe", "hardware"]
)
def test_a_summary_with_any_value_is_read_or_refused(key: str, one: Path) -> None:
    summary = json.loads((one / "summary.json").read_text())
    for value in [value for value in VALUES if not isinstance(value, bytes | set | complex)]:
        (one / "summary.json").write_text(json.dumps(summary | {key: value}))
        try:
            read_run(one)
        except InputError as error:
            one_printable_line(error)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_network_whose_name_is_no_single_folder_is_refused(name: str, one: Path) -> None:
    summary = json.loads((one / "summary.json").read_text())
    demo = one.parent / "demo"
    demo.mkdir()
    (demo / "summary.json").write_text(json.dumps({"networks": [summary | {"name": name}]}))
    with pytest.raises(InputError) as refused:
        read_run(demo)
    one_printable_line(refused.value)
