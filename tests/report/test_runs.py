"""Run folders: what is read and drawn, and what is refused in one printable line of an `InputError`."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hdlif
from cases import naming
from hdlif import training
from hdlif.cli.report import report
from hdlif.errors import InputError, MissingExtraError, TrainingError
from hdlif.recipe.runs.summary import TrainResult
from hdlif.report import runs
from hdlif.report.coherence import section
from hdlif.report.page import render
from hdlif.report.runs import Run, merge, read_run
from hostile import NAMES, VALUES, one_printable_line
from resource_limits import within_cpu_seconds
from special_files import NO_FILES


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
IMAGE = {"score": 0.5, "truth": "iVBORw0KGgo=", "answer": "iVBORw0KGgo="}
# The field of a run, its file and content, and changes that damage it.
MEASURED = [
    (
        *("confusions", "confusion.json", {"labels": ["a", "b"], "counts": [[1, 2], [3, 4]]}),
        [{"counts": [[1, 2]]}, {"counts": [[1], [2]]}, {"labels": 1}],
    ),
    ("early", "early.json", EARLY, [{"steps": [1.0]}, {"accuracy": [0.5, None]}]),
    ("errors", "errors.json", ERRORS, [{"mean": []}, {"predicted": [[1.0]]}]),
    ("labels", "labels.json", {"names": ["a"], "f1": [0.5], **{key: [1] for key in COUNTS}}, [{"f1": []}]),
    ("galleries", "gallery.json", {"images": [IMAGE]}, [{"images": [IMAGE | {"truth": '"><script>'}]}, {"images": 1}]),
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
        ([first, first], "'lif' is listed twice"),
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


def test_demo_gets_its_page_in_its_folder(demo):
    assert report([demo]) == {"report": str(demo / "report.html")}
    page = (demo / "report.html").read_text(encoding="utf-8")
    assert "<h1>3 networks on digits</h1>" in page
    assert f"hdlif demo --data digits --out {demo.as_posix()}" in page


def test_runs_side_by_side_go_to_the_current_folder(make_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert report([make_run("lif"), make_run("my run")]) == {"report": "report.html"}
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h1>2 networks compared</h1>" in page
    # A command that can be pasted: the space is quoted.
    folder = (tmp_path / "my run").as_posix()
    assert f"hdlif train &#39;{folder}/recipe.yaml&#39; --out &#39;{folder}&#39;" in page


def test_what_cannot_be_reported_or_written_is_refused_and_the_old_page_stays(make_run):
    folder, damaged = make_run(), make_run("damaged")
    (damaged / "report.html").write_text("old")
    (damaged / "metrics.jsonl").write_text("{")
    for folders, neurons, why in (
        ([], None, r"."),
        ([folder], "act1:0", r"."),
        ([damaged], None, r"metrics\.jsonl line 1"),
    ):
        with pytest.raises(InputError, match=why):
            report(folders, neurons=neurons)
    assert (damaged / "report.html").read_text() == "old"
    (folder / "report.html").mkdir()
    with pytest.raises(TrainingError, match=r"report\.html"):
        report([folder])


def test_missing_package_names_the_extra(make_run, monkeypatch):
    for package in ("jinja2", "matplotlib"):
        with monkeypatch.context() as patch:
            # What is imported meanwhile takes its place in the package, which later tests look into.
            patch.setitem(vars(hdlif), "report", hdlif.report)
            for module in [name for name in sys.modules if name.startswith("hdlif.report")]:
                patch.delitem(sys.modules, module)
            patch.setitem(sys.modules, package, None)
            with pytest.raises(MissingExtraError, match=rf"{package} .*\[train\]"):
                report([make_run()])


FILES = ("summary.json", "metrics.jsonl", "recipe.yaml", "confusion.json", "early.json", "coherence.json")
TEXTS = ["", "{", "null", "3", "[]", "{}", "NaN", '"\\ud800"', "[" * 100_000, '{"a":' * 100_000, "1" * 5000]
TEXTS += ['{"name": "\\u001b[31m"}', '{"networks": 3}', '{"networks": []}', '{"networks": [{}]}']
TEXTS += ['{"networks": [{"target": "x", "neuron": "a", "loss": "a", "rules": {"sltt": {}}}]}', '{"x": "' + "y" * 9999]


def passes(read: Callable[[Path], object], folder: Path) -> bool:
    try:
        with within_cpu_seconds(60):
            read(folder)
    except InputError as error:
        one_printable_line(error)
        return False
    return True


def test_a_file_with_any_text_is_read_or_refused(make_run: Callable[..., Path]) -> None:
    for name in FILES:
        folder = make_run(name)
        for text in TEXTS:
            (folder / name).write_text(text)
            if passes(read_run, folder) and name != "recipe.yaml":
                with naming(name, text[:20]):
                    assert report([folder], out=folder / "page.html")


def test_what_is_no_text_file_is_refused_soon(make_run: Callable[..., Path]) -> None:
    # No events yet, bytes that state nothing, a link to nothing in place of a file that may be missing.
    read = {("metrics.jsonl", "nothing"), ("recipe.yaml", "nothing")}
    read |= {("confusion.json", "loop"), ("early.json", "loop"), ("coherence.json", "loop")}
    for name in FILES:
        for kind, make in NO_FILES.items():
            folder = make_run(f"{name} {kind}")
            (folder / name).unlink(missing_ok=True)
            make(folder / name)
            with naming(name, kind):
                assert passes(read_run, folder) == ((name, kind) in read)


def test_a_summary_with_any_value_is_read_or_refused(make_run: Callable[..., Path]) -> None:
    one = make_run()
    path = one / "summary.json"
    text = path.read_text().strip()
    summary = json.loads(text)
    values = [value for value in VALUES if not isinstance(value, bytes | set | complex)]
    for key in ("name", "accuracy", "accuracy_per_step", "layers", "neurons", "sops", "recipe", "hardware"):
        for value in values:
            path.write_text(json.dumps(summary | {key: value}))
            passes(read_run, one)
    for opened, closed in (("[", "]"), ('{"a":', "}")):
        for depth in (100, 900, 5000):
            path.write_text(f'{text[:-1]},"recipe":{opened * depth}1{closed * depth}}}')
            assert not passes(read_run, one)
    # A network's name must be a single folder.
    for name in NAMES.values():
        path.write_text(json.dumps({"networks": [summary | {"name": name}]}))
        assert not passes(read_run, one), name


def layer(name: str, kind: str, cosine: float | None, **changed: Any) -> dict[str, Any]:
    figures = {"cosine": cosine, "norm_ratio": cosine, "equal": 0.75, "dropped": 0.25, "wrong": 0.0, "firing_rate": 0.5}
    return figures | {"name": name, "kind": kind, "per_step": [{"cosine": cosine}, {"cosine": None}]} | changed


def rule(cosine: float, **changed: Any) -> dict[str, Any]:
    return {
        "local": {"layers": [layer("act1", "neuron", cosine, **changed), layer("fc", "synapse", None)]},
        "end_to_end": {"layers": [layer("fc", "synapse", cosine)], "cosine": cosine},
    }


def entry(neuron: str, cosine: float = 0.9, **changed: Any) -> dict[str, Any]:
    rules = {"sltt": rule(cosine), "stochastic_step": rule(cosine)}
    of_all = {"target": "digits_hdlif", "loss": "mean_logits", "trained": False}
    return of_all | {"neuron": neuron, "rules": rules} | changed


def test_rules_that_are_alike_share_a_series_in_a_section_with_a_legend_of_its_own() -> None:
    bare = [TrainResult(name="lif", accuracy=0.5, accuracy_per_step=())]
    entries = [entry("hdlif"), entry("lif", rules={"sltt": rule(0.8), "ottt": rule(0.7)})]
    names = section(entries).names
    assert [name.removeprefix("digits_hdlif ") for name in names] == [
        "hdlif (untrained), sltt and stochastic_step",
        "lif (untrained), sltt",
        "lif (untrained), ottt",
    ]
    page = render(Run(bare, coherence=entries))
    assert all(f"<span>{name}</span>" in page for name in names)
    charts = re.findall(r'<title id="coherence-([\w-]+)-title"', page)
    assert charts == ["firing-rate", "dropped", "wrong", "local", "end-to-end", "step-0"]
    assert "Gradient coherence" not in render(Run(bare))


def test_figures_show_shares_distances_and_steps() -> None:
    drawn = section([entry("lif", rules={"sltt": rule(0.75, wrong=0.125)})])
    rows = {figure.headings[0]: figure.rows for figure in drawn.figures}
    values = {"fraction of wrong entries": 0.125, "fraction of dropped entries": 0.25}
    for heading, value in (values | {"fraction of non-zero spikes": 0.5, "1 − cosine": 0.25}).items():
        assert float(rows[f"layer ({heading})"][0][1]) == value
    # a step without a gradient is a gap
    assert drawn.figures[-1].rows == [["act1", drawn.names[0], "0.250, —"]]


def test_entries_of_a_demo_its_networks_and_several_runs_come_together(demo: Path, make_run) -> None:
    other = make_run("other")
    for folder, neuron in ((demo, "hdlif"), (demo / "lif", "lif"), (other, "parallel_hdlif")):
        (folder / "coherence.json").write_text(json.dumps({"networks": [entry(neuron)]}))
    run = merge([read_run(demo), read_run(other)])
    assert [one["neuron"] for one in run.coherence] == ["hdlif", "lif", "parallel_hdlif"]
