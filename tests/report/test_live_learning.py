"""A page that learns symbols that its reader draws, with the bits of `hdlif.Learner`."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from browser import ELEMENT, Browser
from deployed_graphs import u_net
from hdlif.errors import HdlifError
from hdlif.graph.artefact import Graph, dumps, loads
from hdlif.graph.learning import with_classes
from hdlif.report.live import live_page
from hdlif.runtime import Session, normalise
from hdlif.runtime.learning import Learner, LearningRate
from hdlif.zoo import CHECKOUT


def digits_page() -> tuple[Graph, np.ndarray, list[int], str]:
    """A network of digits, its known samples and classes, and a page that learns."""
    content = (CHECKOUT / "digits_hdlif_w1p5_s4.hdlif.safetensors").read_bytes()
    images = load_digits()
    order = [place for digit in range(10) for place in np.flatnonzero(images.target == digit)[:2]]
    pixels = np.rint(images.images[order] * (255 / 16)).astype(np.uint8)[:, None]
    classes = images.target[order].tolist()
    return loads(content, "digits"), pixels, classes, live_page(content, "digits", known=(pixels, classes))


@pytest.mark.slow
def test_a_symbol_that_is_drawn_four_times_is_learned_with_the_bits_of_python(tmp_path: Path, browser: Browser) -> None:
    graph, pixels, classes, text = digits_page()
    (tmp_path / "live.html").write_text(text, "utf-8")
    browser.show(1200)
    browser.open(tmp_path / "live.html")
    browser.wait("return window.hdlif !== undefined")
    bars = "return [...document.querySelectorAll('#classes span')].map((one) => one.textContent)"
    said = "return document.getElementById('learned').textContent"
    browser.next_frame()
    assert browser.run(bars) == list(graph.labels)
    browser.click("#learn")
    assert browser.run(said) == "Name the symbol first."
    browser.ask(f"element/{browser.find('#symbol')[ELEMENT]}/value", {"text": "<plus>"})

    def draw(shift: int) -> np.ndarray:
        browser.click("#clear")
        browser.drag("#pad", [(shift, -100), (-shift, 100)])
        browser.drag("#pad", [(-100, shift), (100, 10)])
        browser.next_frame()
        return np.array(browser.run("return [...hdlif.raw]"), np.float32).reshape(1, 1, 8, 8)

    wider = with_classes(graph, ["1 more", "2 more", "3 more"])
    lesson = json.loads(browser.run("return document.getElementById('learn').dataset.lesson"))
    learner = Learner(wider, rate=LearningRate(*lesson["rate"]))
    shown = [pixels.astype(np.float32)]
    for count, shift in enumerate((0, 12, -12, 20), start=1):
        shown.append(draw(shift))
        browser.click("#learn")
        browser.wait(f"{said}.startsWith('Drawings of <plus>: {count}.')")
        x = normalise(np.concatenate(shown)[None], graph.input)
        for _ in range(20):
            learner.learn(x, [*classes, *[10] * count])
    assert browser.run(bars) == [*graph.labels, "<plus>"]
    x = normalise(draw(-6)[None], graph.input)
    logits = np.array(browser.run("return [...hdlif.result.logits]"), np.float32)
    np.testing.assert_array_equal(logits, Session(learner.graph).run(x).ravel())
    assert browser.run("return document.querySelector('#classes .best span').textContent") == "<plus>"
    # The others are recognised as before, and what they are called may be learned anew.
    known = Session(learner.graph).run(normalise(shown[0][None], graph.input))
    assert (known.mean(0).argmax(1) == classes).all()
    for name, more in (("a", 12), ("b", 13), ("c", 13), ("7", 13)):
        browser.run("document.getElementById('symbol').value = arguments[0]", name)
        browser.click("#learn")
        browser.wait(f"{said}.includes('{'no room' if name == 'c' else f'Drawings of {name}'}')")
        browser.wait("return !document.getElementById('learn').disabled")
        assert len(browser.run(bars)) == more
    assert browser.complaints() == []


def test_networks_that_have_no_classes_to_add_are_refused() -> None:
    with pytest.raises(HdlifError, match="a class cannot be added"):
        live_page(dumps(u_net()), "net", known=(np.zeros((1, 3, 16, 16), np.uint8), [0]))
