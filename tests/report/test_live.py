"""Pages in a browser: the live page shows what the runtime computes, and every page sorts, prints and is accessible."""

import base64
import gzip
import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from browser import ELEMENT, Browser
from deployed_graphs import CLASSES, Builder, detector, random_input, u_net
from finished_runs import history, result
from hdlif.errors import ArtefactError
from hdlif.graph.artefact import INPUT, Graph, InputRecord, TaskRecord, dumps
from hdlif.graph.equations import OPERATIONS, Instruction, Program
from hdlif.graph.input_record import SampleName
from hdlif.graph.ops import OPS
from hdlif.report import ablation
from hdlif.report.live import live_page
from hdlif.report.page import render
from hdlif.report.runs import Run
from hdlif.report.traces import NeuronTrace, Traces
from hdlif.runtime import Session, normalise, probabilities
from hdlif.runtime.answers import answers, said_so_far
from hdlif.runtime.at_work import LayerAtWork, layers_at_work
from hdlif.runtime.images import Placed


def network(*, neuron: str = "hd_lif", channels: int = 1) -> Graph:
    b = Builder((channels, 8, 8), 4, 3)
    x = b.affine(b.conv(INPUT, 6, encoding="float32"))
    x = b.quantise(getattr(b, neuron)(x, per_channel=True))
    x = b.affine(b.conv(x, 8, stride=(2, 1), groups=2, encoding="ternary"), scale=0.3, per_step=True)
    x = b.add("max_pool", b.lif(x), kernel=(2, 2), stride=(2, 2), padding=(0, 0))
    graph = b.graph(b.quantise(b.program(x)))
    record = InputRecord((channels, 8, 8), (0.3,) * channels, (0.35,) * channels)
    return Graph(graph.nodes, graph.output, graph.time_steps, record, ("zero", "one & <two>", "größer")[:CLASSES])


def page(graph: Graph, **given: Any) -> str:
    return live_page(dumps(graph), "net.hdlif.safetensors", **given)


def test_the_page_loads_nothing_and_is_small() -> None:
    text = page(network())
    assert not re.findall(r"""(?:src|href|action)=|\bimport\b(?!s)|\bfetch\(|url\(""", text.replace("imports", ""))
    assert "default-src 'none'" in text
    assert len(text.encode()) < 270_000
    assert page(network()) == text


LOOK = """
const [page, frame, steps] = JSON.parse(require("fs").readFileSync(0, "utf8"));
const element = { textContent: "" };
globalThis.document = { getElementById: () => element };
const lie = (id) => page.match(new RegExp(`id="${id}">([^<]*)<`))[1];
const packed = (id) => require("zlib").gunzipSync(Buffer.from(lie(id), "base64"));
const [, whole] = page.match(/<script>([^]*)<.script>/);
const script = whole.replace(/^start\\(\\).*$/m, "return { instantiate, looking, tensorsOf };");
const { instantiate, looking, tensorsOf } = eval(script);
instantiate(packed("module")).then((runtime) => {
  const bytes = new Uint8Array(packed("artefact"));
  const found = looking(runtime.open(bytes), tensorsOf(bytes))(new Float32Array(frame), steps);
  const neurons = found.neurons.map((n) => [n.name, [...n.spikes].map(String), [...n.membranes].map(String)]);
  console.log(JSON.stringify({ ...found, neurons }));
});
"""
"""What the page's own script computes of a frame, without its drawing."""


