"""The page: complete, self-contained, the same for the same numbers."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import pytest

from hdlif.ops import SampleName
from hdlif.report.page import render
from hdlif.report.summary import RESULT, Neuron, TrainResult
from hdlif.report.traces import NeuronTrace, Traces

VOID = {"meta"}


class Outline(HTMLParser):
    """Elements with their attributes, the text between them, and tags that do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def page(networks, histories, artefact) -> str:
    return rendered(json.dumps([[network.as_dict() for network in networks], histories, artefact]))


@cache
def rendered(numbers: str) -> str:
    summaries, histories, artefact = json.loads(numbers)
    networks = [RESULT.validate_python(summary) for summary in summaries]
    return render(
        networks,
        histories,
        artefact,
        title="3 networks on digits",
        recipes={"lif": "seed: 42\n"},
        commands=["hdlif demo --out runs/demo"],
        confusions={"lif": {"labels": ["cat", "dog"], "counts": [[3, 1], [0, 4]]}},
        traces=Traces(
            "test image 0", {"hdlif": {"act1:7": NeuronTrace([0.75, 0.25], [0.5, 0.5], [0.25, 0.0], "channel 7")}}
        ),
    )


def test_page_shows_every_network_and_figure(page):
    outline = Outline(page)
    text = "".join(outline.text)
    for name in ("lif", "hdlif", "hdlif_w1p5_s4"):
        assert f'<th scope="row">{name}</th>' in page
    for heading in (
        "Results",
        "Learning curves",
        "Accuracy over time",
        "Accuracy by class",
        "Activity by layer",
        "Leak and threshold by time step",
        "Neurons at work",
        "Confusion",
        "Deployed file",
        "Provenance",
    ):
        assert f">{heading}</h2>" in page
    assert [int(n) for n in re.findall(r"Figure (\d+)\.", text)] == list(range(1, 11))
    assert [int(n) for n in re.findall(r"Table (\d+)\.", text)] == [1, 2, 3]
    titles = [a["id"] for a in outline.all("title") if "id" in a]
    for chart in (
        "validation-accuracy",
        "training-loss",
        "accuracy-per-step",
        "firing-rate",
        "sops",
        "accuracy-by-class",
        "raster",
    ):
        assert f"{chart}-title" in titles
    # One panel per neuron layer; the second, a parallel one, has no leak.
    assert [t for t in titles if t.startswith("leak-")] == ["leak-0-title"]
    assert [t for t in titles if t.startswith("threshold-")] == ["threshold-0-title", "threshold-1-title"]


def test_table_prints_every_figure_in_its_unit(page):
    expected = {
        "accuracy, %": "97.22",
        "parameters as published, MB": "0.3200",
        "parameters as stored, MB": "0.0162",
        "SOPs, M": "0.812",
        "NOPs, M": "0.0983",
        "energy by the paper's count, µJ": "0.0730",
        "energy by the honest count, µJ": "0.410",
        "training, s": "41.2",
        "peak memory, MB": "61.0",
        "saved for backward, MB": "9.10",
    }
    printed = set(re.findall(r"<td>(?:<strong>)?([^<]+)(?:</strong>)?</td>", page))
    assert {name for name, figure in expected.items() if figure not in printed} == set()


def test_best_cell_is_emphasised_and_unmeasured_one_is_a_dash(page):
    row = next(line for line in page.splitlines() if '<th scope="row">hdlif_w1p5_s4 <span' in line)
    assert "<td>96.67</td>" in row
    assert "<td><strong>0.0162</strong></td>" in row
    assert row.endswith("<td>—</td></tr>")


def test_numbers_behind_the_figures_are_there(page):
    assert "<td>90.00</td><td>95.00</td>" in page
    assert "<td>0.500, 0.625</td>" in page
    assert '<th scope="row">stage1.0.conv1</th><td>123</td>' in page
    assert '<th scope="row">stage1.0.act1</th><td>0.250</td>' in page


def test_no_heading_reads_as_memory_economised(page):
    assert '<th scope="col">kept, MB</th>' in page
    assert "saved, MB" not in page


def test_artefact_and_provenance_are_there(page):
    for text in ("23,144 bytes", "99.90 %", "3.1 × 10⁻⁵", "0.412 ms", "digits_hdlif_w1p5_s4", "2.9.1", "avx2, avx512f"):
        assert text in page
    assert "hdlif demo --out runs/demo" in page
    assert "seed: 42" in page
    # What all networks share stands once.
    assert page.count("a processor") == 1


def test_fields_that_differ_between_recipes_stand_beside_each_other(networks, histories):
    one = replace(networks[0], recipe={"name": "a", "seed": 1, "neuron": {"kind": "lif", "leak": 0.5}})
    two = replace(networks[1], recipe={"name": "b", "seed": 1, "neuron": {"kind": "hdlif"}})
    page = render([one, two], histories)
    section = page[page.index('id="differences"') : page.index('id="s1"')]
    rows = re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td>', section)
    assert rows == [("neuron.kind", "lif", "hdlif"), ("neuron.leak", "0.5", "—")]
    assert 'id="differences"' not in render([one, replace(networks[1], recipe=one.recipe)], histories)


