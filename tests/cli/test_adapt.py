"""`hdlif adapt`: a model file that learns from labelled data."""

import json
from collections.abc import Iterator, Mapping
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
from hdlif.cli import adapt, adapt_stream
from hdlif.errors import HdlifError
from hdlif.graph.artefact import INPUT, InputRecord, dumps, load, save
from hdlif.graph.artefact.io import digest_of
from hdlif.zoo import CHECKOUT
from series_networks import STEPS, series_network


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
    options = ("--data", "digits", "--level", "classifier", "--rate", "0.05", "--passes", 1, "--out", out)
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
    again = hdlif.adapt(forgetful, data="digits", level="classifier", rate=0.05, passes=1, out=tmp_path / "again")
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


@pytest.fixture
def nine(tmp_path: Path) -> Path:
    """The trained network of digits without the class 9."""
    graph = load(CHECKOUT / "digits_hdlif_w1p5_s4.hdlif.safetensors")
    nodes = tuple(
        replace(n, tensors={role: t[:, :9] if n.op == "affine" else t[:9] for role, t in n.tensors.items()})
        if n.name.startswith("classifier")
        else n
        for n in graph.nodes
    )
    save(replace(graph, nodes=nodes, labels=graph.labels[:9]), tmp_path / "nine.hdlif.safetensors")
    return tmp_path / "nine.hdlif.safetensors"


def test_replayed_samples_of_old_classes_keep_them(nine: Path, tmp_path: Path) -> None:
    old, new = (
        digit_folders(tmp_path / name, of) for name, of in (("old", {k: str(k) for k in range(9)}), ("new", {9: "9"}))
    )
    replayed, forgetful = (tmp_path / f"{name}.hdlif.safetensors" for name in ("replayed", "forgetful"))
    given = ("--data", new, "--new-classes", "--rate", "0.1", "--passes", 8)
    found = json.loads(command("adapt", nine, *given, "--replay", old, "--out", replayed, "--json").stdout)
    without = hdlif.adapt(nine, data=new, new_classes=True, rate=0.1, passes=8, out=forgetful)
    assert (without.replay_before, without.replay_after) == (None, None)
    assert found["samples"] == 2 * without.samples
    assert found["updates"] == without.updates
    assert found["accuracy_after"] > 0.9
    assert found["replay_before"] > 0.9
    forgot = hdlif.adapt(forgetful, data=new, new_classes=True, replay=old, out=tmp_path / "more").replay_before
    assert forgot is not None
    assert found["replay_after"] > forgot + 0.2


def test_keys_of_ones_own_data_do_not_apply_to_replayed_built_in_data(forgetful: Path, tmp_path: Path) -> None:
    data = digit_folders(tmp_path / "data", {k: str(k) for k in range(10)})
    given = {"data": data, "replay": "digits", "overrides": ["data.unreadable=skip"]}
    found = hdlif.adapt(forgetful, **given, level="classifier", rate=0.05, out=tmp_path / "out")
    assert found.replay_before is not None
    assert found.replay_after is not None
    assert found.replay_after > found.replay_before + 0.5