def looked(graph: Graph, x: np.ndarray) -> dict[str, Any]:
    """What the page finds of a frame."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    given = json.dumps([page(graph), x.ravel().tolist(), graph.time_steps])
    done = subprocess.run([node, "-e", LOOK], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check_neurons(found: Sequence[tuple[str, list[str], list[str]]], layers: Mapping[str, LayerAtWork]) -> None:
    assert [name for name, _, _ in found] == list(layers)
    for name, spikes, membranes in found:
        np.testing.assert_array_equal(np.array(spikes, np.float32), layers[name].spike.reshape(-1))
        np.testing.assert_array_equal(np.array(membranes, np.float32), layers[name].membrane.reshape(-1))


def test_the_page_reads_an_answer_off_the_steps_that_the_task_names() -> None:
    graph = network()
    x = random_input(graph, 1, 1)
    outputs = Session(graph, 1).run(x)[:, 0]
    mean, last = TaskRecord(combine="mean"), TaskRecord(combine="last")
    assert np.abs(said_so_far(outputs, mean) - said_so_far(outputs, last)).max() > 1e-3
    for task in (mean, last):
        found = looked(replace(graph, task=task), x)["said"]
        np.testing.assert_allclose(found, said_so_far(outputs, task), atol=1e-6)


def test_membranes_and_operations_are_those_of_the_runtime() -> None:
    for graph in (network(), network(neuron="glif", channels=3), equations()):
        x = random_input(graph, 1, 1)
        values = Session(graph, 1).values(x)
        found = looked(graph, x)
        with np.errstate(all="ignore"):
            check_neurons(found["neurons"], layers_at_work(graph, values))
        assert (found["work"], found["dense"]) == pairs_with_spikes(graph, values)


def equations() -> Graph:
    """Neurons of equations that use every operation, states of one another, and rows of a channel or of all."""
    b = Builder((1, 8, 8), 4, 5)
    x = b.conv(INPUT, 4, encoding="float32")
    states, rows = ("fast", "slow"), ("a", "b")
    # Registers: the current 0, the states 1 and 2, the rows 3 and 4, and an operation each.
    lines = [
        Instruction("constant", value=0.1),
        Instruction("multiply", (1, 3)),
        Instruction("add", (6, 0)),
        Instruction("negative", (2,)),
        Instruction("absolute", (8,)),
        Instruction("floor", (7,)),
        Instruction("minimum", (9, 4)),
        Instruction("maximum", (11, 5)),
        Instruction("subtract", (12, 10)),
        Instruction("greater", (7, 13)),
        Instruction("greater_equal", (7, 2)),
        Instruction("step", (13,)),
        Instruction("select", (15, 7, 13)),
        Instruction("multiply", (14, 16)),
    ]
    assert {line.operation for line in lines} == set(OPERATIONS)
    compared = Program(states, rows, tuple(lines), spike=18, after=(17, 1))
    assert compared.decision == (7, 13)
    without = replace(compared, spike=17, after=(2, 17))
    shapes = [{"per_step": step, "per_channel": channel} for step in (False, True) for channel in (False, True)]
    for program in (compared, without):
        for shape in shapes:
            x = b.program(x, program=program, **shape)
    x = b.program(x, program=Program((), ("a",), (Instruction("multiply", (0, 1)),), spike=2, after=()))
    return b.graph(x)


def test_networks_that_take_no_pictures_or_have_no_output_are_refused() -> None:
    b = Builder((2, 1, 1), 3, 0)
    graph = b.graph(b.hd_lif(INPUT))
    record = InputRecord((2, 1, 1), (0.0, 0.0), (1.0, 1.0), kind="series", resize="none", frames="rows")
    for refused in (replace(graph, input=record), replace(graph, nodes=(), output=INPUT, labels=())):
        with pytest.raises(ArtefactError):
            page(refused)


def pairs_with_spikes(graph: Graph, values: dict[str, np.ndarray]) -> tuple[list[int], int]:
    """Pairs of a weight and an input that is not 0, at each step, and of all inputs: by convolving ones."""
    counted, dense = np.zeros(graph.time_steps, np.int64), 0
    for node in graph.nodes:
        if not OPS[node.op].is_synapse:
            continue
        weight = np.ones(node.tensors["weight"].shape, np.float32)
        ones = replace(node, attributes={**node.attributes, "encoding": "float32"}, tensors={"weight": weight})
        x = (values[node.inputs[0]][:, 0] != 0).astype(np.float32)
        counted += OPS[node.op].evaluate(ones, 0, [x], {}).reshape(len(x), -1).sum(1).astype(np.int64)
        dense += int(OPS[node.op].evaluate(ones, 0, [np.ones_like(x[:1])], {}).sum())
    return counted.tolist(), dense


def opened(browser: Browser, folder: Path, text: str) -> None:
    path = folder / "live.html"
    path.write_text(text, "utf-8")
    browser.show(1200)
    browser.open(path)
    browser.wait("return window.hdlif !== undefined || document.getElementById('message').textContent")


@pytest.mark.slow
@pytest.mark.parametrize("graph", [network(), network(neuron="glif", channels=3)], ids=["hd_lif", "colour"])
def test_drawing_in_a_browser_shows_what_the_runtime_computes(graph: Graph, tmp_path: Path, browser: Browser) -> None:
    opened(browser, tmp_path, page(graph))
    session = Session(graph, 1)
    assert set(browser.run("return [...hdlif.raw]")) == {0}
    browser.drag("#pad", [(-60, -80), (40, -80), (40, 0), (-30, 60), (50, 80)])
    browser.next_frame()
    raw = np.array(browser.run("return [...hdlif.raw]"), np.float32)
    seen = browser.run("return [...document.getElementById('seen').getContext('2d').getImageData(0, 0, 8, 8).data]")
    pixels = np.reshape(seen, (8, 8, 4)).transpose(2, 0, 1)
    np.testing.assert_array_equal(pixels[:3], np.broadcast_to(raw.reshape(-1, 8, 8), (3, 8, 8)))
    assert raw.max() > 200
    assert (raw == 0).any()
    x = normalise(raw.reshape(1, 1, *graph.input.shape), graph.input)
    logits = session.run(x)
    shown = np.array(browser.run("return [...hdlif.result.logits]"), np.float32)
    np.testing.assert_array_equal(shown, logits.reshape(-1))

    values = session.values(x)
    layers = layers_at_work(graph, values)
    drawn = browser.run("return hdlif.result.neurons.map((n) => [n.name, [...n.spikes], [...n.membranes]])")
    check_neurons(drawn, layers)

    work, dense = pairs_with_spikes(graph, values)
    assert browser.run("return [hdlif.result.work, hdlif.result.dense]") == [work, dense]
    said = probabilities(logits)[:, 0]
    move = "const s = document.getElementById('step'); s.value = arguments[0]; s.dispatchEvent(new Event('input'))"
    for step in (graph.time_steps - 1, 0):
        browser.run(move, step)
        classes = browser.run("return [...document.querySelectorAll('#classes li')].map((e) => e.textContent)")
        assert classes == [f"{label}{100 * p:.1f} %" for label, p in zip(graph.labels, said[step], strict=True)]
        text = browser.run("return document.getElementById('operations').textContent")
        assert text.startswith(f"{sum(work[: step + 1]):,} of {dense * (step + 1):,} (")
    assert browser.run("return document.querySelectorAll('#layers figure').length") == len(layers)
    browser.click("#play")
    browser.wait("return document.getElementById('step').value === '2'")
    browser.click("#clear")
    assert set(browser.run("return [...hdlif.raw]")) == {0}
    assert browser.complaints() == []


DRAW = """
const pad = document.getElementById("pad");
pad.setPointerCapture = () => {};
const box = pad.getBoundingClientRect();
const event = (type, [x, y], joined = []) => new PointerEvent(type, {
  clientX: box.left + x * box.width,
  clientY: box.top + y * box.height,
  coalescedEvents: joined.map((at) => event(type, at)),
});
window.runs = 0;
const { network } = hdlif, runValues = network.runValues;
network.runValues = (...given) => { ++runs; return runValues.apply(network, given); };
const [start, ...moves] = arguments[0];
pad.dispatchEvent(event("pointerdown", start));
for (const joined of moves) pad.dispatchEvent(event("pointermove", joined.at(-1), joined));
"""


@pytest.mark.slow
def test_the_moves_of_a_frame_are_all_drawn_and_run_once(tmp_path: Path, browser: Browser) -> None:
    opened(browser, tmp_path, page(network()))
    top_left, corners = (0.05, 0.05), [[(0.95, 0.05), (0.95, 0.95)], [(0.05, 0.95)], [(0.05, 0.9)]]
    browser.run(DRAW, [top_left, *corners])
    browser.next_frame()
    assert browser.run("return runs") == 1
    raw = np.array(browser.run("return [...hdlif.raw]")).reshape(8, 8)
    assert raw[[0, 0, 7, 7], [0, 7, 0, 7]].min() > 200
    # Straight from the top left to the bottom right, it would be the diagonal.
    assert raw[3, 3] == 0


@pytest.mark.slow
def test_neurons_are_drawn_where_they_are_seen(tmp_path: Path, browser: Browser) -> None:
    (tmp_path / "live.html").write_text(page(network()), "utf-8")
    browser.show(400, height=300)
    browser.open(tmp_path / "live.html")
    browser.wait("return window.hdlif !== undefined")
    browser.next_frame()
    counts = "return [...document.querySelectorAll('#layers output')].map((e) => e.textContent !== '')"
    assert not any(browser.run(counts))
    browser.run("document.querySelector('#layers').lastElementChild.scrollIntoView()")
    browser.wait(f"{counts}.at(-1)")
    assert not browser.run(counts)[0]
    browser.run(DRAW, [(0.1, 0.1), [(0.9, 0.9)]])
    browser.next_frame()
    read = "return [...new Uint8Array(context.getImageData(0, 0, {1}, {0}).data)]"
    for place, of in enumerate(("spikes", "membranes")):
        numbers, (_, height, width) = browser.run(
            f"const n = hdlif.result.neurons.at(-1); return [[...n.{of}], n.shape]"
        )
        values = np.array(numbers).reshape(4, -1, height, width)
        canvas = f"document.querySelector('#layers').lastElementChild.querySelectorAll('canvas')[{place}]"
        data = browser.run(f"const context = {canvas}.getContext('2d'); {read.format(height, width)}")
        share = values[-1, 0, ..., None] / np.abs(values).max()
        dark, warm, cool = np.array([[24, 26, 30], [255, 176, 66], [86, 180, 233]])
        expected = dark + np.abs(share) * (np.where(share < 0, cool, warm) - dark)
        assert np.ptp(expected) > 0
        # Halves are rounded as the browser likes.
        np.testing.assert_allclose(np.reshape(data, (height, width, 4))[..., :3], expected, atol=0.51)
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert all(browser.run(counts))


@pytest.mark.slow
def test_a_line_is_drawn_in_until_the_reader_draws(tmp_path: Path, browser: Browser) -> None:
    opened(browser, tmp_path, page(network(), stroke=[(0.1, 15 / 16), (0.9, 15 / 16)]))
    raw = np.array(browser.run("return [...hdlif.raw]")).reshape(8, 8)
    assert raw[7, 1:7].min() > 200
    assert raw[:5].max() == 0
    # The second line is added to the first.
    for y in (1 / 16, 9 / 16):
        browser.run(DRAW, [(0.1, y), [(0.9, y)]])
        browser.next_frame()
    raw = np.array(browser.run("return [...hdlif.raw]")).reshape(8, 8)
    assert raw[[0, 4], 1:7].min() > 200
    assert raw[7].max() == 0


@pytest.mark.slow
@pytest.mark.parametrize("graph", [detector(), u_net(), replace(u_net(), task=TaskRecord("instances"))])
def test_boxes_and_masks_are_drawn_over_a_picture(graph: Graph, tmp_path: Path, browser: Browser) -> None:
    graph = replace(graph, input=replace(graph.input, fit="letterbox"))
    pixels = np.random.default_rng(0).integers(0, 256, (30, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    opened(browser, tmp_path, page(graph))
    browser.ask(f"element/{browser.find('#file')[ELEMENT]}/value", {"text": str(tmp_path / "picture.png")})
    browser.wait("return hdlif.raw.some((v) => v > 0)")
    raw = np.array(browser.run("return [...hdlif.raw]"), np.float32).reshape(1, 1, *graph.input.shape)
    # The picture is at the top, half as high as wide, and the mean of each channel below.
    half = graph.input.shape[2] // 2
    assert raw[0, 0, :, : half - 1].std() > 1
    assert set(raw[0, 0, :, half + 1 :].ravel()) == {128}
    outputs = Session(graph, 1).run(normalise(raw, graph.input))
    (expected,) = answers(outputs, graph.task, graph.labels, [Placed.whole(graph.input)])
    assert expected is not None
    found = browser.run("const { mask, ...rest } = hdlif.answer; return { ...rest, mask: mask && [...mask] }")
    drawn = browser.run(
        "const over = document.getElementById('over');"
        "return over.getContext('2d').getImageData(0, 0, over.width, over.height).data.some((v) => v > 0)"
    )
    assert drawn
    lines = browser.run("return [...document.querySelectorAll('#classes li')].map((e) => e.textContent)")
    if "boxes" in expected:
        assert [box["label"] for box in found["boxes"]] == [box["label"] for box in expected["boxes"]]
        counts = {label: sum(box["label"] == label for box in expected["boxes"]) for label in graph.labels}
        assert lines == [f"{label}{count}" for label, count in counts.items()]
    else:
        assert found["mask"] == expected["mask"].ravel().tolist()
        assert len(lines) == (1 if "objects" in expected else 3)
    assert browser.complaints() == []


@pytest.mark.slow
def test_a_picture_from_a_file_is_shown_and_what_is_none_is_said(tmp_path: Path, browser: Browser) -> None:
    picture, other = tmp_path / "picture.png", tmp_path / "other.png"
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(picture)
    other.write_bytes(b"no picture")
    opened(browser, tmp_path, page(network()))
    chosen = f"element/{browser.find('#file')[ELEMENT]}/value"
    browser.ask(chosen, {"text": str(picture)})
    browser.wait("return hdlif.raw.every((v) => v === 255)")
    browser.ask(chosen, {"text": str(other)})
    assert "not an image" in browser.wait("return document.getElementById('message').textContent")


@pytest.mark.slow
def test_a_damaged_page_says_what_is_wrong(tmp_path: Path, browser: Browser) -> None:
    content = dumps(network())
    whole, damaged = (gzip.compress(bytes_, 9, mtime=0) for bytes_ in (content, content[:-4] + b"\0\0\0\0"))
    text = page(network())
    broken = text.replace(base64.b64encode(whole).decode(), base64.b64encode(damaged).decode())
    assert broken != text
    opened(browser, tmp_path, broken)
    assert "does not match the file's bytes" in browser.run("return document.getElementById('message').textContent")


LABELS = [f"class {n}" for n in range(12)]


def report_page() -> str:
    networks = [
        result(name, accuracy=accuracy, stored_mb=size)
        for name, accuracy, size in (("net_b", 0.9, None), ("net_a", 0.95, 1234.5), ("net_c", 0.85, 2.0))
    ]
    counts = [[10 if i == j else int((i + j) % 7 == 0) for j in range(12)] for i in range(12)]
    run = Run(
        networks,
        {network.name: history() for network in networks},
        artefact={"path": "digits.hdlif.safetensors", "bytes": 23144},
        recipes={network.name: "seed: 42\n" for network in networks},
        confusions={network.name: {"labels": LABELS, "counts": counts} for network in networks},
        early={"net_a": {"time_steps": 2, "confidence": [0.0, 1.0], "steps": [1, 2], "accuracy": [0.9, 0.95]}},
    )
    trace = NeuronTrace([0.75, 0.25], [0.5, 0.5], [0.25, 0.0], "channel 7")
    return render(run, commands=["hdlif demo"], traces=Traces("test image 0", {"net_a": {"act1:7": trace}}))


def table_page() -> str:
    columns = ["STBP", "SLTT", "random step"]
    one = {"accuracy": 0.5, "std": 0.01, "accuracy_per_step": [0.4, 0.5], "sops": 1e6, "n": 3}
    cells = {row: dict.fromkeys(columns, one) for row in ("LIF", "HD-LIF")}
    texts = {row: ["50.00 ± 1.00 (3), 1.0 M"] * 3 for row in cells}
    more = {"quantities": ["accuracy", "sops"], "samples": SampleName("image", "images"), "provenance": []}
    return ablation.render("A table", columns, cells, columns, texts, **more)


KNOWN = (np.zeros((1, 1, 8, 8), np.uint8), [0])
PAGES = {
    "report": report_page,
    "table": table_page,
    "live": lambda: page(network()),
    "boxes": lambda: page(detector()),
    "learns": lambda: page(network(), known=KNOWN),
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for name, make in PAGES.items():
        (folder / f"{name}.html").write_text(make(), "utf-8")
    return {name: folder / f"{name}.html" for name in PAGES}


def column(browser: Browser, number: int, table: str = ".results") -> list[str]:
    """What stands in a column of a table, from above."""
    rows = "[...document.querySelector(arguments[1]).tBodies[0].rows]"
    script = f"return {rows}.map((row) => row.cells[arguments[0]].textContent)"
    return [text.strip() for text in browser.run(script, number, table)]


@pytest.mark.slow
def test_headings_sort_by_number_up_down_and_back_and_dashes_are_last(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["report"])
    sizes = ["—", "1,234.50", "2.00"]
    assert column(browser, 3) == sizes
    browser.run("document.querySelectorAll('.results thead button')[3].focus()")
    sorted_by = "return [...document.querySelectorAll('.results [aria-sort]')].map(h => [h.textContent, h.ariaSort])"
    enter, space = "\ue007", " "
    for key, expected, shown in (
        (enter, ["2.00", "1,234.50", "—"], [["file", "ascending"]]),
        (space, ["1,234.50", "2.00", "—"], [["file", "descending"]]),
        (enter, sizes, []),
    ):
        browser.press(key)
        assert (column(browser, 3), browser.run(sorted_by)) == (expected, shown)
    browser.click(".results thead button")
    assert [name.split()[0] for name in column(browser, 0)] == ["net_a", "net_b", "net_c"]
    # Another column takes over.
    browser.run("document.querySelectorAll('.results thead button')[1].click()")
    assert column(browser, 1) == ["85.00", "90.00", "95.00"]
    assert browser.run(sorted_by) == [["%", "ascending"]]
    # Names with numbers are sorted as people do.
    browser.click(".classes thead button")
    assert column(browser, 0, ".classes") == LABELS
    assert browser.complaints() == []


@pytest.mark.slow
def test_axe_finds_nothing_and_no_page_is_wider_than_the_window(browser: Browser, pages: dict[str, Path]) -> None:
    for page, width, scheme in itertools.product(PAGES, (400, 1400), ("light", "dark")):
        browser.show(width, scheme=scheme)
        browser.open(pages[page])
        browser.wait("return document.getElementById('pad') === null || window.hdlif !== undefined")
        assert browser.run("return document.documentElement.scrollWidth") <= width, page
        assert browser.inaccessible() == [], page


@pytest.mark.slow
def test_printed_pages_are_of_paper_width_without_buttons(browser: Browser, pages: dict[str, Path]) -> None:
    browser.show(680)
    browser.open(pages["report"])
    browser.tell("Emulation.setEmulatedMedia", {"media": "print"})
    # A4 less its margins has 680 pixels.
    shown = "[...document.querySelectorAll('table, svg, pre')]"
    assert browser.run(f"return Math.max(...{shown}.map((one) => one.getBoundingClientRect().right))") <= 681
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    arrow = "getComputedStyle(document.querySelector('.results button'), '::after').content"
    assert browser.run(f"return {arrow}") == "none"
    browser.tell("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.slow
def test_without_scripts_the_tables_are_there_and_have_no_buttons(browser: Browser, pages: dict[str, Path]) -> None:
    browser.tell("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.open(pages["report"])
    found = browser.tell("Runtime.evaluate", {"expression": "document.querySelectorAll('button').length"})
    browser.tell("Emulation.setScriptExecutionDisabled", {"value": False})
    assert found["result"]["value"] == 0
