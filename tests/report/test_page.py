"""The page: complete, self-contained, the same for the same numbers; its findings and explanations."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import hdlif.report
from finished_runs import whole_run
from hdlif.graph.input_record import SampleName
from hdlif.recipe.runs.summary import Neuron, TrainResult
from hdlif.report.comparison import findings, table
from hdlif.report.explanations import EXPLANATIONS, PAGES
from hdlif.report.page import render, training_accuracy
from hdlif.report.runs import Run
from hdlif.report.traces import NeuronTrace, Traces

TRACES = Traces("test image 0", {"hdlif": {"act1:7": NeuronTrace([0.75, 0.25], [0.5, 0.5], [0.25, 0.0], "channel 7")}})
COMMANDS = ["hdlif demo --out runs/demo"]


class Outline(HTMLParser):
    """Elements with their attributes, the text between them, and tags that do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page() -> str:
    return render(whole_run(), commands=COMMANDS, traces=TRACES)


@pytest.fixture(scope="module")
def outline(page: str) -> Outline:
    return Outline(page)


BARE = TrainResult(name="lif", recipe={"name": "digits_lif"}, accuracy=0.5, accuracy_per_step=())
"""A network without figures, which is drawn soon."""
VALUES = TrainResult(name="wear", accuracy=None, accuracy_per_step=(), metric="rmse", metrics={"rmse": 0.5})


def page_of(*networks: TrainResult, **of_run: Any) -> str:
    return render(Run(list(networks), **of_run))


def section(page: str, heading: str) -> str:
    return page.partition(f">{heading}</h2>")[2].partition("</section>")[0]


def test_a_page_shows_every_network_and_figure_what_a_practitioner_looks_for_first(page, outline):
    assert [name for name in ("lif", "hdlif", "hdlif_w1p5_s4") if f'<th scope="row">{name}</th>' not in page] == []
    headings = "At a glance|Results|Confusion|Accuracy by class|Accuracy over time|Learning curves|Activity by layer"
    headings += "|Leak and threshold by time step|Neuron activity|Deployed file|Provenance"
    assert re.findall(r"<h2[^>]*>(.*?)</h2>", page) == headings.split("|")
    assert [int(n) for n in re.findall(r"Figure (\d+)\.", outline.text)] == list(range(1, 12))
    assert [int(n) for n in re.findall(r"Table (\d+)\.", outline.text)] == [1, 2, 3, 4]
    titles = {str(a["id"]).removesuffix("-title") for a in outline.all("title") if "id" in a}
    charts = {"validation-accuracy", "loss", "accuracy-per-step", "firing-rate", "sops"}
    assert charts | {"raster", "accuracy-size", "accuracy-energy"} <= titles
    assert "At a glance" not in page_of(BARE)
    # The contents link to each part.
    links = dict(re.findall(r'<a href="#([^"]*)">(.*?)</a>', page))
    assert [*links.values()] == headings.split("|")
    assert all(f'<h2 id="{ident}">{heading}</h2>' in page for ident, heading in links.items())
    # One panel per neuron layer; the second, a parallel one, has no leak.
    assert {t for t in titles if t.startswith(("leak-", "threshold-"))} == {"leak-0", "threshold-0", "threshold-1"}


