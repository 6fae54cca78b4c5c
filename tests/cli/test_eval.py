"""`hdlif eval`: a network and the data that it is asked about, which ship or are one's own."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hdlif
from cases import every, naming
from cli.own_kinds import KINDS
from command_line import hdlif as command
from hdlif.cli.eval import evaluate
from hdlif.cli.export import export_file
from hdlif.cli.profile import profile
from hdlif.data import Images, delayed_xor
from hdlif.data.samples import DataSets, Together
from hdlif.deploy import export
from hdlif.errors import DataError, InputError, RecipeError
from hdlif.inputs.memory_tasks import DelayedXor
from hdlif.models import resnet
from hdlif.nn import HDLIF
from hdlif.recipe import builders, load_recipe
from hdlif.recipe.runs import tested_data as module
from series_files import write_csv, write_folders, write_recording
from trainings import train


def test_a_network_of_other_classes_than_the_data_is_refused(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = resnet(neuron=lambda place: HDLIF(4), blocks=[1], width=4, classes=12, in_channels=1).eval()
    labels = tuple(f"class {number}" for number in range(12))
    export(network, tmp_path / "net", input=builders.DATA["digits"].input, labels=labels, time_steps=4)
    with pytest.raises(DataError, match=r"12 outputs, .* but the data set has 10"):
        evaluate(tmp_path / "net", data="digits")
    named = module.sets_named

    def of_seven(*arguments: object, **options: object) -> DataSets:
        sets: DataSets = named(*arguments, **options)  # type: ignore[arg-type]
        return replace(sets, classes=sets.classes[3:])

    monkeypatch.setattr(module, "sets_named", of_seven)
    with pytest.raises(DataError, match=r"10 outputs, .* but the data set has 7"):
        evaluate(run_folder, data="digits")


def test_what_answering_early_costs_is_said_of_a_run_and_of_its_file_alike(run_folder: Path, artefact: Path) -> None:
    early = json.loads((run_folder / "early.json").read_text())
    accuracy, steps = early["accuracy"], early["steps"]
    said = command("eval", run_folder, "--early").stdout
    assert f"0.9{steps[10]:.2f}{accuracy[10]:.2%}" in said.replace(" ", "")
    for path in (run_folder, artefact):
        found = evaluate(path, data="digits")
        assert "early" not in found.as_dict()
        assert found.as_dict(early=True)["early"]["confidence"] == early["confidence"]
        np.testing.assert_allclose(found.as_dict(early=True)["early"]["steps"], early["steps"], atol=0.02)
    of_run = evaluate(run_folder, data="digits").per_step
    assert (accuracy[0], accuracy[-1]) == (of_run[0], of_run[-1])


def test_a_network_trained_in_float64_is_measured_and_exported(tmp_path: Path) -> None:
    small = ["training.epochs=1", "data.batch_size=32", "model.width=4", "model.blocks=[1]", "data.train=64"]
    overrides = [*small, "training.precision=64-true"]
    result = train("digits_hdlif", overrides=overrides, out=tmp_path / "run", memory_repeats=0)
    export_file(tmp_path / "run", out=tmp_path / "net.hdlif.safetensors")
    for path in (tmp_path / "run", tmp_path / "net.hdlif.safetensors"):
        assert evaluate(path, data="digits").accuracy == pytest.approx(result.accuracy, abs=0.01)


def test_an_argument_of_a_runs_data_leaves_its_others_as_they_were_and_is_not_one_of_other_data(tmp_path: Path) -> None:
    recipe = load_recipe("delayed_xor_hdlif", ["data.delay=5", "time_steps=6", "data.test=32", "data.draw=3"])
    for keys in ({}, {"noise": 1.0}, {"noise": 1.0, "draw": 4}):
        found = module.sets_for(recipe, "delayed_xor", None, tmp_path, keys=keys).test
        made = delayed_xor(content=DelayedXor(**{"delay": 5, "test": 32, "draw": 3, **keys}), validation=1).test
        assert torch.equal(found.read(torch.arange(32)), made.read(torch.arange(32)))
    long = load_recipe("delayed_xor_hdlif", ["data.delay=31", "time_steps=32", "data.noise=0.1"])
    assert len(module.sets_for(long, "sines", None, tmp_path).test) == 150


XOR = ["data.delay=5", "time_steps=6", "data.test=1000"]
GLASS = ["data.steps=9", "data.ahead=3", "time_steps=9"]
COPY = ["data.delay=3", "data.symbols=2", "data.alphabet=3", "time_steps=7", "task.delay=5"]


@every(
    *("name", "overrides", "key", "contradicted", "told"),
    of=[
        ("delayed_xor_hdlif", XOR, "noise=0.0", "delay=6", 5),
        ("mackey_glass_hdlif", GLASS, "test=5", "ahead=6", 3),
        ("copy_hdlif", COPY, "draw=1", "alphabet=4", 3),
    ],
)
def test_a_model_file_is_tested_on_data_that_are_made_as_it_takes_them(
    tmp_path: Path, name: str, overrides: list[str], key: str, contradicted: str, told: int
) -> None:
    recipe = load_recipe(name, overrides)
    torch.manual_seed(0)
    network, task = builders.build_model(recipe).eval(), builders.build_task(recipe)
    path = tmp_path / "net.hdlif.safetensors"
    record = builders.input_record(recipe)
    export(network, path, input=record, labels=task.outputs, time_steps=recipe.time_steps, task=task.record)
    found = evaluate(path, data=recipe.data.kind)
    tally = task.tally()
    for x, target in builders.build_data(recipe).test.sequences(500):
        tally(network(x, steps=range(recipe.time_steps))[0].detach(), target)
    expected = tally.evaluation()
    assert found.n == expected.n
    assert found.per_step == pytest.approx(expected.per_step, abs=0.02)
    assert evaluate(path, data=recipe.data.kind, overrides=[f"data.{key}"]).per_step != found.per_step
    argument, _, asked = contradicted.partition("=")
    for override, words in (
        ("window=3", r"data\.window = 3 is unknown"),
        (contradicted, rf"data\.{argument} = {asked} is refused: the network was made for {argument} = {told}"),
    ):
        with pytest.raises(RecipeError, match=words):
            evaluate(path, data=recipe.data.kind, overrides=[f"data.{override}"])


CUT = ["data.label=what", "data.group=who", "data.stride=3", "data.split={test: 0.4, validation: 0.2, seed: 3}"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recording, a run on it, and its model file."""
    root = tmp_path_factory.mktemp("made")
    KINDS["recording"].train(write_recording(root / "r.csv"), root / "run", *CUT, "training.epochs=1")
    export_file(root / "run", out=root / "net.hdlif.safetensors")
    return root


