"""`hdlif eval` on data of one's own: what is said of them beside their place, and which of them are tested on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hdlif
from hdlif.cli.eval import evaluate
from hdlif.cli.export import export_file as export
from hdlif.cli.profile import profile
from hdlif.data import Images
from hdlif.data.samples import ImageSets, Together
from hdlif.errors import DataError, InputError, RecipeError
from hdlif.recipe import builders
from picture_folders import CLASSES, write_pictures
from series_files import write_arrays, write_csv, write_folders, write_recording
from trainings import train

FAST = ["model.widths=[4, 4]", "data.batch_size=8", "time_steps=8", "training.epochs=1"]
CUT = ["data.label=what", "data.group=who", "data.stride=3", "data.split={test: 0.4, validation: 0.2, seed: 3}"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recording, a run on it, and its artefact."""
    root = tmp_path_factory.mktemp("made")
    path = write_recording(root / "r.csv")
    overrides = [*FAST, *CUT, "data.window=8"]
    train("sines_hdlif", data=str(path), overrides=overrides, out=root / "run", memory_repeats=0)
    export(root / "run", out=root / "net.hdlif.safetensors")
    return root


def test_an_artefact_is_tested_on_what_its_run_was_tested_on(made: Path) -> None:
    data, net, own = str(made / "r.csv"), made / "net.hdlif.safetensors", evaluate(made / "run")
    # 2 of 6 people, 5 windows of each of two classes.
    assert own.n == 20
    for network in (net, made / "run"):
        other = evaluate(network, data=data, overrides=CUT)
        assert (other.n, other.accuracy, other.confusion) == (own.n, own.accuracy, own.confusion)
    assert hdlif.evaluate(net, data=data, overrides=CUT[:3]).n == 10
    assert profile(str(net), data=data, overrides=CUT).images == 20


def test_what_is_said_replaces_what_the_recipe_says(made: Path, tmp_path: Path) -> None:
    header, *lines = (made / "r.csv").read_text().splitlines()
    renamed = tmp_path / "renamed.csv"
    renamed.write_text("\n".join([header.replace("who", "person"), *lines]))
    with pytest.raises(DataError, match="no column 'who'"):
        evaluate(made / "run", data=str(renamed))
    assert evaluate(made / "run", data=str(renamed), overrides=["data.group=person"]).n == 20


@pytest.mark.parametrize(("part", "count"), [("all", 60), ("train", 30), ("validation", 10), ("test", 20)])
def test_each_part_can_be_tested_on_and_all_of_it(made: Path, part: Any, count: int) -> None:
    data = str(made / "r.csv")
    assert evaluate(made / "run", part=part).n == count
    given = CUT[:3] if part == "all" else CUT
    for network in (made / "run", made / "net.hdlif.safetensors"):
        assert evaluate(network, data=data, overrides=given, part=part).n == count


def test_data_that_are_too_few_to_divide_are_tested_on_as_a_whole(made: Path, tmp_path: Path) -> None:
    unseen = str(write_folders(tmp_path / "unseen", per_class=1, steps=20))
    net = made / "net.hdlif.safetensors"
    with pytest.raises(DataError, match="too few to take some for validation and test"):
        evaluate(net, data=unseen, overrides=["data.stride=4"])
    # Of each file the windows from rows 0, 4, 8 and 12 on.
    assert evaluate(net, data=unseen, overrides=["data.stride=4"], part="all").n == 8
    assert evaluate(net, data=unseen, overrides=["data.split={test: 1}", "data.window=8"]).n == 4
    parts = tmp_path / "parts"
    for part, number in (("train", 3), ("test", 2)):
        write_folders(parts / part, number)
    assert [evaluate(net, data=str(parts), part=part).n for part in ("all", "test")] == [10, 4]
    arrays = str(write_arrays(tmp_path / "a.npz", 1).resolve())
    assert evaluate(net, data=arrays, part="all").n == 2