def test_tables_print_every_figure_in_its_unit_and_mark_the_best(page):
    # Accuracy, MB of parameters as published and stored, SOPs and NOPs in millions, both energies in µJ, and of
    # training the seconds, and the MB at the peak and saved for the backward pass.
    expected = {"97.22", "0.3200", "0.0162", "0.812", "0.0983", "0.0730", "0.410", "41.2", "61.0", "9.10"}
    assert expected <= set(re.findall(r"<td>(?:<strong>)?([^<]+)(?:</strong>)?</td>", page))
    row = next(line for line in page.splitlines() if '<th scope="row">hdlif_w1p5_s4 <span' in line)
    assert "<td>96.67</td>" in row
    assert "<td><strong>0.0162</strong></td>" in row
    # Not measured.
    assert row.endswith("<td>—</td></tr>")
    for shown in (
        # Of the tables after figures: accuracy and leak per step, SOPs, firing rates, and shares of a matrix's row.
        *("<td>90.00</td><td>95.00</td>", "<td>0.500, 0.625</td>"),
        '<th scope="row">stage1.0.conv1</th><td>123</td>',
        '<th scope="row">stage1.0.act1</th><td>0.250</td>',
        '<th scope="row">cat</th><td style="--share:0.750">3</td><td class="wrong" style="--share:0.250">1</td></tr>',
        # Of the accuracy by class, whose worst cell has the strongest colour.
        '<th scope="row">cat</th><td class="wrong" style="--share:1.000">75.0</td><td>—</td><td>—</td></tr>',
        # Of the deployed file, and of where it all comes from.
        *("23,144 bytes", "99.90 %", "3.1 × 10⁻⁵", "0.412 ms"),
        *("digits_hdlif_w1p5_s4", "2.9.1", "avx2, avx512f", "hdlif demo --out runs/demo", "seed: 42"),
    ):
        assert shown in page
    # What all networks share is there once.
    assert page.count("a processor") == 1


def test_fields_that_differ_between_recipes_are_compared():
    one = replace(BARE, recipe={"name": "a", "seed": 1, "neuron": {"kind": "lif", "leak": 0.5}})
    two = replace(BARE, name="other", recipe={"name": "b", "seed": 1, "neuron": {"kind": "hdlif"}})
    page = page_of(one, two)
    differences = page[page.index('id="differences"') : page.index('id="provenance"')]
    rows = re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td>', differences)
    assert rows == [("neuron.kind", "lif", "hdlif"), ("neuron.leak", "0.5", "—")]
    assert 'id="differences"' not in page_of(one, replace(two, recipe=one.recipe))


def test_same_numbers_give_the_same_page_which_refers_to_nothing_outside(page, outline, run):
    assert render(run, commands=COMMANDS, traces=TRACES) == page
    assert not [tag for tag, _ in outline.elements if tag in {"link", "img", "iframe", "object", "base"}]
    assert outline.all("script") == [{}]
    for tag, attributes in outline.elements:
        for key in ("src", "href", "xlink:href", "srcset", "action", "data"):
            assert (attributes.get(key) or "#").startswith("#"), (tag, attributes)
        assert not any(key.startswith("on") for key in attributes)
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?([^)]*)", page))
    assert not re.search("@import|https?:", page)
    # The one script is that whose hash the page allows.
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_ids_are_unique_every_reference_is_met_and_elements_say_what_they_are(page, outline):
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert outline.open == []
    references = re.findall(r"url\(#([^)]+)\)", page)
    for _, attributes in outline.elements:
        references += (attributes.get("aria-labelledby") or "").split()
        references += [str(attributes["href"])[1:]] if "href" in attributes else []
    assert len(references) > 20
    assert set(references) <= set(ids)
    assert outline.all("html") == [{"lang": "en"}]
    assert all(svg["role"] == "img" and svg["aria-labelledby"] for svg in outline.all("svg"))
    assert len(outline.all("desc")) == len(outline.all("svg"))


def test_nothing_that_a_page_shows_is_markup_or_turns_its_text_round():
    hostile = "<script>alert(1)</script>\x1b[2J\x00\u202e\ud800&\"' $x_1$"
    name = "<script>alert(2)</script> & $x_1$"
    neuron = Neuron(name='<b onload="x">', leak=(0.5,), threshold=(0.5,))
    network = replace(BARE, name=name, neurons=(neuron,), hardware={"<i>": "</td>"})
    confusions = {name: {"labels": [hostile.replace("\x00", ""), "dog"], "counts": [[3, 1], [0, 4]]}}
    recipes = {name: f"seed: 42 # {hostile}\nname: lif\n"}
    page = render(Run([network], data=hostile, recipes=recipes, confusions=confusions), commands=[hostile])
    assert not re.search("<script>alert|<b onload|<i>", page)
    assert page.count("<script") == 1
    assert page.count("&lt;script&gt;") >= 6
    assert all(line.isprintable() for line in page.split("\n"))
    assert page.encode()
    assert "# &lt;script&gt;alert(1)&lt;/script&gt;\\x1b[2J\\x00\\u202e\\ud800&amp;" in page
    # A dollar sign is no formula.
    assert "$x_1$" in page
    assert Outline(page).open == []


