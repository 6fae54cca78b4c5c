"""From data of one's own, of each kind, through training to `hdlif eval`, `profile` and `run`."""

import json
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from after_epoch import AfterEpoch
from cases import naming
from cli.own_kinds import KINDS, Made
from hdlif.cli.eval import evaluate
from hdlif.cli.predict import predict_files as run
from hdlif.cli.profile import profile
from hdlif.errors import CheckpointError, DataError, RecipeError
from hdlif.graph.artefact import load
from hdlif.recipe import builders
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.runtime import Session
from hdlif.training.tasks import Evaluation

Own = Callable[[str], Made]


@pytest.mark.parametrize("name", KINDS)
def test_run_gives_what_training_was_shown_to_the_bit(name: str, own: Own, tmp_path: Path) -> None:
    kind, made = KINDS[name], own(name)
    recipe, graph = load_trained(made.run).recipe, load(made.network)
    assert (graph.input, graph.labels) == (builders.input_record(recipe), kind.classes)
    classes = defaultdict(set)
    for one in run(made.network, [kind.shown(tmp_path) if kind.shown else Path(made.data)]).inputs:
        classes[tuple(one.answer["logits"])].add(kind.class_of(one.input))
    session, parts = Session(made.network), builders.build_data(recipe).parts
    assert sum(map(len, parts)) == kind.samples
    for part in parts:
        x, targets = part.plain().sequence(torch.arange(len(part)))
        for index, target in enumerate(targets):
            (logits,) = session.run(x[:, index : index + 1].contiguous().numpy()).mean(axis=0)
            assert kind.classes[target] in classes[tuple(logits.tolist())]


@pytest.mark.parametrize("name", KINDS)
def test_each_subcommand_takes_the_run_the_network_and_the_data(name: str, own: Own) -> None:
    kind, made = KINDS[name], own(name)
    tested = evaluate(made.run)
    assert (tested.n, tested.labels) == (kind.tested, kind.classes)
    for network in (made.run, made.network):
        assert evaluate(network, data=made.data, overrides=kind.described).accuracy == tested.accuracy
    of_run, of_file = profile(str(made.run)), profile(str(made.network), data=made.data, overrides=kind.described)
    assert of_run.images == kind.tested
    assert of_file.sops == pytest.approx(of_run.sops, rel=1e-3)
    # What was found stands in the run folder.
    listed, recipe = json.loads((made.run / "data_files.json").read_text()), load_trained(made.run).recipe
    assert len(listed["files"]) == kind.samples
    assert recipe.data.found is not None
    assert recipe.data.found.digest == listed["digest"]
    assert json.loads((made.run / "confusion.json").read_text())["labels"] == list(kind.classes)


def test_a_training_does_not_go_on_where_a_sample_changed(
    own: Own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, kind in KINDS.items():
        if kind.change is None:
            continue
        out = shutil.copytree(own(name).run, tmp_path / name / "run")
        (out / "summary.json").unlink()
        copy = kind.write(tmp_path / name / "copy")
        with naming(name), monkeypatch.context() as patched:
            changed = kind.change(Path(copy), patched)
            with pytest.raises(DataError, match=f"not as it was when the training in .* began: {changed}"):
                kind.train(copy, out, resume=True)
            with pytest.raises(CheckpointError, match=r"training\.learning_rate"):
                kind.train(copy, out, "training.learning_rate=0.5", resume=True)


def test_a_training_goes_on_to_the_same_bytes_wherever_its_data_lie(
    own: Own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StoppedError(Exception):
        pass

    def stop(epoch: int, result: Evaluation) -> None:
        if epoch > 1:
            raise StoppedError

    kind, made, out = KINDS["pictures"], own("pictures"), tmp_path / "run"
    # Pictures are read as batches ask for them, by workers too.
    monkeypatch.setattr("hdlif.data.sources.pictures.MOST_KEPT", 0)
    with pytest.raises(StoppedError):
        kind.train(made.data, out, callbacks=[AfterEpoch(stop)])
    kind.train(kind.write(tmp_path / "moved"), out, resume=True, workers=2)
    assert (out / "model.safetensors").read_bytes() == (made.run / "model.safetensors").read_bytes()


def test_a_run_is_not_tested_on_data_that_changed_or_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = KINDS["pictures"]
    assert kind.change is not None
    data, out = Path(kind.write(tmp_path)), tmp_path / "run"
    kind.train(data, out, "training.epochs=1")
    moved = shutil.copytree(data, tmp_path / "moved")
    with pytest.raises(DataError, match=kind.change(data, monkeypatch)):
        evaluate(out)
    shutil.rmtree(data)
    with pytest.raises(DataError, match="--data"):
        evaluate(out)
    assert evaluate(out, data=str(moved)).n == kind.tested


def test_run_needs_no_torch(own: Own) -> None:
    files = {"series": "data/slow/003.csv", "recording": "data.csv", "sounds": "data/low/p0_0.wav"}
    files |= {"events": "data/left/001.npz", "table": "data.csv", "pictures": "data/cat/001.png"}
    pairs = [(str(own(name).network), str(own(name).run.parent / file)) for name, file in files.items()]
    code = """
import json, sys
sys.modules["torch"] = None
from pathlib import Path
from hdlif.cli.predict import predict_files
print(json.dumps([predict_files(Path(net), [Path(file)]).as_dict() for net, file in json.loads(sys.argv[1])]))
assert not [name for name in sys.modules if name.startswith(("torchvision", "lightning"))]
"""
    child = subprocess.run([sys.executable, "-c", code, json.dumps(pairs)], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    assert json.loads(child.stdout) == [run(Path(net), [Path(file)]).as_dict() for net, file in pairs]


def test_data_of_another_kind_than_the_networks_are_refused(own: Own) -> None:
    for name, data in (
        ("series", own("pictures").data),
        ("pictures", own("series").data),
        ("data set", "own_sets:waves"),
        ("data set", own("events").data),
        ("sounds", own("series").data),
        ("series", "digits"),
        ("events", "digits"),
    ):
        for network in (own(name).run, own(name).network):
            with pytest.raises((DataError, RecipeError)):
                evaluate(network, data=data)
