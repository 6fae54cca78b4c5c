"""`hdlif eval` on data of one's own: what is said of them beside their place, and which of them are tested on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hdlif
from cases import every, naming
from cli.own_kinds import KINDS
from hdlif.cli.eval import evaluate
from hdlif.cli.export import export_file as export
from hdlif.cli.profile import profile
from hdlif.data import Images
from hdlif.data.samples import ImageSets, Together
from hdlif.errors import DataError, InputError, RecipeError
from series_files import write_csv, write_folders, write_recording
from trainings import train

CUT = ["data.label=what", "data.group=who", "data.stride=3", "data.split={test: 0.4, validation: 0.2, seed: 3}"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recording, a run on it, and its model file."""
    root = tmp_path_factory.mktemp("made")
    KINDS["recording"].train(write_recording(root / "r.csv"), root / "run", *CUT, "training.epochs=1")
    export(root / "run", out=root / "net.hdlif.safetensors")
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
        ("data.path=x", "where the data lie"),
        ("data.path.x=x", "where the data lie"),
        ("data.stride=x", r'data\.stride = "x" is refused'),
        ("data.ahead=2", r"data\.ahead = 2 is refused"),
        ("data.kind=serie", 'did you mean "series"'),
        ("data.batch_size=4", r"data\.batch_size = 4 is unknown"),
        ("data.split={test: 2}", "split.test = 2.0 is refused"),
    ):
        for network in (run, net):
            with naming(override), pytest.raises(RecipeError, match=words):
                evaluate(network, data=data, overrides=[*CUT[:2], override])
    for network, given, error, words in (
        (net, {"data": data, "overrides": CUT, "part": "all"}, RecipeError, "as a whole; leave it out"),
        (run, {"overrides": ["data.stride=3"]}, RecipeError, "is of data that --data names"),
        (net, {"data": "sines", "overrides": ["data.stride=3"]}, RecipeError, "sines is a set that ships"),
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
    export(tmp_path / "run", out=tmp_path / "net.hdlif.safetensors")
    net = tmp_path / "net.hdlif.safetensors"
    assert evaluate(net, data=str(path), part="all").n == 25
    with pytest.raises(RecipeError, match="the network learned"):
        evaluate(net, data=str(path), overrides=["data.values=[a]"])
    # Data of another kind are told what the run learned.
    asked: list[Any] = []

    def noting(path: str, **given: Any) -> ImageSets:
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

    sets = ImageSets(images(0, 3, ("flip",)), images(3, 0), images(3, 2), ("a",), (1, 2, 2), (0.0,), (1.0,))
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
    assert lines[1].startswith("warning: 40 of the 60 samples")