def test_a_curve_shows_the_cost_of_early_exit():
    early = {"time_steps": 4, "confidence": [0.0, 0.9, 1.0], "steps": [1, 2.5, 4], "accuracy": [0.5, 0.74, 0.75]}
    drawn = section(page_of(BARE, early={"lif": early}), "Early exit")
    assert drawn.count('class="chart"') == 1
    assert '<th scope="row">lif</th><td>0.9</td><td>2.50 of 4</td><td>74.00</td>' in drawn


def test_a_figure_needs_two_steps_and_a_metric_has_a_row_for_each_output():
    parts = {"rmse": ("rmse.level", "rmse.peak")}
    metrics = {"rmse": 0.5, "rmse.level": 0.25, "rmse.peak": 0.75}
    page = page_of(replace(VALUES, parts=parts, metrics=metrics, per_step=(0.75, 0.5)))
    assert section(page, "Over time")
    rows = re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', section(page, "Metrics by output"))
    assert rows == [("level", "0.250"), ("peak", "0.750")]
    page = page_of(replace(VALUES, per_step=(0.5,)), replace(BARE, accuracy_per_step=(0.5,)))
    assert not section(page, "Over time")
    assert not section(page, "Accuracy over time")


def test_no_axis_of_shares_goes_beyond_what_they_can_be():
    full = {"event": "validation", "step": 1, "loss": 1.0, "accuracy": 1.0, "metrics": {"f1": 1.0}}
    events = [full | {"epoch": epoch} for epoch in (1, 2)]
    classes = replace(BARE, accuracy_per_step=(0.2, 1.0))
    labels = replace(VALUES, metric="f1", metrics={"f1": 1.0}, per_step=(0.1, 1.0))
    for network, most, charts in (
        (classes, 100, ("accuracy-per-step", "validation-accuracy")),
        (labels, 1, ("per-step", "validation-f1")),
    ):
        page = page_of(network, histories={network.name: [line | {"part": "train"} for line in events]})
        assert "Training samples&#39; accuracy (%) by" in page or network is labels
        for chart in charts:
            svg = page[page.index(f'<title id="{chart}-title"') :].split("</svg>")[0]
            # The other axis has numbers of one digit.
            ticks = re.findall(r"<text[^>]*>(\d+[.]\d+|\d\d+)</text>", svg)
            assert max(map(float, ticks)) == most


def test_training_accuracy_is_drawn_beside_that_on_validation_as_the_mean_of_an_epoch():
    line = {"epoch": 1, "loss": 1.0, "learning_rate": 0.1, "seconds": 1.0}
    read = [line | {"event": "train", "step": step, "accuracy": step / 10} for step in (2, 4)]
    told = line | {"event": "validation", "step": 4, "accuracy": 0.5}
    assert training_accuracy([*read, told]) == ([4], [pytest.approx(30)])
    page = page_of(BARE, histories={"lif": [*read, told]})
    drawn = section(page, "Learning curves")
    assert "Thin lines are the accuracy on training batches." in drawn
    assert "Thin lines are the loss on training batches." in drawn
    # Both losses: those of two readings of the training, and that of the validation, which is marked.
    loss = drawn[drawn.index('<title id="loss-title"') :].split("</svg>")[0]
    assert (loss.count("stroke-opacity: 0.8"), len(re.findall("<use[^>]*--series-0", loss))) == (1, 1)


