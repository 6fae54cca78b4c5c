"""A recipe that names a base, and the keys that are off unless they are asked for."""

from pathlib import Path

import pytest
import yaml

from hdlif.errors import RecipeError
from hdlif.recipe import dump_recipe, load_recipe


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_recipe_is_its_base_but_for_what_it_states(tmp_path: Path) -> None:
    base = load_recipe("digits_hdlif")
    mine = load_recipe(write(tmp_path, "base: digits_hdlif\nseed: 7\ntraining: {epochs: 3}\nneuron: {parallel: all}\n"))
    assert mine.name == "mine"
    assert mine.seed == 7
    assert mine.training == base.training.model_copy(update={"epochs": 3})
    assert mine.neuron.arguments == {"parallel": "all"}
    changed = {"name", "seed", "training", "neuron"}
    assert mine.model_dump(exclude=changed) == base.model_dump(exclude=changed)


def test_section_that_states_its_kind_replaces_the_base_s(tmp_path: Path) -> None:
    mine = load_recipe(write(tmp_path, "base: digits_hdlif\nneuron: {kind: lif}\nattention: {kind: seca, form: II}\n"))
    assert mine.neuron.arguments == {}
    assert mine.attention.arguments == {"form": "II"}


def test_base_is_a_file_beside_the_recipe_whose_name_is_not_inherited(tmp_path: Path) -> None:
    write(tmp_path, dump_recipe(load_recipe("digits_hdlif")), "parent.yaml")
    assert load_recipe(write(tmp_path, "base: parent.yaml\n")).name == "mine"
    assert load_recipe(write(tmp_path, "base: parent.yaml\nname: other\n")).name == "other"


def test_overrides_act_on_what_the_base_gave(tmp_path: Path) -> None:
    mine = load_recipe(write(tmp_path, "base: digits_hdlif\n"), ["model.width=4", "training.epochs=1"])
    assert mine.model.arguments == {"width": 4, "blocks": [1, 1, 1]}
    assert mine.training.epochs == 1


def test_dumped_recipe_needs_no_base(tmp_path: Path) -> None:
    mine = load_recipe(write(tmp_path, "base: digits_hdlif\nseed: 7\n"))
    text = dump_recipe(mine)
    assert "base" not in yaml.safe_load(text)
    assert load_recipe(write(tmp_path, text, "copy.yaml")) == mine


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "base: digits_hdlf\n",
            r'base = "digits_hdlf": there is no such file and no shipped recipe of .*\(did you mean "digits_hdlif"\?\)',
        ),
        ("base: 3\n", "base = 3 is refused; give the name or path of a recipe"),
        (
            "base: middle.yaml\n",
            'base = "middle.yaml" has a base itself; name that one, and state what differs from it',
        ),
        (
            "base: digits_lif\n",
            'base = "digits_lif" has a base itself; name base: digits_hdlif, and state what differs',
        ),
        ("base: digits_hdlif\ntraining: {epoch: 3}\n", "training.epoch = 3 is unknown"),
        ("base: digits_hdlif\nneuron: lif\n", 'neuron = "lif" is refused; it should be a section'),
    ],
)
def test_what_is_wrong_with_base_or_difference_is_named(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, "base: digits_hdlif\n", "middle.yaml")
    with pytest.raises(RecipeError, match=rf"mine\.yaml: {message}"):
        load_recipe(write(tmp_path, text))


def test_extras_that_are_off_are_not_written(tmp_path: Path) -> None:
    text = dump_recipe(load_recipe("digits_hdlif"))
    stated = yaml.safe_load(text)
    assert set(stated["training"]).isdisjoint({"clip_norm", "accumulate", "ema_decay", "compile"})
    assert "teacher" not in stated
    assert "mixup" not in stated["data"]


def test_extras_that_are_on_are_written_and_read_back(tmp_path: Path) -> None:
    overrides = ["training.accumulate=2", "training.ema_decay=0.9", "training.compile=true", "data.mixup={prob: 0.5}"]
    overrides.append("teacher={kind: timm, name: resnet18}")
    recipe = load_recipe("digits_hdlif", overrides)
    assert load_recipe(write(tmp_path, dump_recipe(recipe))) == recipe
    stated = yaml.safe_load(dump_recipe(recipe))
    assert stated["data"]["mixup"] == {"mixup_alpha": 0.8, "cutmix_alpha": 1.0, "prob": 0.5, "switch_prob": 0.5}
    assert stated["training"]["accumulate"] == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.mixup={alpha: 1}", "data.mixup.alpha = 1 is unknown; choose one of cutmix_alpha, mixup_alpha"),
        ("data.mixup=true", "data.mixup = true is refused; it should be a section of keys and values"),
        ("data.mixup={mixup_alpha: 0, cutmix_alpha: 0}", "mixes nothing; leave data.mixup out"),
        ("training.accumulate=0", "training.accumulate = 0 is refused"),
        ("training.ema_decay=1", "training.ema_decay = 1 is refused"),
        ("training.clip_norm=0", "training.clip_norm = 0 is refused"),
        ("training.compile=1", "training.compile = 1 is refused"),
        ("teacher=resnet50", 'teacher = "resnet50" is refused; it should be a section'),
        ("teacher={name: resnet50}", "teacher.kind is missing"),
    ],
)
def test_extra_out_of_range_is_named(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("digits_hdlif", [override])


@pytest.mark.parametrize(
    "stated", ["/nonexistent", f"/etc/{'a' * 300}", "/etc/passwd", "/etc/passwd/x", "../x", f"../{'a' * 300}", "/"]
)
def test_nothing_is_said_of_what_lies_outside_the_folder(tmp_path: Path, stated: str) -> None:
    with pytest.raises(RecipeError, match=r" is refused; give a shipped recipe, or a file at or below the folder"):
        load_recipe(write(tmp_path, f"base: {stated}\n"))
