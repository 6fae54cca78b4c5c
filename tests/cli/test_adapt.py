"""`hdlif adapt`: a model file that learns from labelled data."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import hdlif
from cases import naming
from command_line import hdlif as command
from deployed_graphs import Builder
from hdlif.errors import HdlifError
from hdlif.graph.artefact import INPUT, InputRecord, dumps, load, save
from hdlif.graph.artefact.io import digest_of
from hdlif.zoo import CHECKOUT


@pytest.fixture
def forgetful(tmp_path: Path) -> Path:
    """The trained network of digits with the rows of its classifier in another order."""
    graph = load(CHECKOUT / "digits_hdlif_w1p5_s4.hdlif.safetensors")
    nodes = tuple(
        replace(
            node, tensors={role: np.roll(t, 1, -1 if node.op == "affine" else 0) for role, t in node.tensors.items()}
        )
        if node.name.startswith("classifier")
        else node
        for node in graph.nodes
    )
    save(replace(graph, nodes=nodes), tmp_path / "forgetful.hdlif.safetensors")
    return tmp_path / "forgetful.hdlif.safetensors"


def test_a_file_learns_again_what_its_classifier_has_lost(forgetful: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.hdlif.safetensors"
    options = ("--data", "digits", "--level", "classifier", "--rate", "0.05", "--out", out)
    found = json.loads(command("adapt", forgetful, *options, "--json").stdout)
    assert found["accuracy_before"] < 0.2
    assert found["accuracy_after"] > 0.9
    assert found["accuracy_after"] == hdlif.evaluate(out, data="digits").accuracy
    assert found["updates"] == -(-found["samples"] // 8)
    before, after = load(forgetful), load(out)
    changed = {
        node.name
        for node, now in zip(before.nodes, after.nodes, strict=True)
        if any(not np.array_equal(t, now.tensors[role]) for role, t in node.tensors.items())
    }
    assert changed
    assert all(name.startswith("classifier") for name in changed)
    again = hdlif.adapt(forgetful, data="digits", level="classifier", rate=0.05, out=tmp_path / "again")
    assert again.accuracy_after == found["accuracy_after"]
    assert dumps(load(tmp_path / "again")) == dumps(after)


def test_one_step_of_each_batch_may_have_the_loss(
    forgetful: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, learn = list[range](), hdlif.Learner.learn

    def heard(self: hdlif.Learner, *arguments: Any, steps: range | None) -> Any:
        seen.append(range(4) if steps is None else steps)
        return learn(self, *arguments, steps=steps)

    monkeypatch.setattr(hdlif.Learner, "learn", heard)
    for steps, chosen in (("all", {0, 1, 2, 3}), ("last", {3}), ("random", {0, 1, 2, 3})):
        found = hdlif.adapt(forgetful, data="digits", level="classifier", rate=0.05, steps=steps, out=tmp_path / steps)
        with naming(steps):
            assert found.accuracy_after > 0.9
            assert {t for one in seen for t in one} == chosen
            assert {len(one) for one in seen} == {4 if steps == "all" else 1}
        seen.clear()


def digit_folders(place: Path, names: Mapping[int, str]) -> Path:
    """Images of some digits by class, 40 each."""
    images = load_digits()
    for digit, name in names.items():
        (place / name).mkdir(parents=True)
        for k, pixels in enumerate(images.images[images.target == digit][:40]):
            Image.fromarray(np.rint(pixels * (255 / 16)).astype(np.uint8)).save(place / name / f"{k}.png")
    return place


def test_new_classes_of_the_data_are_added_by_name_and_only_if_asked_for(tmp_path: Path) -> None:
    """The network forgets 9, and learns it again as a class of another name, with two old classes beside it."""
    graph, out = load(CHECKOUT / "digits_hdlif_w1p5_s4.hdlif.safetensors"), tmp_path / "out.hdlif.safetensors"
    nodes = tuple(
        replace(n, tensors={role: t[:, :9] if n.op == "affine" else t[:9] for role, t in n.tensors.items()})
        if n.name.startswith("classifier")
        else n
        for n in graph.nodes
    )
    nine = replace(graph, nodes=nodes, labels=graph.labels[:9])
    save(nine, tmp_path / "nine.hdlif.safetensors")
    data = digit_folders(tmp_path / "data", {4: "4", 7: "7", 9: "11"})
    given = ("adapt", tmp_path / "nine.hdlif.safetensors", "--data", data, "--out", out)
    refused = command(*given)
    assert refused.returncode != 0
    assert "that the network lacks (11)" in refused.stderr
    assert "--new-classes" in refused.stderr
    options = ("--new-classes", "--level", "classifier", "--rate", "0.1", "--passes", 4)
    found = json.loads(command(*given, *options, "--json").stdout)
    assert found["accuracy_before"] < 0.7
    assert found["accuracy_after"] > 0.9
    learned = load(out)
    assert learned.labels == (*graph.labels[:9], "11")
    assert learned.learned is not None
    assert learned.learned.source == digest_of(nine)


def test_what_is_no_model_file_or_cannot_learn_is_refused_before_anything_is_written(
    run_folder: Path, forgetful: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.hdlif.safetensors"
    with pytest.raises(HdlifError, match="export it first"):
        hdlif.adapt(run_folder, data="digits", out=out)
    whole = load(forgetful)
    each_step = replace(whole, task=replace(whole.task, kind="sequence", combine="each"))
    save(each_step, tmp_path / "each_step.hdlif.safetensors")
    with pytest.raises(HdlifError, match="the task sequence"):
        hdlif.adapt(tmp_path / "each_step.hdlif.safetensors", data="digits", out=out)
    with pytest.raises(HdlifError, match="momentum = 1"):
        hdlif.adapt(forgetful, data="digits", momentum=1, out=out)
    with pytest.raises(HdlifError, match="the weights stay as they were"):
        hdlif.adapt(forgetful, data="digits", rate=1e6, passes=9, level="all", out=out)
    assert not out.exists()


def test_it_learns_from_readings_of_ones_own_without_holding_samples_out_for_validation(tmp_path: Path) -> None:
    """Six of eight recordings train: two are for testing, and none for validation."""
    b = Builder((2, 1, 1), 8, 0)
    spikes = b.quantise(b.hd_lif(b.affine(b.conv(INPUT, 6, kernel=(1, 1), padding=(0, 0), encoding="float32"))))
    graph = b.graph(b.add("global_sum_pool", spikes))
    record = InputRecord((2, 1, 1), (0.0, 0.0), (1.0, 1.0), kind="series", resize="none", frames="rows")
    save(replace(graph, input=record, labels=("a", "b", "c")), tmp_path / "net.hdlif.safetensors")
    rng = np.random.default_rng(0)
    y = np.repeat(["a", "b", "c"], 8)
    np.savez(tmp_path / "me.npz", x=rng.normal(size=(24, 8, 2)).astype(np.float32) + (y == "a")[:, None, None], y=y)
    found = hdlif.adapt(tmp_path / "net.hdlif.safetensors", data=tmp_path / "me.npz", out=tmp_path / "out", passes=2)
    assert found.samples == 2 * (24 - found.tested)
    assert 3 <= found.tested <= 6