def test_confusion_is_shaded_by_the_share_of_the_row(page):
    assert '<tr><th scope="row">cat</th><td style="--share:0.750">3</td><td style="--share:0.250">1</td></tr>' in page


def test_same_numbers_give_same_bytes(networks, histories, artefact):
    assert render(networks, histories, artefact) == render(networks, histories, artefact)


def test_page_refers_to_nothing_outside(page):
    outline = Outline(page)
    assert not [tag for tag, _ in outline.elements if tag in {"link", "img", "iframe", "object", "base"}]
    assert outline.all("script") == [{}]
    for tag, attributes in outline.elements:
        for key in ("src", "href", "xlink:href", "srcset", "action", "data"):
            assert attributes.get(key, "#").startswith("#"), (tag, attributes)
        assert not any(key.startswith("on") for key in attributes)
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?([^)]*)", page))
    assert "@import" not in page
    assert "http:" not in page
    assert "https:" not in page


def test_the_one_script_is_that_whose_hash_the_page_allows(page):
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_every_figure_and_table_is_explained(page):
    whole = page.partition("<main>")[2]
    for block in whole.split("<figure")[1:]:
        figure, _, behind = block.partition("</figure>")
        # Matrices are explained together, below the last of them.
        behind = whole.partition('id="confusion"')[2] if "confusion-" in figure else figure
        assert 'class="explained"' in behind
    # Table 1, the matrices, the deployed file, provenance, and ten figures.
    assert whole.count('class="explained"') == 14
    assert "Read more in the folder docs of the project: <cite>Spiking neurons" in page


def test_texts_hold_for_graded_spikes_shifted_axes_and_indices(page):
    assert "times the value of the spike where spikes are graded" in page
    assert "one scale in all panels" not in page
    assert "each axis begins where its own values are" in page
    assert "The index counts the neurons of a layer from 0: channel by channel, and in each row by row; " in page


def test_ids_are_unique_and_every_reference_is_met(page):
    outline = Outline(page)
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert outline.open == []
    references = re.findall(r"url\(#([^)]+)\)", page)
    for _, attributes in outline.elements:
        references += (attributes.get("aria-labelledby") or "").split()
        references += [attributes["href"][1:]] if "href" in attributes else []
    assert len(references) > 20
    assert set(references) <= set(ids)


def test_page_is_accessible(page):
    outline = Outline(page)
    assert outline.all("html") == [{"lang": "en"}]
    assert all("scope" in attributes for attributes in outline.all("th"))
    assert all(svg["role"] == "img" and svg["aria-labelledby"] for svg in outline.all("svg"))
    assert len(outline.all("desc")) == len(outline.all("svg"))
    assert len(outline.all("figure")) == len(outline.all("figcaption"))


def test_chart_colours_are_variables_of_the_style_sheet(page):
    style = page[page.index("<style>") : page.index("</style>")]
    light, dark = style.split("prefers-color-scheme: dark", 1)
    for variable in set(re.findall(r"var\((--(?:ink|rule|series-\d))\)", page)):
        assert f"{variable}:" in light
        assert f"{variable}:" in dark
    assert not re.findall(r'style="[^"]*#[0-9a-f]{6}', page)


def test_names_are_escaped(networks, histories):
    hostile = '<script>alert("1")</script> & $x_1$'
    layer = '<b onload="x">'
    neuron = Neuron(name=layer, leak=(0.5,), threshold=(0.5,))
    shown = replace(networks[0], name=hostile, neurons=(neuron,), hardware={"<i>": "</td>"})
    page = render([shown, networks[1]], {hostile: histories["lif"]}, title=hostile, commands=[hostile])
    assert page.count("<script") == 1
    assert "<b onload" not in page
    assert "<i>" not in page
    assert "&lt;script&gt;" in page
    # A dollar sign is no formula.
    assert "$x_1$" in page
    assert Outline(page).open == []


def test_bare_summary_without_history_still_makes_a_page():
    page = render([TrainResult(name="bare", accuracy=0.5, accuracy_per_step=())], {})
    assert "bare classifies 50.00 % of the test samples correctly (one run)." in page
    assert "<figure>" not in page
    assert page.count("<td>—</td>") >= 9


def test_what_a_practitioner_looks_for_comes_first(page):
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", page)
    assert headings == [
        "Results",
        "Confusion",
        "Accuracy by class",
        "Accuracy over time",
        "Learning curves",
        "Activity by layer",
        "Leak and threshold by time step",
        "Neurons at work",
        "Deployed file",
        "Provenance",
    ]


def test_a_curve_says_what_answering_early_costs(networks, page):
    assert "Answering early" not in page
    early = {"time_steps": 4, "confidence": [0.0, 0.9, 1.0], "steps": [1, 2.5, 4], "accuracy": [0.5, 0.74, 0.75]}
    name = networks[0].name
    section = render(networks[:1], {}, early={name: early}).partition("Answering early")[2].partition("</section>")[0]
    assert section.count('class="chart"') == 1
    assert f'<th scope="row">{name}</th><td>0.9</td><td>2.50 of 4</td><td>74.00</td>' in section