def test_a_model_file_is_tested_on_what_its_run_was_tested_on(made: Path) -> None:
    data, net, own = str(made / "r.csv"), made / "net.hdlif.safetensors", evaluate(made / "run")
    # 2 of 6 people, 5 windows of each of two classes.
    assert own.n == 20
    for network in (net, made / "run"):
        other = evaluate(network, data=data, overrides=CUT)
        assert (other.n, other.accuracy, other.confusion) == (own.n, own.accuracy, own.confusion)
    assert hdlif.evaluate(net, data=data, overrides=CUT[:3]).n == 10
    assert profile(str(net), data=data, overrides=CUT).images == 20


def test_what_is_said_replaces_what_the_recipe_says_and_the_rest_stays(made: Path, tmp_path: Path) -> None:
    header, *lines = (made / "r.csv").read_text().splitlines()
    renamed = tmp_path / "renamed.csv"
    renamed.write_text("\n".join([header.replace("who", "person"), *lines]))
    with pytest.raises(DataError, match="no column 'who'"):
        evaluate(made / "run", data=str(renamed))
    for override in ("data.group=person", "data.split.validation=0.3"):
        data = renamed if "person" in override else made / "r.csv"
        assert evaluate(made / "run", data=str(data), overrides=[override]).n == 20


@every("part", "count", of=[("all", 60), ("train", 30), ("validation", 10), ("test", 20)])
def test_each_part_can_be_tested_on_and_all_of_it(part: Any, count: int, made: Path) -> None:
    assert evaluate(made / "run", part=part).n == count
    given = CUT[:3] if part == "all" else CUT
    for network in (made / "run", made / "net.hdlif.safetensors"):
        assert evaluate(network, data=str(made / "r.csv"), overrides=given, part=part).n == count


def test_data_that_are_too_few_to_divide_are_tested_on_as_a_whole(made: Path, tmp_path: Path) -> None:
    unseen = str(write_folders(tmp_path / "unseen", per_class=1, steps=20))
    net = made / "net.hdlif.safetensors"
    with pytest.raises(DataError, match="too few"):
        evaluate(net, data=unseen, overrides=["data.stride=4"])
    # Of each file the windows from rows 0, 4, 8 and 12 on.
    assert evaluate(net, data=unseen, overrides=["data.stride=4"], part="all").n == 8
    assert evaluate(net, data=unseen, overrides=["data.split={test: 1}", "data.window=8"]).n == 4
    for part, number in (("train", 3), ("test", 2)):
        write_folders(tmp_path / "parts" / part, number)
    assert [evaluate(net, data=str(tmp_path / "parts"), part=part).n for part in ("all", "test")] == [10, 4]
    # A test set without a training part.
    x = np.random.default_rng(0).normal(size=(6, 8, 2)).astype(np.float32)
    np.savez(tmp_path / "test.npz", x=x, y=["fast", "slow"] * 3, part=["test"] * 6)
    assert evaluate(net, data=str(tmp_path / "test.npz"), part="all").n == 6


