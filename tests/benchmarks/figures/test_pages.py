"""The figures and tables of the documentation are those of its records."""

import doctest
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import figures.plots
import figures.prose
import figures.tables  # noqa: F401
from cases import naming
from figures import markdown, pages, records
from figures.drawing import digest_of, drawn
from figures.pages import ROOT, MacroError
from figures.registry import FIGURES, PLOTS, TABLES
from figures.tables import digits, losses, protocol
from figures.tables.unseen import left_out

PAGES = {page.relative_to(ROOT).as_posix(): page.read_text("utf-8") for page in pages.pages()}
RESULTS = "docs/benchmarks/"
COUNTED = "| network | quantity | published | ours |"
"""The head of a table of counts, which tests/report/accounting/test_operations.py compares."""


SPIKING, TWIN = "runtime/engines", "runtime/engines/twin: onnxruntime_int8"
SAID = (
    "| {memory_curve/peak_bytes/random step/1000 /1e6:.0f} MB",
    "| {memory_curve/peak_bytes/SpikingJelly, STBP/1000 /1e6:,.0f} MB: SpikingJelly, STBP",
    "| {cut/fashion_mnist/hdlif} ± {cut/fashion_mnist/hdlif/error} points",
    "| {cut/fashion_mnist/lif} ± {cut/fashion_mnist/lif/error} points: LIF",
    f"| {{{SPIKING}/hdlif/file_bytes /1e6:.1f}} MB",
    f"| {{{SPIKING}/twin: openvino_int8/file_bytes /1e6:.1f}} MB: the ordinary network",
    f"| {{{SPIKING}/hdlif, early/latency_ms/median :.1f}} ms, {{{SPIKING}/hdlif, early/accuracy *100:.1f}} % right",
    f"| {{{TWIN}/latency_ms/median :.1f}} ms, {{{TWIN}/accuracy *100:.1f}} % right: the ordinary network",
    "takes {energy/hdlif_ternary} µJ with HD-LIF (1.5-bit weights and 4-bit spikes), {energy/lif_ternary} µJ with LIF "
    "(1.5-bit weights) and {energy/lif_float} µJ with float32 LIF.",
)
"""Phrases of the README, with figures as pages of docs/ name them."""


@pytest.mark.parametrize("page", PAGES)
def test_macros_name_what_is_there_and_results_have_no_table_by_hand(page: str) -> None:
    pages.rendered(PAGES[page])
    if page.startswith(RESULTS):
        by_hand = re.findall(r"^\|[^\n]*", PAGES[page].replace("\n|", "|"), re.MULTILINE)
        assert [one for one in by_hand if not one.startswith(COUNTED)] == []


def test_readme_says_what_the_records_say() -> None:
    text = " ".join((ROOT / "README.md").read_text("utf-8").split())
    for phrase in SAID:
        said = re.sub(r"\{(.*?)\}", lambda found: pages.figure(found[1]), phrase)
        assert said in text, said


@pytest.mark.parametrize("name", PLOTS)
def test_plot_is_of_its_record(name: str) -> None:
    image = ROOT / "docs" / "images" / f"{name}.svg"
    assert digest_of(image.read_text("utf-8")) == PLOTS[name]().digest, "run `make figures`"


def test_every_table_figure_and_plot_stands_in_a_page() -> None:
    named = {macro for text in PAGES.values() for macro in pages.macros(text)}
    assert {name for kind, name in named if kind == "table"} == set(TABLES)
    assert [name for name in TABLES if "\n| --- |" not in pages.table(name)] == []
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [name for name in FIGURES if ("fig", name) not in named and f"{{{name}}}" not in str(SAID)] == []
    every = readme + "".join(PAGES.values())
    assert [name for name in PLOTS if f"images/{name}.svg" not in every] == []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    records.record.cache_clear()
    yield tmp_path
    records.record.cache_clear()


def test_macro_gives_what_the_record_has_and_one_that_names_nothing_is_refused(folder: Path) -> None:
    (folder / "speed.json").write_text(json.dumps({"engines": [{"an image": 0.0123}], "share": 0.5}))
    text = 'It takes **{{ fig("speed/engines/0/an image *1000:.1f") }} ms**, {{ fig("speed/share *100:.0f") }} %.'
    assert pages.rendered(text) == "It takes **12.3 ms**, 50 %."
    for wrong in ('fig("nothing/share :.1f")', 'fig("speed/other :.1f")', 'fig("speed")', 'table("nothing")'):
        with naming(wrong), pytest.raises(MacroError):
            pages.rendered(f"{{{{ {wrong} }}}}")


def test_plot_has_the_same_bytes_each_time_and_follows_the_readers_colours() -> None:
    plot = PLOTS["memory"]()
    svg = drawn(plot)
    assert svg == drawn(plot)
    assert digest_of(svg) == plot.digest
    assert "prefers-color-scheme:dark" in svg
    assert not re.search("#0404|#010101", svg)


def test_examples_of_forms_hold() -> None:
    for module in (markdown, losses, protocol):
        found = doctest.testmod(module)
        assert found.attempted > 0 == found.failed, module


def cell(*accuracies: float, **more: Any) -> dict[str, Any]:
    mean = sum(accuracies) / len(accuracies)
    std = None if len(accuracies) == 1 else (sum((a - mean) ** 2 for a in accuracies) / (len(accuracies) - 1)) ** 0.5
    kept = {"n": len(accuracies), "accuracies": list(accuracies), "accuracy": mean, "std": std, "sops": 2e6}
    return kept | {"train_seconds": 12.3, "peak_bytes": 30_000_000, "parameters": 17_922} | more


