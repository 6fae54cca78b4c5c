"""The section on gradient coherence."""

import json
import re
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
    return {
        "target": "digits_hdlif",
        "neuron": neuron,
        "loss": "mean_logits",
        "trained": False,
        "rules": rules,
    } | changed


def write(folder, *entries: dict[str, Any]) -> None:
    (folder / "coherence.json").write_text(json.dumps({"networks": entries}))


def test_rules_that_are_alike_share_a_series() -> None:
    drawn = section([entry("hdlif"), entry("lif", rules={"sltt": rule(0.8), "ottt": rule(0.7)})])
    assert drawn.names == [
        "digits_hdlif hdlif (untrained), sltt and stochastic_step",
        "digits_hdlif lif (untrained), sltt",
        "digits_hdlif lif (untrained), ottt",
    ]


def test_figures_show_shares_distances_and_steps() -> None:
    drawn = section([entry("lif", rules={"sltt": rule(0.75, wrong=0.125)})])
    rows = {figure.headings[0]: figure.rows for figure in drawn.figures}
    assert float(rows["layer (share of entries wrong)"][0][1]) == 0.125
    assert float(rows["layer (share of entries dropped)"][0][1]) == 0.25
    assert float(rows["layer (share of spikes not zero)"][0][1]) == 0.5
    assert float(rows["layer (1 − cosine)"][0][1]) == 0.25
    # a step without a gradient is a gap
    assert drawn.figures[-1].rows == [["act1", drawn.names[0], "0.250, —"]]


def test_the_section_has_a_legend_of_its_own(networks) -> None:
    page = render(Run(networks[:1], coherence=[entry("hdlif"), entry("lif", 0.8)]))
    assert ">Gradient coherence</h2>" in page
    for name in ("hdlif", "lif"):
        assert f"<span>digits_hdlif {name} (untrained), sltt and stochastic_step</span>" in page
    assert page.count('aria-label="Networks"') == 1
    charts = ("firing-rate", "dropped", "wrong", "local", "end-to-end", "step-0")
    assert re.findall(r'<title id="coherence-([\w-]+)-title"', page) == [*charts]
    assert "Gradient coherence" not in render(Run(networks[:1]))


def test_entries_of_a_demo_its_networks_and_several_runs_come_together(demo, make_run) -> None:
    write(demo, entry("hdlif"))
    write(demo / "lif", entry("lif"))
    other = make_run("other")
    write(other, entry("parallel_hdlif"))
    run = merge([read_run(demo), read_run(other)])
    assert [one["neuron"] for one in run.coherence] == ["hdlif", "lif", "parallel_hdlif"]


def test_a_damaged_file_is_named(make_run) -> None:
    folder = make_run("lif")
    for text, place in (
        ("{", "is not JSON"),
        ('{"networks": [{"target": "x"}]}', r"networks\.0\.neuron"),
        ('{"networks": [{"target": "x", "neuron": "lif", "loss": "a", "rules": {"sltt": {}}}]}', "local"),
    ):
        (folder / "coherence.json").write_text(text)
        with pytest.raises(InputError, match=rf"coherence\.json.*{place}"):
            read_run(folder)