def test_what_data_do_not_take_or_has_no_effect_is_refused(made: Path) -> None:
    run, net, data = made / "run", made / "net.hdlif.safetensors", str(made / "r.csv")
    for override, words in (
        ("data.strid=3", 'did you mean "stride"'),
        ("training.epochs=3", r"give data\.KEY=VALUE"),
        ("data.stride", r"give data\.KEY=VALUE"),
        ("data.path=x", "give the path of the data"),
        ("data.ahead=2", r"data\.ahead = 2 is refused"),
        ("data.kind=serie", 'did you mean "series"'),
        ("data.batch_size=4", r"data\.batch_size = 4 is unknown"),
    ):
        for network in (run, net):
            with naming(override), pytest.raises(RecipeError, match=words):
                evaluate(network, data=data, overrides=[*CUT[:2], override])
    for network, given, error, words in (
        (net, {"data": data, "overrides": CUT, "part": "all"}, RecipeError, "on all of them; leave it out"),
        (run, {"overrides": ["data.stride=3"]}, RecipeError, "applies to data given with --data"),
        (net, {"data": "sines", "overrides": ["data.stride=3"]}, RecipeError, "sines is a built-in data set"),
        (run, {"part": "tests"}, InputError, "did you mean"),
        (net, {"data": data, "overrides": "data.stride=3"}, InputError, "give a list"),
    ):
        with naming(given), pytest.raises(error, match=words):
            hdlif.evaluate(network, **given)  # type: ignore[arg-type]


def test_a_column_of_values_keeps_the_network_s_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[list[object]] = [[t % 5, t % 3, (t * t) % 7] for t in range(200)]
    path = write_csv(tmp_path / "r.csv", rows, ["a", "b", "wear"])
    section = f"data={{kind: series, path: {path}, window: 8, values: [wear], batch_size: 8}}"
    given = ["model.widths=[4]", "training.epochs=1", "time_steps=8", section, "task={kind: regress}"]
    train("sines_hdlif", overrides=given, out=tmp_path / "run", memory_repeats=0)
    export_file(tmp_path / "run", out=tmp_path / "net.hdlif.safetensors")
    net = tmp_path / "net.hdlif.safetensors"
    assert evaluate(net, data=str(path), part="all").n == 25
    with pytest.raises(RecipeError, match="the network learned"):
        evaluate(net, data=str(path), overrides=["data.values=[a]"])
    # Data of another kind are told what the run learned.
    asked: list[Any] = []

    def noting(path: str, **given: Any) -> DataSets:
        asked.append((given["task"].kind, given["labels"], given["task"].std != ()))
        raise DataError("noted")

    monkeypatch.setattr("hdlif.recipe.builders.own_data.found_data", noting)
    with pytest.raises(DataError, match="noted"):
        evaluate(tmp_path / "run", data="own_sets:waves")
    assert asked == [("regress", ("wear",), True)]


def test_samples_of_several_sets_stand_in_the_order_that_they_are_asked_for_in() -> None:
    def images(first: int, count: int, augment: tuple[str, ...] = ()) -> Images:
        pixels = torch.arange(first, first + count, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2)
        return Images(pixels, torch.arange(first, first + count), mean=(0.0,), std=(1.0,), augment=augment)

    sets = DataSets(images(0, 3, ("flip",)), images(3, 0), images(3, 2), ("a",), (1, 2, 2), (0.0,), (1.0,))
    together, indices = sets.of("all"), torch.tensor([4, 0, 3, 1])
    assert isinstance(together, Together)
    x, labels = together.batch(indices)
    assert (labels.tolist(), len(together)) == (indices.tolist(), 5)
    np.testing.assert_allclose(x[:, 0, 0, 0] * 255, indices.numpy(), rtol=1e-6)
    assert sets.of("train").augment == ()


def test_a_network_that_has_or_may_have_seen_what_it_is_tested_on_is_warned_of(made: Path) -> None:
    data, net, lines = str(made / "r.csv"), made / "net.hdlif.safetensors", list[str]()
    evaluate(net, data=data, overrides=["data.label=what"], say=lines.append)
    assert (len(lines), "has no test part of its own" in lines[0]) == (1, True)
    for overrides, part in ((CUT, "test"), (["data.label=what"], "all")):
        evaluate(net, data=data, overrides=overrides, part=part, say=lines.append)
    evaluate(made / "run", say=lines.append)
    evaluate(made / "run", data=data, say=lines.append)
    assert len(lines) == 1
    # A run knows which samples it was trained on.
    evaluate(made / "run", data=data, part="all", say=lines.append)
    assert lines[1].startswith("warning: 40 of the 60 test samples were used")