def table(**rows: dict[str, Any]) -> dict[str, Any]:
    return {"rows": rows, "undefined": {"LIF": ["random step, 1.5-bit, 4-bit spikes"]}}


def rows_of(text: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in text.splitlines() if not line.startswith("| -")]


def test_means_are_over_rules_and_over_neurons() -> None:
    low = "random step, 1.5-bit, 4-bit spikes"
    of = {rule: cell(0.8, 0.9) for rule in digits.RULES}
    record = table(LIF=of, graded={**of, "STBP": cell(1.0, 1.0), low: cell(0.1, 0.1)})
    _, lif, graded, mean = rows_of(digits.every(record))
    assert (lif[0], lif[-2:]) == ("LIF", ["—", "85.0 ± 1.7"])
    assert graded[-1] == "88.0 ± 2.5"
    assert mean[:3] == ["mean", "92.5 ± 4.8", "85.0 ± 2.9"]


def test_losses_show_the_cost_of_the_cut_and_the_gain_of_each_change_over_pairs_of_a_seed() -> None:
    def of(*accuracies: float) -> dict[str, Any]:
        return cell(*accuracies) | {"runs": [{"seed": seed, "accuracy": a} for seed, a in enumerate(accuracies)]}

    columns = [f"{rule}, {loss}" for loss in ("mean output", "each step") for rule in ("STBP", "SLTT")]
    first, second = [of(0.9, 0.8), of(0.8, 0.5), of(0.6, 0.6), of(0.7, 0.7)], [of(0.9, 0.9)] * 4
    rows = {"LIF": first, "HD-LIF": second}
    record = table(**{neuron: dict(zip(columns, cells, strict=True)) for neuron, cells in rows.items()})
    assert rows_of(losses.losses(record))[1][3::3] == ["20.0 ± 10.0", "-10.0 ± 0.0"]
    assert rows_of(losses.changes(record))[1:] == [
        ["all: HD-LIF over LIF", "5.0 ± 5.0", "25.0 ± 15.0", "30.0 ± 0.0", "20.0 ± 0.0"]
    ]


def test_hypotheses_are_decided_by_seeds_that_all_their_arms_have(folder: Path) -> None:
    (folder / "experiments").mkdir()
    arms = {
        "cifar10_hdlif": (0.900, 0.801, 0.702),
        "cifar10_lif": (0.800, 0.700, 0.600),
        "cifar10_hdlif_stbp": (0.91, 0.811),
    }
    for arm, accuracies in arms.items():
        for seed, accuracy in enumerate(accuracies, 42):
            (folder / f"experiments/{arm}_{seed}.json").write_text(json.dumps({"accuracy": accuracy}))
    found = rows_of(pages.table("cifar10_hypotheses"))
    assert found[3][1:] == ["3", "+10.1", "+9.9 to +10.3", "+9.4 to +10.8", "confirmed"]
    assert found[2][1:] == ["2", "+1.0", "—", "—", "untested"]
    assert found[1][1:] == ["0", "—", "—", "—", "untested"]


def test_series_by_protocol_are_averaged_over_seeds_and_over_speakers(folder: Path) -> None:
    (folder / "experiments").mkdir()
    found = {"hapt_gru_stbp_42": 0.9, "hapt_gru_stbp_43": 0.8, "spoken_digits_gru_stbp_theo_42": 0.7}
    for number, (name, accuracy) in enumerate(found.items()):
        kept = {"accuracy": accuracy, "parameters": 13_776, "train_seconds": 69.0 - number}
        (folder / f"experiments/series_{name}.json").write_text(json.dumps(kept))
    expected = [["GRU, int8 weights", "STBP", "85.0 ± 7.1", "13,776", "68", "70.0", "13,776", "67"]]
    assert rows_of(pages.table("series_by_protocol"))[1:] == expected


def test_the_best_online_rule_is_chosen_by_validation_and_compared_in_pairs(folder: Path) -> None:
    (folder / "experiments").mkdir()
    scores = {  # by network and rule: accuracy on validation, and on test with three seeds
        "gru_stbp": (0.9, (0.80, 0.82, 0.84)),
        "hdlif_sltt": (0.8, (0.79, 0.80, 0.84)),
        "hdlif_step": (0.7, (0.99, 0.99, 0.99)),
        "hdlif_stbp": (0.85, (0.99, 0.99, 0.99)),
    }
    for name, (validation, accuracies) in scores.items():
        for seed, accuracy in enumerate(accuracies, 42):
            kept = {"accuracy": accuracy, "validation_accuracy": validation}
            (folder / f"experiments/series_hapt_{name}_{seed}.json").write_text(json.dumps(kept))
    expected = ["HAPT", "GRU, int8 weights, STBP", "HD-LIF, SLTT", "+1.0", "-1.5 to +3.5", "undecided"]
    assert rows_of(pages.table("series_hypothesis"))[1:] == [expected]


def test_trainings_on_one_data_set_were_tested_on_equally_many_samples() -> None:
    """A wrongly unpacked data set is split at random, without an error."""
    for data, samples in (("cifar10", 10_000), ("series_hapt", 3_542), ("series_spoken_digits", 500)):
        found = [name for name in records.names() if name.startswith(f"experiments/{data}_")]
        assert [name for name in found if records.record(name)["test_samples"] != samples] == []


def test_a_set_that_is_left_out_has_no_say_in_the_setting_it_is_measured_with() -> None:
    accuracies = {"a": {"x": 1.0, "y": 0.5, "z": 0.6}, "b": {"x": 0.0, "y": 0.6, "z": 0.7}}
    # Of y and z alone b is the better one, though a is on average.
    assert left_out(accuracies) == {"x": "b", "y": "a", "z": "a"}
