"""The section on gradient coherence."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hdlif.errors import InputError
from hdlif.report.coherence import section
from hdlif.report.page import render
from hdlif.report.runs import Run, merge, read_run


def layer(name: str, kind: str, cosine: float | None, **changed: Any) -> dict[str, Any]:
    figures = {"cosine": cosine, "norm_ratio": cosine, "equal": 0.75, "dropped": 0.25, "wrong": 0.0, "firing_rate": 0.5}
    return figures | {"name": name, "kind": kind, "per_step": [{"cosine": cosine}, {"cosine": None}]} | changed


def rule(cosine: float, **changed: Any) -> dict[str, Any]:
    return {
        "local": {"layers": [layer("act1", "neuron", cosine, **changed), layer("fc", "synapse", None)]},
        "end_to_end": {"layers": [layer("fc", "synapse", cosine)], "cosine": cosine},
    }


def entry(neuron: str, cosine: float = 0.9, **changed: Any) -> dict[str, Any]:
    rules = {"sltt": rule(cosine), "stochastic_step": rule(cosine)}
    of_all = {"target": "digits_hdlif", "loss": "mean_logits", "trained": False}
    return of_all | {"neuron": neuron, "rules": rules} | changed


def test_rules_that_are_alike_share_a_series_in_a_section_with_a_legend_of_its_own(networks) -> None:
    entries = [entry("hdlif"), entry("lif", rules={"sltt": rule(0.8), "ottt": rule(0.7)})]
    names = section(entries).names
    assert [name.removeprefix("digits_hdlif ") for name in names] == [
        "hdlif (untrained), sltt and stochastic_step",
        "lif (untrained), sltt",
        "lif (untrained), ottt",
    ]
    page = render(Run(networks[:1], coherence=entries))
    assert all(f"<span>{name}</span>" in page for name in names)
    charts = re.findall(r'<title id="coherence-([\w-]+)-title"', page)
    assert charts == ["firing-rate", "dropped", "wrong", "local", "end-to-end", "step-0"]
    assert "Gradient coherence" not in render(Run(networks[:1]))


def test_figures_show_shares_distances_and_steps() -> None:
    drawn = section([entry("lif", rules={"sltt": rule(0.75, wrong=0.125)})])
    rows = {figure.headings[0]: figure.rows for figure in drawn.figures}
    values = {"share of entries wrong": 0.125, "share of entries dropped": 0.25}
    for heading, value in (values | {"share of spikes not zero": 0.5, "1 − cosine": 0.25}).items():
        assert float(rows[f"layer ({heading})"][0][1]) == value
    # a step without a gradient is a gap
    assert drawn.figures[-1].rows == [["act1", drawn.names[0], "0.250, —"]]


def test_entries_of_a_demo_its_networks_and_several_runs_come_together(demo: Path, make_run) -> None:
    other = make_run("other")
    for folder, neuron in ((demo, "hdlif"), (demo / "lif", "lif"), (other, "parallel_hdlif")):
        (folder / "coherence.json").write_text(json.dumps({"networks": [entry(neuron)]}))
    run = merge([read_run(demo), read_run(other)])
    assert [one["neuron"] for one in run.coherence] == ["hdlif", "lif", "parallel_hdlif"]


def test_a_damaged_file_is_named(make_run) -> None:
    folder = make_run("lif")
    for text in (
        "{",
        '{"networks": [{"target": "x"}]}',
        '{"networks": [{"target": "x", "neuron": "lif", "loss": "a", "rules": {"sltt": {}}}]}',
    ):
        (folder / "coherence.json").write_text(text)
        with pytest.raises(InputError, match=r"coherence\.json"):
            read_run(folder)