def test_the_accuracy_of_guessing_is_a_line_if_it_is_near_and_words_otherwise():
    confusions = {"lif": {"labels": ["a", "b"], "counts": [[2, 1], [0, 1]]}}
    line = {"event": "validation", "epoch": 1, "step": 1, "loss": 1.0}

    def drawn(accuracies: list[float], steps: tuple[float, ...]) -> tuple[int, int]:
        read = [line | {"step": step, "accuracy": accuracy} for step, accuracy in enumerate(accuracies, start=1)]
        network = replace(BARE, accuracy_per_step=steps)
        page = page_of(network, histories={"lif": read}, confusions=confusions)
        captions = "".join(re.findall("<figcaption>.*", page))
        assert captions.count("is correct in 75 %") == 2
        starts = [page.index(f'<title id="{ident}') for ident in ("validation-accuracy", "accuracy-per-step")]
        found = [page[start:].split("</svg>")[0].count("stroke-dasharray: 3.5,2.1") for start in starts]
        assert captions.count("75 %: the dashed line") == sum(found)
        return found[0], found[1]

    assert drawn([0.8, 1.0], (0.5, 0.9)) == (1, 1)
    assert drawn([0.98, 1.0], (0.96, 0.97)) == (0, 0)
    assert drawn([0.98, 1.0], (0.8, 0.9)) == (0, 1)
    assert "most common class" not in page_of(replace(BARE, accuracy_per_step=(0.5, 0.9)))


def test_findings_measure_against_the_lif_baseline(networks):
    accuracy, size, energy = findings(networks)
    assert "97.22 %" in accuracy
    assert "2.22 points above the LIF baseline" in accuracy
    assert all(words in size for words in ("hdlif_w1p5_s4", "16.2 kB", "20 times less"))
    assert all(words in energy for words in ("hdlif_w1p5_s4", "10 times less", "3 times less"))


def test_the_headline_says_what_a_test_sample_is_worth_and_what_is_noise(networks):
    lif, hdlif, low_bit = (
        replace(network, accuracy=right / 9, test_samples=9) for network, right in zip(networks, (6, 8, 7), strict=True)
    )
    images = SampleName("image", "images")
    for shown, against in (([lif, hdlif, low_bit], "the LIF baseline"), ([hdlif, low_bit], "hdlif_w1p5_s4")):
        headline = findings(shown, images)[0]
        assert headline.startswith("hdlif is the most accurate, at 88.89 % of 9 test images (one image is 11 points")
        assert against in headline
        assert "noise" in headline
    assert "noise" not in findings([hdlif], images)[0]
    # Steps with a class each are not counted as samples.
    assert "of 9" not in findings([replace(networks[0], test_samples=9, task={"kind": "sequence"})])[0]


def test_cells_that_print_alike_are_equally_best_and_a_column_without_difference_has_no_best(networks):
    networks[0] = replace(networks[0], accuracy=0.97221)
    columns = table(networks)
    assert [cells[0] for _, cells in columns.rows] == [("97.22", True), ("97.22", True), ("96.67", False)]
    nops = columns.headings.index("NOPs")
    assert not any(cells[nops][1] for _, cells in columns.rows)


def test_which_end_of_a_metric_is_best_follows_its_name_or_what_its_author_states(networks):
    def best(**changed: object) -> list[bool]:
        two = [replace(networks[0], metrics={"rmse": value, "own": value}, **changed) for value in (1.0, 2.0)]
        made = table(two)
        _, cells = made.rows[0]
        return [cells[made.headings.index(name)][1] for name in ("rmse", "own")]

    assert best() == [True, False]
    assert best(larger_is_better={"own": False}) == [True, True]
    assert best(larger_is_better={"rmse": None}) == [False, False]


DOCS = Path(__file__).parents[2] / "docs"
SOURCES = Path(hdlif.report.__file__).parent


def test_every_explanation_has_a_figure_and_names_a_page_that_is_there():
    assert {one.page for one in EXPLANATIONS.values()} == PAGES.keys()
    for page, name in PAGES.items():
        heading = (DOCS / f"{page}.md").read_text("utf-8").splitlines()[0].removeprefix("# ")
        assert heading.startswith(name)
    sources = "".join(path.read_text("utf-8") for path in SOURCES.glob("*.*") if path.name != "explanations.py")
    for kind in EXPLANATIONS:
        assert f'"{kind.removeprefix("coherence-")}"' in sources
