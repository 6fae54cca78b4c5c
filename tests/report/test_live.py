"""The live page stands by itself, is small, and shows in a browser what the runtime computes, to the bit."""

import base64
import gzip
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from browser import ELEMENT, Browser
from deployed_graphs import Builder, random_input
from hdlif.errors import ArtefactError
from hdlif.graph.artefact import INPUT, Graph, InputRecord, TaskRecord, dumps
from hdlif.graph.ops import OPS
from hdlif.runtime import Session, normalise, probabilities
from hdlif.runtime.answers import said_so_far
from hdlif.runtime.at_work import layers_at_work
from report.live_networks import network, page


def test_the_page_loads_nothing_and_is_small() -> None:
    text = page(network())
    assert not re.findall(r"""(?:src|href|action)=|\bimport\b(?!s)|\bfetch\(|url\(""", text.replace("imports", ""))
    assert "default-src 'none'" in text
    assert len(text.encode()) < 240_000
    assert page(network()) == text


LOOK = """
const [page, frame, steps] = JSON.parse(require("fs").readFileSync(0, "utf8"));
const element = { textContent: "" };
globalThis.document = { getElementById: () => element };
const lie = (id) => page.match(new RegExp(`id="${id}">([^<]*)<`))[1];
const packed = (id) => require("zlib").gunzipSync(Buffer.from(lie(id), "base64"));
const [, whole] = page.match(/<script>([^]*)<.script>/);
const script = whole.replace(/^start\\(\\).*$/m, "return { instantiate, look, tensorsOf };");
const { instantiate, look, tensorsOf } = eval(script);
instantiate(packed("module")).then((runtime) => {
  const bytes = new Uint8Array(packed("artefact"));
  console.log(JSON.stringify(look(runtime.open(bytes), tensorsOf(bytes), new Float32Array(frame), steps).said));
});
"""
"""What the page's own script computes of a frame, without its drawing."""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_page_reads_an_answer_off_the_steps_that_the_task_names() -> None:
    graph = network()
    x = random_input(graph, 1, 1)
    outputs = Session(graph, 1).run(x)[:, 0]
    mean, last = TaskRecord(combine="mean"), TaskRecord(combine="last")
    assert np.abs(said_so_far(outputs, mean) - said_so_far(outputs, last)).max() > 1e-3
    for task in (mean, last):
        given = json.dumps([page(replace(graph, task=task)), x.ravel().tolist(), graph.time_steps])
        done = subprocess.run(["node", "-e", LOOK], input=given, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        np.testing.assert_allclose(json.loads(done.stdout), said_so_far(outputs, task), atol=1e-6)


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
    raw = np.array(browser.run("return [...hdlif.raw]"), np.float32)
    assert raw.max() > 200
    assert (raw == 0).any()
    x = normalise(raw.reshape(1, 1, *graph.input.shape), graph.input)
    logits = session.run(x)
    shown = np.array(browser.run("return [...hdlif.result.logits]"), np.float32)
    np.testing.assert_array_equal(shown, logits.reshape(-1))

    values = session.values(x)
    layers = layers_at_work(graph, values)
    drawn = browser.run("return hdlif.result.neurons.map((n) => [n.name, [...n.spikes], [...n.membranes]])")
    assert [name for name, _, _ in drawn] == list(layers)
    for name, spikes, membranes in drawn:
        np.testing.assert_array_equal(np.array(spikes, np.float32), layers[name].spike.reshape(-1))
        np.testing.assert_array_equal(np.array(membranes, np.float32), layers[name].membrane.reshape(-1))

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
    assert "no picture" in browser.wait("return document.getElementById('message').textContent")


@pytest.mark.slow
def test_a_damaged_page_says_what_is_wrong(tmp_path: Path, browser: Browser) -> None:
    content = dumps(network())
    whole, damaged = (gzip.compress(bytes_, 9, mtime=0) for bytes_ in (content, content[:-4] + b"\0\0\0\0"))
    text = page(network())
    broken = text.replace(base64.b64encode(whole).decode(), base64.b64encode(damaged).decode())
    assert broken != text
    opened(browser, tmp_path, broken)
    assert "is not that of its bytes" in browser.run("return document.getElementById('message').textContent")