def test_pictures_that_are_too_few_to_divide_are_tested_on_as_a_whole(tmp_path: Path) -> None:
    overrides = ["model.width=4", "model.blocks=[1]", "data.batch_size=8", "data.size=8", "training.epochs=1"]
    photos = str(write_pictures(tmp_path / "photos", 8))
    train("digits_hdlif", data=photos, overrides=overrides, out=tmp_path / "run", memory_repeats=0)
    export(tmp_path / "run", out=tmp_path / "net.hdlif.safetensors")
    unseen = write_pictures(tmp_path / "unseen", 1, first=90)
    for network in (tmp_path / "run", tmp_path / "net.hdlif.safetensors"):
        assert evaluate(network, data=str(unseen), part="all").n == len(CLASSES)
        with pytest.raises(DataError, match="too few to take some"):
            evaluate(network, data=str(unseen))
        with pytest.raises(RecipeError, match=r"data\.fit = 'crop' is refused: the network takes samples as it was"):
            evaluate(network, data=str(unseen), overrides=["data.fit=crop"])


def test_what_data_do_not_take_is_refused(made: Path) -> None:
    for overrides, words in (
        (["data.strid=3"], r'data\.strid = 3 is unknown; choose one of .*\(did you mean "stride"\?\)'),
        (["training.epochs=3"], r"--set training\.epochs=3 is refused; give data\.KEY=VALUE"),
        (["data.stride"], r"--set data\.stride is refused; give data\.KEY=VALUE"),
        (["data.path=x"], r"where the data lie is given with the command itself"),
        (["data.stride=x"], r'data\.stride = "x" is refused; it should be a valid integer'),
        (["data.rate=50"], r"data\.rate = 50 is refused: the network takes samples as it was trained on them"),
        (["data.ahead=2"], r"data\.ahead = 2 is refused: the network has none; leave it out"),
        (["data.kind=serie"], r'data\.kind = "serie" is unknown; .*did you mean "series"'),
        (["data.batch_size=4"], r"data\.batch_size = 4 is unknown"),
        (["data.split={test: 2}"], "split.test = 2.0 is refused"),
    ):
        for network in (made / "run", made / "net.hdlif.safetensors"):
            with pytest.raises(RecipeError, match=words):
                evaluate(network, data=str(made / "r.csv"), overrides=[*CUT[:2], *overrides])


def test_what_cannot_have_an_effect_is_refused(made: Path) -> None:
    run, net = made / "run", made / "net.hdlif.safetensors"
    with pytest.raises(RecipeError, match=r"data\.split = .* divides what is to be tested on as a whole; leave it out"):
        evaluate(net, data=str(made / "r.csv"), overrides=CUT, part="all")
    with pytest.raises(RecipeError, match=r"--set data\.stride is of data that --data names: a run's own are taken"):
        evaluate(run, overrides=["data.stride=3"])
    with pytest.raises(RecipeError, match=r"--set data\.stride is of data of your own, and sines is a set that ships"):
        evaluate(net, data="sines", overrides=["data.stride=3"])
    with pytest.raises(InputError, match=r"part = 'tests' is unknown; choose one of all, .*did you mean"):
        hdlif.evaluate(run, part="tests")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"give a list, such as \['data.stride=3'\]"):
        hdlif.evaluate(net, data=made / "r.csv", overrides="data.stride=3")


def test_a_training_has_something_to_train_on(made: Path, tmp_path: Path) -> None:
    whole = [*FAST, "data.label=what", "data.window=8", "data.split={test: 1}"]
    with pytest.raises(RecipeError, match=r"data\.split\.test = 1 leaves nothing to train on; .*hdlif eval --part all"):
        train("sines_hdlif", data=str(made / "r.csv"), overrides=whole, out=tmp_path / "run", memory_repeats=0)
    with pytest.raises(RecipeError, match="leaves nothing to train on"):
        builders.look("series", str(made / "r.csv"), {"label": "what", "window": 8, "split": {"test": 1}})


def test_a_column_of_values_keeps_the_network_s_name(tmp_path: Path) -> None:
    rows: list[list[object]] = [[t % 5, t % 3, (t * t) % 7] for t in range(200)]
    path = write_csv(tmp_path / "r.csv", rows, ["a", "b", "wear"])
    section = f"data={{kind: series, path: {path}, window: 8, values: [wear], batch_size: 8}}"
    given = ["model.widths=[4]", "training.epochs=1", "time_steps=8", section, "task={kind: regress}"]
    train("sines_hdlif", overrides=given, out=tmp_path / "run", memory_repeats=0)
    export(tmp_path / "run", out=tmp_path / "net.hdlif.safetensors")
    net = tmp_path / "net.hdlif.safetensors"
    assert evaluate(net, data=str(path), part="all").n == 25
    with pytest.raises(RecipeError, match=r"data\.values = \['a'\] is refused: the network learned \['wear'\]; leave"):
        evaluate(net, data=str(path), overrides=["data.values=[a]"])


