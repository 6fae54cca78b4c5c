"""Run folders: what is read, and what is refused."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cases import naming
from hdlif import training
from hdlif.errors import InputError
from hdlif.report import runs
from hdlif.report.runs import merge, read_run


def edited(path: Path, **changed: Any) -> None:
    """Change keys of a JSON object; None removes one."""
    numbers = json.loads(path.read_text()) | changed
    path.write_text(json.dumps({key: value for key, value in numbers.items() if value is not None}))


def test_a_training_is_read_and_called_by_its_folder(make_run):
    folder = make_run("photos", name="digits_hdlif")
    run = read_run(folder)
    assert [network.name for network in run.networks] == ["photos"]
    assert len(run.histories["photos"]) == 6
    assert run.recipes["photos"].startswith("seed: 42")
    assert run.folders == {"photos": folder}
    edited(folder / "summary.json", name=None)
    assert read_run(folder).networks == run.networks


def test_a_demo_is_read_with_its_networks_artefact_and_what_it_states_for_all(demo):
    numbers = json.loads((demo / "summary.json").read_text())
    del numbers["networks"][0]["versions"]
    edited(demo / "summary.json", networks=numbers["networks"], versions={"torch": "of the demo"})
    run = read_run(demo)
    assert [network.name for network in run.networks] == list(run.histories) == ["lif", "hdlif", "hdlif_w1p5_s4"]
    assert (run.artefact["bytes"], run.data) == (23144, "digits")
    assert [network.versions["torch"] for network in run.networks] == ["of the demo", "2.9.1", "2.9.1"]


def test_events_that_are_not_drawn_are_passed_over(make_run):
    folder = make_run()
    before = read_run(folder).histories
    with (folder / "metrics.jsonl").open("a") as metrics:
        for event in runs._NOT_DRAWN:
            metrics.write(json.dumps({"event": event, "epoch": 1, "step": 0, "seconds": 1.0, "damage": "x"}) + "\n")
    assert read_run(folder).histories == before
    sources = "".join(path.read_text("utf-8") for path in Path(training.__file__).parent.glob("*.py"))
    # A message to the user is in no file.
    written = set(re.findall(r"\.log\(\s*\"(\w+)\"", sources)) - {"message"}
    assert written == {"train", "validation", *runs._NOT_DRAWN}


EARLY = {"time_steps": 4, "confidence": [0.0, 1.0], "steps": [1.0, 4.0], "accuracy": [0.5, 0.75]}
ERRORS = {"names": ["a"], "mean": [0.5], "deviation": [1.0], "true": [[1.0, 2.0]], "predicted": [[1.0, 3.0]]}
COUNTS = ("true_positives", "false_positives", "true_negatives", "false_negatives")
# The field of a run, its file and content, and changes that damage it.
MEASURED = [
    (
        *("confusions", "confusion.json", {"labels": ["a", "b"], "counts": [[1, 2], [3, 4]]}),
        [{"counts": [[1, 2]]}, {"counts": [[1], [2]]}, {"labels": 1}],
    ),
    ("early", "early.json", EARLY, [{"steps": [1.0]}, {"accuracy": [0.5, None]}]),
    ("errors", "errors.json", ERRORS, [{"mean": []}, {"predicted": [[1.0]]}]),
    ("labels", "labels.json", {"names": ["a"], "f1": [0.5], **{key: [1] for key in COUNTS}}, [{"f1": []}]),
]


def test_what_was_measured_is_read_follows_its_network_and_is_refused_if_damaged(make_run):
    for field, file, numbers, damages in MEASURED:
        one, two = make_run(f"x/{field}"), make_run(f"y/{field}")
        (two / file).write_text(json.dumps(numbers))
        run = merge([read_run(one), read_run(two)])
        assert getattr(run, field) == {run.networks[1].name: numbers}, field
        for changed in damages:
            (two / file).write_text(json.dumps(numbers | changed))
            with naming(field, changed), pytest.raises(InputError, match=re.escape(file)):
                read_run(two)


def test_a_missing_file_and_folder_are_named(make_run, tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        read_run(tmp_path / "nowhere")
    for name in ("summary.json", "metrics.jsonl", "recipe.yaml"):
        folder = make_run(name)
        (folder / name).unlink()
        with pytest.raises(InputError, match=rf"{name} is missing.*`hdlif train RECIPE --resume`"):
            read_run(folder)


def test_a_damaged_demo_is_refused(demo):
    first = json.loads((demo / "summary.json").read_text())["networks"][0]
    for damaged, place in (
        ([], "networks is empty"),
        ([first, first], "'lif' stands twice"),
        ([first | {"name": "../lif"}], r"'\.\./lif'"),
        ([first | {"name": "gone"}], r"gone.metrics\.jsonl is missing"),
    ):
        edited(demo / "summary.json", networks=damaged)
        with pytest.raises(InputError, match=place):
            read_run(demo)


def test_networks_of_one_name_are_told_apart_by_folder(make_run, tmp_path):
    other = make_run("elsewhere/lif")
    merged = merge([read_run(make_run("lif")), read_run(other), read_run(make_run("hdlif"))])
    names = [(tmp_path / "lif").as_posix(), other.as_posix(), "hdlif"]
    assert [network.name for network in merged.networks] == names
    assert list(merged.histories) == list(merged.recipes) == list(merged.folders) == names


def test_a_run_given_twice_and_two_demos_are_refused(make_run, demo):
    for run, why in ((read_run(make_run()), "twice"), (read_run(demo), "demos")):
        with pytest.raises(InputError, match=why):
            merge([run, run])
