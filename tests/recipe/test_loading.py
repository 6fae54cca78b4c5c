"""Recipes as files: what is read, replaced, inherited from a base, refused, and written again."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hdlif.errors import RecipeError
from hdlif.recipe import Component, DataConfig, Recipe, TrainingConfig, dump_recipe, load_recipe
from hostile import one_printable_line

MY_RECIPE = """\
# hdlif train my.yaml
seed: 1
time_steps: 4
data: {kind: digits, batch_size: 64, validation: 200, augment: [shift]}
model: {kind: resnet, width: 16, blocks: [1, 1, 1]}
neuron: {kind: hdlif, parallel: none}
weights: {kind: float}
spikes: {kind: exact}
rule: {kind: stochastic_step, k: 1}
training:
  epochs: 4
  learning_rate: 0.1
"""


def write(folder: Path, text: str = MY_RECIPE, name: str = "my.yaml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def refusal(path: Path | str, *overrides: str) -> str:
    """The message without the folder."""
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    return one_printable_line(caught.value).replace(f"{Path(path).parent}/", "")


def test_file_gives_typed_frozen_sections_and_its_stem_as_name(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path))
    assert (recipe.name, recipe.seed, recipe.time_steps) == ("my", 1, 4)
    assert recipe.data == DataConfig(kind="digits", batch_size=64, validation=200, augment=("shift",))
    assert recipe.training == TrainingConfig(epochs=4, learning_rate=0.1)
    assert (recipe.model.kind, recipe.model.arguments) == ("resnet", {"width": 16, "blocks": [1, 1, 1]})
    for target, field in ((recipe, "seed"), (recipe.data, "train"), (recipe.training, "epochs"), (recipe.model, "x")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(target, field, 3)
    component = Component.model_validate({"kind": "x", "arguments": 1, "copy": [2]})
    assert component.arguments == {"arguments": 1, "copy": [2]}


def test_overrides_replace_values_in_order_and_whole_sections(tmp_path: Path) -> None:
    values = ["training.epochs=3", "seed=7", "data.augment=[flip, shift]", "model.depth=2", "rule.note=a=b", "seed=8"]
    recipe = load_recipe(write(tmp_path), [*values, "neuron={kind: lif}"])
    assert (recipe.training.epochs, recipe.training.learning_rate, recipe.seed) == (3, 0.1, 8)
    assert recipe.data.augment == ("flip", "shift")
    assert recipe.model.arguments == {"width": 16, "blocks": [1, 1, 1], "depth": 2}
    assert recipe.rule.arguments["note"] == "a=b"
    assert recipe.neuron == Component(kind="lif")


def test_values_are_read_by_the_core_schema(tmp_path: Path) -> None:
    read: dict[str, object] = {"1e-3": 0.001, "5.0e-4": 0.0005, "1.": 1.0, "-3": -3, "true": True, "~": None}
    read |= {"'3'": "3", '"\\ud83d\\ude00"': "\U0001f600"}
    read |= {text: text for text in ("none", "yes", "off", "010", "1:30", "2020-01-01", "<<", "=")}
    for text, value in read.items():
        seen = load_recipe(write(tmp_path), [f"model.x={text}"]).model.arguments["x"]
        assert (seen, type(seen)) == (value, type(value)), text


REFUSED = """
training.epoch = 3 is unknown; choose one of      | training.epoch=3
data.mixup = true is refused                      | data.mixup=true
data.mixup.mixup_alpha = 0 and cutmix_alpha = 0   | data.mixup={mixup_alpha: 0, cutmix_alpha: 0}
epoch = 3 is unknown; did you mean training.epo   | epoch=3
lr = 0.1 is unknown; did you mean training.learn  | lr=0.1
T = 8 is unknown; did you mean time_steps?        | T=8
training.epochs = 0 is refused                    | training.epochs=0
training.epochs = "3" is refused                  | training.epochs='3'
time_steps = null is refused                      | time_steps=
time_steps = 1000000000 is refused                | time_steps=1000000000
seed = -1 is refused                              | seed=-1
data.batch_size = 0 is refused                    | data.batch_size=0
data.augment = "flip" is refused; it should be a  | data.augment=flip
data.augment.0.kind is missing; begin each item   | data.augment=[{most: 1}]
data.augment.0.kind = 3 is refused                | data.augment=[{kind: 3}]
data.augment.0.strength = Infinity is refused     | data.augment=[{kind: a, strength: .inf}]
training.learning_rate = NaN is refused           | training.learning_rate=.nan
training.momentum = 1.0 is refused                | training.momentum=1.0
training.warmup_epochs = 500 is refused           | training.warmup_epochs=500
training.precision = 16 is refused                | training.precision=16
data = 3 is refused; it should be a section       | data=3
neuron = "lif" is refused; it should be a section | neuron=lif
rule = [1] is refused; it should be a section     | rule=[1]
teacher.kind is missing                           | teacher={name: resnet50}
neuron.kind is missing; `hdlif recipes show       | neuron={parallel: all}
neuron.kind = 3 is refused                        | neuron.kind=3
--set seed: is not an assignment                  | seed
--set =3: is not an assignment                    | =3
--set a..b=3: is not an assignment                | a..b=3
--set rule={kind:foo}: YAML reads kind:foo as a k | rule={kind:foo}
--set seed.x=3: seed = 42 has no keys             | seed.x=3
--set data.augment.jitter=3: data.augment = [       | data.augment.jitter=3
--set model.x=!!binary aGk=: a text in YAML can   | model.x=!!binary aGk=
--set data.group=*_GROUP.csv: a text in YAML can  | data.group=*_GROUP.csv
--set data.group= @it's: a text in YAML cannot b  | data.group= @it's
--set model.x=[!!binary aGk=]: line 1, column 2:  | model.x=[!!binary aGk=]
--set model.x=[1: line 2, column 1:               | model.x=[1
"""


def test_refused_value_names_file_key_and_value() -> None:
    wrong = []
    for line in REFUSED.strip().splitlines():
        start, _, override = line.partition("| ")
        said = refusal("digits_hdlif", override)
        if not said.removeprefix("digits_hdlif: ").startswith(start.strip()):
            wrong.append((override, said))
    assert wrong == []
    said = refusal("digits_hdlif", f"training.epochs={'x' * 1000}")
    assert len(said) < 200
    assert "xxx..." in said
    with pytest.raises(RecipeError) as caught:
        load_recipe("digits_hdlif", ["rule=stbp"])
    assert caught.value.no_section == "rule"


def test_a_file_that_is_no_recipe_is_refused_with_its_line(tmp_path: Path) -> None:
    write(tmp_path, "base: digits_hdlif\n", "middle.yaml")
    for text, message in (
        ("seed: 1\ndata: {kind: digits\nmodel: x\n", "line 3, column 6: "),
        ("seed: 1\n\tdata: 2\n", "line 2, column 1: "),
        ("seed: 1\ntime_steps: 4\nseed: 2\n", "line 3, column 1: the key seed is repeated; "),
        ("seed: 1\n4: 2\n", "line 2, column 1: the key 4 is not text; "),
        ("data: &a {kind: digits}\nmodel: *a\n", "line 2, column 8: an alias is not accepted, "),
        ("a: &a [*a]\n", "line 1, column 8: an alias is not accepted, "),
        ("seed: 1\nname: a\x07b\n", "line 2: a control character is not YAML"),
        ("seed: !!python/object/apply:os.getcwd []\n", "line 1, column 7: the tag tag:yaml.org,2002:python/"),
        ("", "null is not a recipe; "),
        ("- a\n", '["a"] is not a recipe; '),
        ("base: digits_hdlf\n", 'base = "digits_hdlf": there is no such file and no shipped recipe of that name'),
        ("base: 3\n", "base = 3 is refused"),
        ("base: middle.yaml\n", 'base = "middle.yaml" has a base itself'),
        ("base: digits_lif\n", 'base = "digits_lif" has a base itself; name base: digits_hdlif'),
        ("base: digits_hdlif\ntraining: {epoch: 3}\n", "training.epoch = 3 is unknown"),
    ):
        assert refusal(write(tmp_path, text)).startswith(f"my.yaml: {message}"), text
    (tmp_path / "my.yaml").write_bytes(b"seed: \xff")
    assert refusal(tmp_path / "my.yaml").startswith("my.yaml: byte 6 is not UTF-8; ")


def test_shipped_name_wins_over_a_file_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, name="digits_lif")
    assert load_recipe("digits_lif").neuron.kind == "lif"
    assert load_recipe("./digits_lif").neuron.kind == load_recipe(Path("digits_lif")).neuron.kind == "hdlif"
    with pytest.raises(RecipeError, match=r'digits_hdlf: .*choose one of .*did you mean "digits_hdlif"'):
        load_recipe("digits_hdlf")


def test_recipe_is_its_base_but_for_what_it_states(tmp_path: Path) -> None:
    base = load_recipe("digits_hdlif")
    text = "base: digits_hdlif\nseed: 7\ntraining: {epochs: 3}\nneuron: {parallel: all}\n"
    mine = load_recipe(write(tmp_path, text), ["model.width=4"])
    assert (mine.name, mine.seed) == ("my", 7)
    assert mine.training == base.training.model_copy(update={"epochs": 3})
    assert (mine.neuron.arguments, mine.model.arguments) == ({"parallel": "all"}, {"width": 4, "blocks": [1, 1, 1]})
    changed = {"name", "seed", "training", "neuron", "model"}
    assert mine.model_dump(exclude=changed) == base.model_dump(exclude=changed)
    assert "base" not in yaml.safe_load(dump_recipe(mine))
    # A section that states its kind replaces the base's.
    other = load_recipe(write(tmp_path, "base: digits_hdlif\nneuron: {kind: lif}\nattention: {kind: seca, form: II}\n"))
    assert (other.neuron.arguments, other.attention.arguments) == ({}, {"form": "II"})
    # Nor is a name inherited.
    write(tmp_path, dump_recipe(base), "parent.yaml")
    assert load_recipe(write(tmp_path, "base: parent.yaml\n")).name == "my"
    assert load_recipe(write(tmp_path, "base: parent.yaml\nname: other\n")).name == "other"


numbers = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(min_size=1, max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | numbers | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
components = st.builds(
    lambda kind, arguments: Component.model_validate(arguments | {"kind": kind}),
    texts,
    st.dictionaries(texts, values, max_size=3),
)
recipes = st.builds(
    Recipe,
    name=texts.filter(lambda name: name.isprintable() and not set(name) & {"/", "\\"} and name.strip(".")),
    seed=st.integers(0, 2**32 - 1),
    time_steps=st.integers(1, 1000),
    data=st.builds(
        DataConfig,
        kind=texts,
        batch_size=st.integers(1, 10**6),
        validation=st.integers(1, 10**6),
        augment=st.lists(st.text(max_size=12), max_size=3).map(tuple),
    ),
    **dict.fromkeys(("model", "neuron", "weights", "spikes", "rule"), components),
    training=st.builds(
        TrainingConfig,
        epochs=st.integers(100, 200),
        ema_decay=st.none() | st.floats(0.1, 0.9),
        compile=st.booleans(),
        learning_rate=st.floats(min_value=0, exclude_min=True, allow_infinity=False),
        weight_decay=st.floats(min_value=0, allow_infinity=False),
        warmup_epochs=st.integers(0, 100),
        precision=st.sampled_from(["32-true", "16-mixed", "bf16-mixed", "64-true"]),
    ),
)


@settings(max_examples=50)
@given(recipe=recipes)
def test_dump_and_load_keep_every_value_and_type(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write(tmp_path_factory.getbasetemp(), dump_recipe(recipe), "round_trip.yaml")
    # repr tells 1 from True and 0.0 from -0.0, which == does not.
    assert repr(load_recipe(path)) == repr(recipe)


def test_values_that_yaml_takes_for_another_type_come_back(tmp_path: Path) -> None:
    hard = ["1e5", "1e-3", "010", "yes", "0.0\n", "<<", "a\x85b", "\ufeffü\u2028\U0001f600", "=", [1e16, -0.0, 5e-324]]
    model = Component.model_validate({"kind": "yes", "hard": hard})
    text = dump_recipe(load_recipe("digits_lif").model_copy(update={"model": model}))
    assert repr(load_recipe(write(tmp_path, text)).model.arguments["hard"]) == repr(hard)
    # Readers of YAML 1.1 find the same texts.
    assert yaml.safe_load(text)["model"]["kind"] == "yes"