def test_a_run_tells_data_of_another_kind_what_it_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[list[object]] = [[n % 7, n % 3, n % 2] for n in range(60)]
    path = write_csv(tmp_path / "rows.csv", rows, ["a", "b", "c"])
    section = f"data={{kind: table, path: {path}, batch_size: 8, values: [c]}}"
    given = ["model.widths=[4]", "training.epochs=1", section, "task.kind=regress"]
    train("wine_hdlif", overrides=given, out=tmp_path / "run", memory_repeats=0)
    asked: list[Any] = []

    def noting(path: str, **given: Any) -> ImageSets:
        asked.append((given["task"].kind, given["labels"], given["task"].std != ()))
        raise DataError("noted")

    monkeypatch.setattr("hdlif.recipe.builders.own_data.found_data", noting)
    with pytest.raises(DataError, match="noted"):
        evaluate(tmp_path / "run", data="own_sets:waves")
    assert asked == [("regress", ("c",), True)]


def test_samples_of_several_sets_stand_in_the_order_that_they_are_asked_for_in() -> None:
    def images(first: int, count: int, augment: tuple[str, ...] = ()) -> Images:
        pixels = torch.arange(first, first + count, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2)
        return Images(pixels, torch.arange(first, first + count), mean=(0.0,), std=(1.0,), augment=augment)

    sets = ImageSets(images(0, 3, ("flip",)), images(3, 0), images(3, 2), ("a",), (1, 2, 2), (0.0,), (1.0,))
    together = sets.of("all")
    assert isinstance(together, Together)
    indices = torch.tensor([4, 0, 3, 1])
    x, labels = together.batch(indices)
    assert labels.tolist() == indices.tolist()
    np.testing.assert_allclose(x[:, 0, 0, 0] * 255, indices.numpy(), rtol=1e-6)
    assert len(together) == 5
    assert sets.of("train").augment == ()


def test_an_artefact_that_may_have_seen_its_test_part_is_warned_of(made: Path) -> None:
    data, net, lines = str(made / "r.csv"), made / "net.hdlif.safetensors", list[str]()
    evaluate(net, data=data, overrides=["data.label=what"], say=lines.append)
    assert len(lines) == 1
    assert lines[0].startswith(f"warning: {data} has no test part of its own, and one is taken here by default")
    for overrides, part in ((CUT, "test"), (["data.label=what"], "all")):
        evaluate(net, data=data, overrides=overrides, part=part, say=lines.append)
    evaluate(made / "run", say=lines.append)
    evaluate(made / "run", data=data, say=lines.append)
    assert len(lines) == 1
    # A run knows which samples it was trained on.
    evaluate(made / "run", data=data, part="all", say=lines.append)
    assert lines[1].startswith("warning: 40 of the 60 samples that are tested on are among those that the network was")


def test_a_share_that_is_named_leaves_the_others_as_the_run_had_them(made: Path) -> None:
    data = str(made / "r.csv")
    assert evaluate(made / "run", data=data, overrides=["data.split.validation=0.3"]).n == 20


def test_where_data_lie_is_not_a_key(made: Path) -> None:
    for key in (
        "data.path",
        "data.path ",
        "data.path.x",
    ):
        with pytest.raises(RecipeError, match="where the data lie is given with the command itself"):
            evaluate(made / "run", data=str(made / "r.csv"), overrides=[f"{key}=elsewhere"])


def test_a_test_set_without_a_training_part_is_tested_on(made: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(6, 8, 2)).astype(np.float32)
    np.savez(tmp_path / "test.npz", x=x, y=["fast", "slow"] * 3, part=["test"] * 6)
    assert evaluate(made / "net.hdlif.safetensors", data=str(tmp_path / "test.npz"), part="all").n == 6
