"""Run folders: what is read, and what is refused with which mend."""

import inspect
import json
import re

import pytest

from hdlif.errors import InputError
from hdlif.report import runs
from hdlif.report.runs import merge, read_run
from hdlif.training import training


def test_training_is_read_whole(make_run):
    folder = make_run("lif")
    run = read_run(folder)
    assert [network.name for network in run.networks] == ["lif"]
    assert len(run.histories["lif"]) == 6
    assert run.recipes["lif"].startswith("seed: 42")
    assert run.folders == {"lif": folder}


def test_demo_is_read_with_its_networks_and_artefact(demo):
    run = read_run(demo)
    assert [network.name for network in run.networks] == ["lif", "hdlif", "hdlif_w1p5_s4"]
    assert run.artefact["bytes"] == 23144
    assert run.data == "digits"
    assert set(run.histories) == {"lif", "hdlif", "hdlif_w1p5_s4"}


def test_network_takes_what_the_demo_states_for_all(demo):
    path = demo / "summary.json"
    numbers = json.loads(path.read_text())
    del numbers["networks"][0]["versions"]
    path.write_text(json.dumps(numbers | {"versions": {"torch": "of the demo"}}))
    lif, hdlif, _ = read_run(demo).networks
    assert lif.versions == {"torch": "of the demo"}
    assert hdlif.versions == {"torch": "2.9.1"}


def test_summary_without_a_name_takes_its_folders(make_run):
    folder = make_run("mine")
    path = folder / "summary.json"
    numbers = json.loads(path.read_text())
    del numbers["name"]
    path.write_text(json.dumps(numbers))
    assert read_run(folder).networks[0].name == "mine"


def test_a_run_is_called_by_its_folder(make_run):
    folder = make_run("photos", name="digits_hdlif")
    run = read_run(folder)
    assert [network.name for network in run.networks] == list(run.histories) == ["photos"]
    assert json.loads((folder / "summary.json").read_text())["name"] == "digits_hdlif"


def test_absent_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"nowhere is not a folder; give the OUT folder of `hdlif train`"):
        read_run(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "event",
    [
        {"event": "surrogate", "temperature": 3.2},
        {"event": "fallback", "damage": "x"},
        {"event": "threads", "count": 1, "seconds_per_update": {"1": 0.1, "2": 0.2}},
    ],
)
def test_events_that_are_not_drawn_are_passed_over(make_run, event):
    folder = make_run()
    before = read_run(folder).histories
    with (folder / "metrics.jsonl").open("a") as metrics:
        metrics.write(json.dumps({**event, "epoch": 1, "step": 0, "seconds": 1.0}) + "\n")
    assert read_run(folder).histories == before


CONFUSION = {"labels": ["a", "b"], "counts": [[1, 2], [3, 4]]}


def test_confusion_is_read_where_there_is_one_and_follows_its_network(make_run):
    one, two = make_run("x/lif"), make_run("y/lif")
    (two / "confusion.json").write_text(json.dumps(CONFUSION))
    run = merge([read_run(one), read_run(two)])
    assert run.confusions == {run.networks[1].name: CONFUSION}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"counts": [[1, 2]]}, "not a square of 2 classes"),
        ({"counts": [[1], [2]]}, "not a square"),
        ({"labels": 1}, "labels"),
    ],
)
def test_damaged_confusion_is_refused(make_run, changed, message):
    folder = make_run()
    (folder / "confusion.json").write_text(json.dumps(CONFUSION | changed))
    with pytest.raises(InputError, match=rf"confusion\.json.*{message}"):
        read_run(folder)


EARLY = {"time_steps": 4, "confidence": [0.0, 1.0], "steps": [1.0, 4.0], "accuracy": [0.5, 0.75]}


