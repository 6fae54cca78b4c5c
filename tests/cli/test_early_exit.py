"""A confidence in a model file: how it is chosen, stored and printed, and who uses it unless told otherwise."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hdlif as package
from cases import naming
from command_line import hdlif
from deployed_graphs import random_input, residual_network
from hdlif.cli.export import export_file as export
from hdlif.cli.predict import predict_files
from hdlif.cli.stream import stream
from hdlif.errors import ArgumentError, DataError, HdlifError
from hdlif.graph.artefact import TaskRecord, load, save
from hdlif.recipe import builders
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.runtime import Session, reference
from hdlif.training.tasks.classify import CONFIDENCES
from series_networks import STEPS, series_network

CONFIDENCE = 0.97


@pytest.fixture
def network(tmp_path: Path) -> Path:
    save(replace(residual_network(), confidence=CONFIDENCE), tmp_path / "net.hdlif.safetensors")
    return tmp_path / "net.hdlif.safetensors"


def softmax_so_far(logits: np.ndarray) -> np.ndarray:
    """Of the mean of the logits [T, B, classes] after each step, in float64."""
    means = logits.astype(np.float64).cumsum(0) / np.arange(1, len(logits) + 1)[:, None, None]
    powers = np.exp(means - means.max(-1, keepdims=True))
    found: np.ndarray = powers / powers.sum(-1, keepdims=True)
    return found


def first_sure(logits: np.ndarray, confidence: float) -> np.ndarray:
    """Places of the first steps whose probability is large enough, or of the last steps."""
    reached = softmax_so_far(logits).max(-1) >= confidence
    return np.where(reached.any(0), reached.argmax(0), len(logits) - 1)


def test_the_commands_use_the_stored_confidence_unless_told(network: Path, tmp_path: Path) -> None:
    x, arrays = random_input(residual_network(), 1, 20), tmp_path / "x.npy"
    np.save(arrays, x[0])
    logits = reference.run(residual_network(), x)
    stored, lower = ((first_sure(logits, one) + 1).tolist() for one in (CONFIDENCE, 0.6))
    assert len({tuple(stored), tuple(lower), (4,) * 20}) == 3
    for options, expected in (((), stored), (("auto",), stored), ((0.6,), lower), (("off",), None)):
        given = ("--confidence", *options) if options else ()
        done = hdlif("run", network, arrays, "--json", *given)
        answers = json.loads(done.stdout)["inputs"]
        found = [one["steps"] for one in answers] if expected else None
        assert found == expected, options
        assert expected or all("steps" not in one for one in answers)
        predicted = package.predict(network, arrays, **({"confidence": options[0]} if options else {}))
        assert [{"input": one["input"], **answer} for one, answer in zip(answers, predicted, strict=True)] == answers
    session = Session(network)
    assert session.confidence == CONFIDENCE
    np.testing.assert_array_equal(session.run(x), logits)
    assert session.run(x, confidence="auto").steps.tolist() == stored


def test_a_file_without_a_confidence_refuses_auto_alone(tmp_path: Path) -> None:
    plain, arrays = tmp_path / "plain.hdlif.safetensors", tmp_path / "x.npy"
    save(residual_network(), plain)
    x = random_input(residual_network(), 1, 2)
    np.save(arrays, x[0])
    assert Session(plain).confidence is None
    for call in (
        lambda: Session(plain).run(x, confidence="auto"),
        lambda: predict_files(plain, [arrays], confidence="auto"),
    ):
        with pytest.raises(HdlifError, match='"auto", but the model file has none'):
            call()
    for confidence in (None, "off"):
        assert "steps" not in predict_files(plain, [arrays], confidence=confidence).inputs[0].answer
    refused = hdlif("run", plain, arrays, "--confidence", "none")
    assert (refused.returncode, "'none' is not a valid float" in refused.stderr) == (2, True), refused.stderr


def test_a_stream_uses_it_unless_told(tmp_path: Path) -> None:
    artefact, samples = tmp_path / "net.hdlif.safetensors", tmp_path / "x.npy"
    save(replace(series_network(), confidence=0.5), artefact)
    np.save(samples, np.random.default_rng(0).normal(0.5, 4, (20 * STEPS, 2)).astype(np.float32))
    options = (None, "auto", "off", 0.5)
    by_option = {option: [one.step for one in stream(artefact, samples, confidence=option)] for option in options}
    assert by_option[None] == by_option["auto"] == by_option[0.5]
    assert min(by_option[None]) < STEPS
    assert by_option["off"] == 20 * [STEPS]
    np.save(samples, np.load(samples)[:STEPS])
    done = hdlif("run", artefact, samples, "--page", tmp_path / "a.html", "--confidence", "off")
    assert done.returncode == 0, done.stderr


def test_auto_is_the_smallest_confidence_that_keeps_the_accuracy_of_the_validation_part(
    run_folder: Path, tmp_path: Path
) -> None:
    trained = load_trained(run_folder)
    graph, sets = trained.graph(), builders.build_data(trained.recipe, None)
    x, target = next(iter(sets.validation.sequences(len(sets.validation))))
    logits = reference.run(graph, x.numpy(), graph.time_steps)
    classes = softmax_so_far(logits).argmax(-1)
    whole = float((classes[-1] == target.numpy()).mean())
    for max_drop in (0.0, 5.0):
        wanted = None
        for confidence in CONFIDENCES:
            last = first_sure(logits, confidence)
            accuracy = float((classes[last, np.arange(len(last))] == target.numpy()).mean())
            if wanted is None and 100 * (whole - accuracy) <= max_drop + 1e-9:
                wanted = {"confidence": confidence, "steps": last.mean() + 1, "accuracy": accuracy}
        out = tmp_path / f"{max_drop}.hdlif.safetensors"
        done = hdlif("export", run_folder, "--out", out, "--confidence", "auto", "--max-drop", max_drop, "--json")
        found = json.loads(done.stdout)["early"]
        assert found == {
            **(wanted or {}),
            "all_steps": graph.time_steps,
            "accuracy_of_all": whole,
            "samples": len(sets.validation),
        }
        assert load(out).confidence == found["confidence"]
    assert found["steps"] < graph.time_steps
    text = export(run_folder, out, confidence="auto", max_drop=5).text()
    assert f"early exit: confidence {found['confidence']:g}, accuracy {found['accuracy']:.2%}" in text


def test_a_given_confidence_changes_nothing_else_in_the_file(artefact: Path, run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "net.hdlif.safetensors"
    for confidence in (0.0, 0.95):
        package.export(run_folder, out, confidence=confidence)
        assert load(out).confidence == confidence
    assert b"confidence" not in artefact.read_bytes()
    save(replace(load(out), confidence=None), out)
    assert out.read_bytes() == artefact.read_bytes()


def test_what_a_confidence_needs_is_said_before_anything_is_written(
    run_folder: Path, artefact: Path, tmp_path: Path
) -> None:
    out, values = tmp_path / "new" / "net.hdlif.safetensors", tmp_path / "values.hdlif.safetensors"
    graph = residual_network()
    save(replace(graph, task=TaskRecord("regress", mean=(0.0,) * 3, std=(1.0,) * 3)), values)
    in_c = {"to": "c", "out": out.with_name("net.c")}
    for error, words, network, options in (
        (
            ArgumentError,
            "--confidence applies only to --to artefact and --to c",
            run_folder,
            {"to": "nir", "confidence": 0.5},
        ),
        (ArgumentError, "--max-drop 1: expected 0 to 100", run_folder, {"confidence": 0.5, "max_drop": 1.0}),
        (ArgumentError, "--max-drop -1", run_folder, {"confidence": "auto", "max_drop": -1.0}),
        (ArgumentError, "apply only to --confidence auto", run_folder, {"data": "digits"}),
        (HdlifError, "confidence = 2; give a number in 0..1", run_folder, {"confidence": 2}),
        (HdlifError, "the network's task is regress", values, {**in_c, "confidence": 0.5}),
        (HdlifError, "the network's task is regress", values, {**in_c, "confidence": "auto", "data": "digits"}),
        (DataError, "give --data NAME or a folder", artefact, {**in_c, "confidence": "auto"}),
    ):
        with naming(words), pytest.raises(error, match=words):
            export(network, **{"out": out, **options})
    assert not out.parent.exists()