def test_replayed_samples_have_known_classes(nine: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.hdlif.safetensors"
    data = digit_folders(tmp_path / "data", {k: str(k) for k in range(9)})
    with pytest.raises(
        HdlifError, match=r"/old has classes that the network lacks: x, y; give data of the network's classes"
    ):
        hdlif.adapt(nine, data=data, replay=digit_folders(tmp_path / "old", {0: "x", 1: "y"}), out=out)
    with pytest.raises(HdlifError, match="replay= applies to data="):
        hdlif.adapt(nine, stream=data, target="y", replay=data, out=out)
    with pytest.raises(HdlifError, match="new_classes=True applies to data="):
        hdlif.adapt(nine, stream=data, target="y", new_classes=True, out=out)
    assert not out.exists()


def test_new_classes_of_the_data_are_added_by_name_and_only_if_asked_for(nine: Path, tmp_path: Path) -> None:
    """The network forgets 9, and learns it again as a class of another name, with two old classes beside it."""
    graph, out = load(nine), tmp_path / "out.hdlif.safetensors"
    data = digit_folders(tmp_path / "data", {4: "4", 7: "7", 9: "11"})
    given = ("adapt", nine, "--data", data, "--out", out)
    refused = command(*given)
    assert refused.returncode != 0
    assert "has a class that the network lacks: 11; give data" in refused.stderr
    assert "--new-classes" in refused.stderr
    options = ("--new-classes", "--level", "classifier", "--rate", "0.1", "--passes", 4)
    found = json.loads(command(*given, *options, "--json").stdout)
    assert found["accuracy_before"] < 0.7
    assert found["accuracy_after"] > 0.9
    learned = load(out)
    assert learned.labels == (*graph.labels, "11")
    assert learned.learned is not None
    assert learned.learned.source == digest_of(graph)


def test_a_network_with_an_added_class_is_tested_on_its_built_in_data_and_learns_on(tmp_path: Path) -> None:
    out, again = (tmp_path / f"{name}.hdlif.safetensors" for name in ("out", "again"))
    place = tmp_path / "data" / "square"
    place.mkdir(parents=True)
    for k in range(12):
        pixels = np.zeros((8, 8), np.uint8)
        pixels[k % 3 : 6, k // 3 : 7] = 255
        Image.fromarray(pixels).save(place / f"{k}.png")
    given: dict[str, Any] = {"data": place.parent, "replay": "digits"}
    found = hdlif.adapt("digits_hdlif_w1p5_s4", **given, new_classes=True, out=out)
    assert (found.accuracy_before, found.accuracy_after) == (0, 1)
    assert 100 <= found.updates < 105
    assert hdlif.evaluate(out, data="digits").accuracy == found.replay_after > 0.95
    assert hdlif.adapt(out, **given, passes=1, out=again).replay_before == found.replay_after


def test_data_of_some_classes_are_numbered_as_the_networks_whatever_their_order(tmp_path: Path) -> None:
    """Sorted, the classes are eight, seven, three; the network has them in the order of the digits."""
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    net, out = tmp_path / "net.hdlif.safetensors", tmp_path / "out.hdlif.safetensors"
    save(replace(load(CHECKOUT / "digits_hdlif_w1p5_s4.hdlif.safetensors"), labels=names), net)
    data = digit_folders(tmp_path / "data", {k: names[k] for k in (3, 7, 8)})
    said = command("eval", net, "--data", data, "--part", "all")
    assert "has no samples of zero, one, two, four, five and 2 more" in said.stderr
    found = hdlif.evaluate(net, data=data, part="all")
    assert found.accuracy is not None
    assert found.accuracy > 0.9
    assert (found.n, found.labels) == (120, names)
    assert found.accuracy_per_class is not None
    assert [name for name, share in zip(names, found.accuracy_per_class, strict=True) if share is not None] == [
        *("three", "seven", "eight")
    ]
    adapted = hdlif.adapt(net, data=data, replay=data, level="classifier", passes=1, out=out)
    assert adapted.accuracy_before == adapted.replay_before > 0.9
    assert load(out).labels == names
    with pytest.raises(HdlifError, match=r"has a class that the network lacks: ten; give data of the network's"):
        hdlif.evaluate(net, data=digit_folders(tmp_path / "more", {3: "three", 7: "ten"}), part="all")


def test_what_is_no_model_file_or_cannot_learn_is_refused_before_anything_is_written(
    run_folder: Path, forgetful: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.hdlif.safetensors"
    with pytest.raises(HdlifError, match="export a run or checkpoint first"):
        hdlif.adapt(run_folder, data="digits", out=out)
    whole = load(forgetful)
    each_step = replace(whole, task=replace(whole.task, kind="sequence", combine="each"))
    save(each_step, tmp_path / "each_step.hdlif.safetensors")
    with pytest.raises(HdlifError, match="the task sequence"):
        hdlif.adapt(tmp_path / "each_step.hdlif.safetensors", data="digits", out=out)
    before = forgetful.read_bytes()
    with pytest.raises(HdlifError, match=r"is the network itself; choose another file"):
        hdlif.adapt(forgetful, data="digits", out=forgetful)
    assert forgetful.read_bytes() == before
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


def test_a_stream_that_is_interrupted_before_its_first_window_has_no_accuracy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> Iterator[object]:
        raise KeyboardInterrupt
        yield

    path, out = tmp_path / "net.hdlif.safetensors", tmp_path / "out.hdlif.safetensors"
    save(series_network(), path)
    monkeypatch.setattr(adapt_stream, "_rows", interrupted)
    found = hdlif.adapt(path, stream=tmp_path / "rows.csv", target="what", out=out)
    assert (found.tested, found.updates, out.exists()) == (0, 0, False)
    assert "0% to 100%" in adapt._text(found)


def rows_of(x: np.ndarray, labels: list[str]) -> str:
    """CSV of two channels and a label."""
    lines = (f"{a!r},{b!r},{label}" for (a, b), label in zip(x.tolist(), labels, strict=True))
    return "\n".join(("a,b,what", *lines)) + "\n"


def test_a_stream_trains_as_the_learner_does_and_what_was_learned_is_kept(tmp_path: Path) -> None:
    graph, path, out = series_network(), tmp_path / "net.hdlif.safetensors", tmp_path / "out.hdlif.safetensors"
    save(graph, path)
    x = np.random.default_rng(0).normal(size=(5 * STEPS, 2)).astype(np.float32)
    labels = [("c" if t % 3 else "") if t // STEPS != 1 else "" for t in range(len(x))]
    (tmp_path / "rows.csv").write_text(rows_of(x, labels))
    given = ("--target", "what", "--level", "classifier", "--batch-size", 3, "--out", out, "--rate", 0.5)
    said = command("adapt", path, "--stream", tmp_path / "rows.csv", *given).stderr.splitlines()
    found = json.loads(command("adapt", path, "--stream", tmp_path / "rows.csv", *given, "--json").stdout)
    learner, right = hdlif.Learner(graph, "classifier", rate=hdlif.LearningRate(0.5)), [0, 0]
    session, learned = hdlif.Session(graph, 1), 0
    for window in range(5):
        own, state, logits = x[window * STEPS :][:STEPS], None, []
        frames = ((own - 0.5) / 2)[..., None, None].astype(np.float32)
        for t, frame in enumerate(frames):
            target = [2] if labels[window * STEPS + t] else None
            one, state = learner.step(frame[None], state, targets=target)
            logits.append(one[0])
        by_network = (session.run(frames[:, None]).mean(0)[0], np.mean(logits, 0))
        assert said[window].split()[0] == "abc"[int(by_network[1].argmax())]
        if window != 1:
            learned += 1
            right = [n + int(one.argmax() == 2) for n, one in zip(right, by_network, strict=True)]
            if learned == 3:
                learner.update()
    learner.update()
    assert dumps(load(out)) == dumps(learner.graph)
    assert (found["samples"], found["updates"], found["tested"]) == (4, 2, 4)
    assert [found["accuracy_before"], found["accuracy_after"]] == [n / 4 for n in right]
    out.unlink()
    for content, message, kept in (
        (rows_of(x[: 3 * STEPS + 1], ["a"] * 3 * STEPS + ["other"]), "label 'other' is unknown", True),
        (rows_of(x[:STEPS], ["a"] * (STEPS - 1) + ["other"]), "label 'other' is unknown", False),
        (rows_of(x, [""] * len(x)), "no window of 12 rows has a label", False),
        (rows_of(x, labels).replace("what", "where"), "it has no column", False),
    ):
        (tmp_path / "rows.csv").write_text(content)
        with naming(message):
            refused = command("adapt", path, "--stream", tmp_path / "rows.csv", *given)
            assert refused.returncode == 2
            assert message in refused.stderr
            assert out.exists() == kept
            out.unlink(missing_ok=True)
    for options, message in (
        (("--stream", tmp_path / "rows.csv"), "give either --data, or --stream with --target"),
        ((), "give either --data, or --stream with --target"),
        (("--data", "digits", "--target", "what"), "give either --data, or --stream with --target"),
    ):
        assert message in command("adapt", path, *options, "--out", out).stderr
    digits = CHECKOUT / "digits_hdlif_w1p5_s4.hdlif.safetensors"
    refused = command("adapt", digits, "--stream", tmp_path / "rows.csv", "--target", "what", "--out", out)
    assert "trains only networks that classify time series" in refused.stderr