def test_the_word_for_a_sample_stands_wherever_one_is_told_of(networks, histories, artefact):
    confusions = {"lif": {"labels": ["a", "b"], "counts": [[3, 1], [0, 4]]}}
    page = render(networks, histories, artefact, confusions=confusions, samples=SampleName("window", "windows"))
    assert "image" not in page.split("</style>")[1]
    for said in (
        "test windows by true class",
        "SOPs per window",
        "Operations are per window",
        "Accuracy on the test windows",
        "Latency per window",
    ):
        assert said in page


def test_a_run_has_its_own_name_and_that_of_its_recipe(networks, histories):
    page = render([replace(networks[0], name="photos")], {"photos": histories["lif"]})
    assert "<h1>photos (digits_lif)</h1>" in page
    assert '<th scope="row">photos <span class="recipe">(digits_lif)</span></th>' in page
    assert "<h1>digits_lif</h1>" in render([replace(networks[0], name="digits_lif")], {})


VALUES = TrainResult(name="wear", accuracy=None, accuracy_per_step=(), metric="rmse", metrics={"rmse": 0.5})


def test_one_point_in_time_is_no_figure(networks):
    assert ">Over time</h2>" in render([replace(VALUES, per_step=(0.75, 0.5))], {})
    assert ">Over time</h2>" not in render([replace(VALUES, per_step=(0.5,))], {})
    assert ">Accuracy over time</h2>" not in render([replace(networks[0], accuracy_per_step=(0.5,))], {})


def ticks(page: str, chart: str) -> set[str]:
    """What stands at the ticks of a chart of the page, and its other texts."""
    svg = page[page.index(f'<title id="{chart}-title"') :].split("</svg>")[0]
    return set(re.findall(r"<text[^>]*>([^<]*)</text>", svg))


def test_no_axis_of_shares_goes_beyond_what_they_can_be(networks):
    events = [
        {"event": "validation", "epoch": e, "step": e, "loss": 1.0, "accuracy": 1.0, "metrics": {"f1": 1.0}}
        for e in (1, 2)
    ]
    page = render([replace(networks[0], accuracy_per_step=(0.2, 1.0))], {"lif": events})
    for chart in ("accuracy-per-step", "validation-accuracy"):
        assert "100" in ticks(page, chart)
        assert not {"105", "102", "104", "120"} & ticks(page, chart)
    labelled = replace(VALUES, metric="f1", metrics={"f1": 1.0}, per_step=(0.1, 1.0))
    page = render([labelled], {"wear": events})
    for chart in ("per-step", "validation-f1"):
        assert not {"1.02", "1.04", "1.2"} & ticks(page, chart)


def test_the_epoch_that_was_kept_has_a_ring(networks, histories):
    kept, other = (render([replace(networks[0], best_epoch=epoch)], histories) for epoch in (1, 99))
    said = "once per epoch. A ring marks the epoch whose network was kept."
    assert said in kept
    assert said not in other

    def chart(page: str) -> str:
        return page.partition('<title id="validation-accuracy-title"')[2].partition("</svg>")[0]

    # One mark more, beside the line's own, which is a line round nothing.
    rings = re.findall(r'<use [^>]*style="fill-opacity: 0[^"]*"', chart(kept))
    assert len(rings) == 1
    assert "stroke: var(--" in rings[0]
    assert "fill-opacity: 0" not in chart(other)


def test_null_and_infinite_losses_do_not_stop_the_page(networks, histories):
    events = histories["lif"]
    events[0]["loss"] = None
    events[1]["loss"] = float("inf")
    assert "training-loss-title" in render(networks, histories)


def test_long_history_is_averaged_and_says_so(networks):
    events = [{"event": "train", "epoch": 0, "step": i, "loss": 1.0, "accuracy": 0.5} for i in range(1000)]
    page = render(networks[:1], {"lif": events})
    assert "Each point is the mean of 5 readings in a row." in page


def test_nothing_that_a_page_shows_is_markup_or_turns_its_text_round(networks, histories, artefact):
    hostile = "<script>alert(1)</script>\x1b[2J\x00\u202e\ud800&\"'"
    page = render(
        networks,
        histories,
        artefact,
        title=hostile,
        recipes={"lif": f"seed: 42 # {hostile}\nname: lif\n"},
        commands=[hostile],
        confusions={"lif": {"labels": [hostile.replace("\x00", ""), "dog"], "counts": [[3, 1], [0, 4]]}},
    )
    assert page.count("<script") == 1
    assert page.count("&lt;script&gt;") >= 3
    assert all(line.isprintable() for line in page.split("\n"))
    assert page.encode()
    assert "# &lt;script&gt;alert(1)&lt;/script&gt;\\x1b[2J\\x00\\u202e\\ud800&amp;" in page
    Outline(page)