def test_what_answering_early_costs_is_read_where_there_is_one_and_follows_its_network(make_run):
    one, two = make_run("x/lif"), make_run("y/lif")
    (two / "early.json").write_text(json.dumps(EARLY))
    run = merge([read_run(one), read_run(two)])
    assert run.early == {run.networks[1].name: EARLY}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": [1.0]}, "not as long as one another"),
        ({"accuracy": [0.5, None]}, "accuracy"),
        ({"steps": 1}, "steps"),
    ],
)
def test_damaged_figures_of_answering_early_are_refused(make_run, changed, message):
    folder = make_run()
    (folder / "early.json").write_text(json.dumps(EARLY | changed))
    with pytest.raises(InputError, match=rf"early\.json.*{message}"):
        read_run(folder)


@pytest.mark.parametrize("name", ["summary.json", "metrics.jsonl", "recipe.yaml"])
def test_missing_file_is_named_with_the_mend(make_run, name):
    folder = make_run()
    (folder / name).unlink()
    with pytest.raises(InputError, match=rf"{name} is missing.*`hdlif train RECIPE --resume`"):
        read_run(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("summary.json", b"{", r"summary\.json is not JSON"),
        ("summary.json", b"[]", r"summary\.json holds a list"),
        ("summary.json", b"\xff\xfe", r"summary\.json cannot be read"),
        ("summary.json", 100_000 * b"[", r"summary\.json is not JSON"),
        ("summary.json", b"{}", r"summary\.json: accuracy: Field required"),
        ("metrics.jsonl", b'{"event": "train", "epo', r"metrics\.jsonl line 1 is not JSON"),
        ("metrics.jsonl", b"{}\n", r"metrics\.jsonl line 1: event: Field required"),
    ],
)
def test_damaged_file_is_refused_in_one_line(make_run, name, content, message):
    folder = make_run()
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_run(folder)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400 + len(str(folder))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"accuracy": "high"}, r"accuracy = 'high'"),
        ({"accuracy": float("nan")}, r"accuracy = nan"),
        ({"sops": [1]}, r"sops = \[1\]"),
        ({"accuracy_per_step": [0.5, None]}, r"accuracy_per_step\.1 = None"),
        ({"layers": [{"name": "a\nb"}]}, r"layers\.0\.name = 'a\\nb': .*printable"),
        ({"name": ""}, r"name = ''"),
    ],
)
def test_wrong_value_is_named_with_its_place(make_run, changed, message):
    with pytest.raises(InputError, match=message):
        read_run(make_run("run", **changed))


@pytest.mark.parametrize(
    ("edited", "message"),
    [
        (lambda networks: [], "networks is empty"),
        (lambda networks: [networks[0], networks[0]], "'lif' stands twice"),
        (lambda networks: [networks[0] | {"name": "../lif"}], r"'\.\./lif' stands twice or is not a folder's name"),
        (lambda networks: [networks[0] | {"name": "gone"}], r"gone.metrics\.jsonl is missing"),
    ],
)
def test_damaged_demo_is_refused(demo, edited, message):
    path = demo / "summary.json"
    numbers = json.loads(path.read_text())
    path.write_text(json.dumps(numbers | {"networks": edited(numbers["networks"])}))
    with pytest.raises(InputError, match=message):
        read_run(demo)


def test_networks_of_one_name_are_told_apart_by_folder(make_run, tmp_path):
    other = make_run("elsewhere/lif")
    merged = merge([read_run(make_run("lif")), read_run(other), read_run(make_run("hdlif"))])
    names = [(tmp_path / "lif").as_posix(), other.as_posix(), "hdlif"]
    assert [network.name for network in merged.networks] == names
    assert list(merged.histories) == list(merged.recipes) == list(merged.folders) == names


def test_run_given_twice_is_refused(make_run):
    run = read_run(make_run())
    with pytest.raises(InputError, match="is given twice"):
        merge([run, run])


def test_two_demos_are_refused(demo):
    run = read_run(demo)
    with pytest.raises(InputError, match="2 of the runs are demos"):
        merge([run, run])


def test_every_event_that_a_training_writes_is_read() -> None:
    written = set(re.findall(r"self\.log\(\s*\"(\w+)\"", inspect.getsource(training)))
    assert {"train", "validation", "threads"} <= written
    assert written == {"train", "validation", *runs._NOT_DRAWN}
