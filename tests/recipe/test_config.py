import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from hdlif.errors import RecipeError
from hdlif.recipe import Component, DataConfig, Recipe, TrainingConfig, dump_recipe, load_recipe

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


@pytest.fixture
def my_yaml(tmp_path: Path) -> Path:
    path = tmp_path / "my.yaml"
    path.write_text(MY_RECIPE, encoding="utf-8")
    return path


def refusal(path: Path, *overrides: str) -> str:
    """The message without the folder; it has to be one line."""
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{path.parent}/", "")


def test_file_gives_typed_sections_and_its_stem_as_name(my_yaml: Path) -> None:
    recipe = load_recipe(my_yaml)
    assert recipe.name == "my"
    assert (recipe.seed, recipe.time_steps) == (1, 4)
    assert recipe.data == DataConfig(kind="digits", batch_size=64, validation=200, augment=("shift",))
    assert recipe.training == TrainingConfig(epochs=4, learning_rate=0.1)
    assert recipe.model.kind == "resnet"
    assert recipe.model.arguments == {"width": 16, "blocks": [1, 1, 1]}
    assert recipe.weights.arguments == {}


def test_component_keeps_arguments_of_any_name() -> None:
    component = Component.model_validate({"kind": "x", "arguments": 1, "copy": [2]})
    assert component.arguments == {"arguments": 1, "copy": [2]}


@pytest.mark.parametrize("section", ["recipe", "data", "training", "component"])
def test_recipe_is_frozen(my_yaml: Path, section: str) -> None:
    recipe = load_recipe(my_yaml)
    target, field = {
        "recipe": (recipe, "seed"),
        "data": (recipe.data, "batch_size"),
        "training": (recipe.training, "epochs"),
        "component": (recipe.model, "width"),
    }[section]
    with pytest.raises(ValidationError, match="frozen"):
        setattr(target, field, 3)


def test_config_does_not_import_torch() -> None:
    code = "import sys, hdlif.recipe; sys.exit('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0


def test_overrides_replace_values_in_order(my_yaml: Path) -> None:
    overrides = ["training.epochs=3", "seed=7", "data.augment=[flip, shift]", "model.depth=2", "seed=8"]
    recipe = load_recipe(my_yaml, overrides)
    assert recipe.training.epochs == 3
    assert recipe.seed == 8
    assert recipe.data.augment == ("flip", "shift")
    assert recipe.model.arguments == {"width": 16, "blocks": [1, 1, 1], "depth": 2}
    assert recipe.training.learning_rate == 0.1


def test_override_replaces_a_whole_section(my_yaml: Path) -> None:
    assert load_recipe(my_yaml, ["neuron={kind: lif}"]).neuron == Component(kind="lif")


def test_override_value_may_contain_an_equals_sign(my_yaml: Path) -> None:
    assert load_recipe(my_yaml, ["rule.note=a=b"]).rule.arguments["note"] == "a=b"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("5.0e-4", 0.0005),
        ("1.", 1.0),
        ("-3", -3),
        ("true", True),
        ("~", None),
        ("none", "none"),
        ("yes", "yes"),
        ("off", "off"),
        ("010", "010"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("'3'", "3"),
    ],
)
def test_values_are_read_by_the_core_schema(my_yaml: Path, text: str, value: object) -> None:
    seen = load_recipe(my_yaml, [f"model.x={text}"]).model.arguments["x"]
    assert seen == value
    assert type(seen) is type(value)


TRAINING_KEYS = (
    "accumulate, channels_last, clip_norm, compile, ema_decay, epochs, keep_every, label_smoothing, learning_rate, "
    "momentum, optimizer, patience, precision, schedule, stream, warmup_epochs, weight_decay"
)
RECIPE_KEYS = (
    "activity, attention, data, model, name, neuron, norm, rule, seed, spikes, task, teacher, time_steps, training, "
    "weights"
)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "training.epoch=3",
            f'training.epoch = 3 is unknown; choose one of {TRAINING_KEYS} (did you mean "epochs"?)',
        ),
        (
            "data.mixup={epochs: 3}",
            "data.mixup.epochs = 3 is unknown; choose one of cutmix_alpha, mixup_alpha, prob, switch_prob",
        ),
        (
            "trainin={}",
            f'trainin = {{}} is unknown; choose one of {RECIPE_KEYS} (did you mean "training"?)',
        ),
        ("epochs=3", "epochs = 3 is unknown; did you mean training.epochs?"),
        ("epoch=3", "epoch = 3 is unknown; did you mean training.epochs?"),
        ("width=3", "width = 3 is unknown; did you mean model.width?"),
        ("training.epochs=0", "training.epochs = 0 is refused; it should be greater than or equal to 1"),
        ("training.epochs=x", 'training.epochs = "x" is refused; it should be a valid integer'),
        ("training.epochs='3'", 'training.epochs = "3" is refused; it should be a valid integer'),
        ("training.epochs=3.0", "training.epochs = 3.0 is refused; it should be a valid integer"),
        ("training.epochs=true", "training.epochs = true is refused; it should be a valid integer"),
        ("time_steps=", "time_steps = null is refused; it should be a valid integer"),
        ("time_steps=0", "time_steps = 0 is refused; it should be greater than or equal to 1"),
        ("seed=-1", "seed = -1 is refused; it should be greater than or equal to 0"),
        ("seed=4294967296", "seed = 4294967296 is refused; it should be less than 4294967296"),
        ("data.batch_size=0", "data.batch_size = 0 is refused; it should be greater than or equal to 1"),
        ("data.validation=0", "data.validation = 0 is refused; it should be greater than or equal to 1"),
        (
            "data.augment=flip",
            'data.augment = "flip" is refused; it should be a list, for example [flip, shift]',
        ),
        ("data.augment=[1]", "data.augment.0 = 1 is refused; it should be a valid string"),
        (
            "training.learning_rate=0",
            "training.learning_rate = 0 is refused; it should be greater than 0",
        ),
        (
            "training.learning_rate=.nan",
            "training.learning_rate = NaN is refused; it should be a finite number",
        ),
        ("training.momentum=1.0", "training.momentum = 1.0 is refused; it should be less than 1"),
        (
            "training.weight_decay=-0.1",
            "training.weight_decay = -0.1 is refused; it should be greater than or equal to 0",
        ),
        (
            "training.label_smoothing=1",
            "training.label_smoothing = 1 is refused; it should be less than 1",
        ),
        (
            "training.warmup_epochs=5",
            "training.warmup_epochs = 5 is refused; it should be at most training.epochs = 4",
        ),
        (
            "training.precision=16",
            "training.precision = 16 is refused; it should be '32-true', '16-mixed', 'bf16-mixed' or '64-true'",
        ),
        ("data=3", "data = 3 is refused; it should be a section of keys and values"),
        (
            "neuron=lif",
            'neuron = "lif" is refused; it should be a section, for example neuron: {kind: lif} in a file, '
            '--set "neuron={kind: lif}" in a shell',
        ),
        (
            "rule=[1]",
            "rule = [1] is refused; it should be a section, for example rule: {kind: NAME} in a file, "
            '--set "rule={kind: NAME}" in a shell',
        ),
        ("lr=0.1", "lr = 0.1 is unknown; did you mean training.learning_rate?"),
        ("training.lr=0.1", "training.lr = 0.1 is unknown; did you mean training.learning_rate?"),
        ("wd=0.1", "wd = 0.1 is unknown; did you mean training.weight_decay?"),
        ("batch=8", "batch = 8 is unknown; did you mean data.batch_size?"),
        ("bs=8", "bs = 8 is unknown; did you mean data.batch_size?"),
        ("T=8", "T = 8 is unknown; did you mean time_steps?"),
        (
            "neuron={parallel: all}",
            "neuron.kind is missing; `hdlif recipes show digits_hdlif` prints a complete recipe",
        ),
        ("neuron.kind=3", "neuron.kind = 3 is refused; it should be a valid string"),
        ("neuron.kind=''", 'neuron.kind = "" is refused; it should have at least 1 character'),
        (
            "model.x=[1, {a: .inf}]",
            "model.x.1.a = Infinity is refused; it should be a finite number",
        ),
    ],
)
def test_refused_value_names_file_key_value_and_what_is_accepted(my_yaml: Path, override: str, message: str) -> None:
    assert refusal(my_yaml, override) == f"my.yaml: {message}"


def test_misspelt_key_is_named_before_the_key_that_is_missing_for_it(my_yaml: Path) -> None:
    my_yaml.write_text(MY_RECIPE.replace("epochs", "epoch"), encoding="utf-8")
    assert refusal(my_yaml).startswith("my.yaml: training.epoch = 4 is unknown; choose one of accumulate, ")


def test_missing_section_is_named(my_yaml: Path) -> None:
    my_yaml.write_text(MY_RECIPE.replace("spikes: {kind: exact}\n", ""), encoding="utf-8")
    assert refusal(my_yaml).startswith("my.yaml: spikes is missing; ")


def test_long_value_is_cut(my_yaml: Path) -> None:
    message = refusal(my_yaml, f"training.epochs={'x' * 1000}")
    assert len(message) < 200
    assert "xxx..." in message


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "is not an assignment; write key=value, for example --set training.epochs=3"),
        ("=3", "is not an assignment; write key=value, for example --set training.epochs=3"),
        ("a..b=3", "is not an assignment; write key=value, for example --set training.epochs=3"),
        (
            "rule={kind:foo}",
            "YAML takes kind:foo for a key without a value, for a space has to stand behind the colon: "
            '--set "rule={kind: foo}"',
        ),
        ("seed.x=3", "seed = 1 has no keys; set seed as a whole, for example --set seed=VALUE"),
        (
            "model.x=!!binary aGk=",
            "YAML takes no text that begins with !; quote it: --set \"model.x='!!binary aGk='\"",
        ),
        (
            "data.group=*_GROUP.csv",
            "YAML takes no text that begins with *; quote it: --set \"data.group='*_GROUP.csv'\"",
        ),
        ("data.group= @it's", "YAML takes no text that begins with @; quote it: --set \"data.group='@it''s'\""),
        (
            "model.x=[!!binary aGk=]",
            "line 1, column 2: the tag tag:yaml.org,2002:binary is not accepted, leave it out; fix the YAML there",
        ),
        (
            "model.x=[1",
            "line 1, column 3: expected ',' or ']', but got '<stream end>'; fix the YAML there",
        ),
    ],
)
def test_malformed_override_is_named(my_yaml: Path, override: str, message: str) -> None:
    assert refusal(my_yaml, override) == f"--set {override}: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "seed: 1\ndata: {kind: digits\nmodel: x\n",
            "line 3, column 6: expected ',' or '}', but got ':'; fix the YAML there",
        ),
        ("seed: 1\n\tdata: 2\n", "line 2, column 1: "),
        ("seed: 1\ntime_steps: 4\nseed: 2\n", "line 3, column 1: the key seed is repeated; "),
        ("seed: 1\n4: 2\n", "line 2, column 1: the key 4 is not text; "),
        ("data: &a {kind: digits}\nmodel: *a\n", "line 2, column 8: an alias is not accepted, "),
        ("a: &a [*a]\n", "line 1, column 8: an alias is not accepted, "),
        ("seed: 1\nname: a\x07b\n", "line 2: a control character is not YAML; delete it"),
        ("seed: !!python/object/apply:os.getcwd []\n", "line 1, column 7: the tag tag:yaml.org,2002:python/"),
        ("", f"null is not a recipe; a recipe is a YAML mapping with the keys {RECIPE_KEYS}"),
        ("- a\n", '["a"] is not a recipe; '),
    ],
)
def test_broken_yaml_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(text, encoding="utf-8")
    assert refusal(path).startswith(f"my.yaml: {message}")


def test_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_bytes(b"seed: \xff")
    assert refusal(path).startswith("my.yaml: byte 6 is not UTF-8; ")


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"cannot be read \(Is a directory\); give the path of a YAML file"):
        load_recipe(tmp_path)


def test_unknown_name_lists_the_shipped_recipes() -> None:
    with pytest.raises(RecipeError, match=r'digits_hdlf: .*choose one of .*did you mean "digits_hdlif"'):
        load_recipe("digits_hdlf")


def test_shipped_name_wins_over_a_file_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("digits_lif").write_text(MY_RECIPE, encoding="utf-8")
    assert load_recipe("digits_lif").neuron.kind == "lif"
    assert load_recipe("./digits_lif").neuron.kind == "hdlif"
    assert load_recipe(Path("digits_lif")).neuron.kind == "hdlif"


def test_dumped_recipe_keeps_its_name_in_another_file(my_yaml: Path, tmp_path: Path) -> None:
    copy = tmp_path / "recipe.yaml"
    copy.write_text(dump_recipe(load_recipe(my_yaml)), encoding="utf-8")
    assert load_recipe(copy).name == "my"


def test_dump_states_every_value_and_quotes_what_yaml_1_1_takes_for_another_type(my_yaml: Path) -> None:
    text = dump_recipe(load_recipe(my_yaml, ["model={kind: 'yes', a: 1e-3, b: '1e-3', c: '010'}"]))
    assert "  weight_decay: 0.0005\n" in text
    assert "model:\n  kind: 'yes'\n  a: 0.001\n  b: '1e-3'\n  c: '010'\n" in text
    assert yaml.safe_load(text)["model"]["kind"] == "yes"


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
    name=st.text(min_size=1, max_size=12).filter(
        lambda t: t.isprintable() and not set(t) & {"/", "\\"} and t.strip(".")
    ),
    seed=st.integers(0, 2**32 - 1),
    time_steps=st.integers(1, 1000),
    data=st.builds(
        DataConfig,
        kind=texts,
        batch_size=st.integers(1, 10**6),
        validation=st.integers(1, 10**6),
        augment=st.lists(st.text(max_size=12), max_size=3).map(tuple),
    ),
    model=components,
    neuron=components,
    weights=components,
    spikes=components,
    rule=components,
    training=st.builds(
        TrainingConfig,
        epochs=st.integers(100, 200),
        accumulate=st.integers(1, 8),
        ema_decay=st.none() | st.floats(0.1, 0.9),
        compile=st.booleans(),
        learning_rate=st.floats(min_value=0, exclude_min=True, allow_infinity=False),
        momentum=st.floats(0, 1, exclude_max=True),
        weight_decay=st.floats(min_value=0, allow_infinity=False),
        warmup_epochs=st.integers(0, 100),
        label_smoothing=st.floats(0, 1, exclude_max=True),
        precision=st.sampled_from(["32-true", "16-mixed", "bf16-mixed", "64-true"]),
    ),
)


@given(recipe=recipes)
def test_dump_and_load_round_trip(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.yaml"
    path.write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(path) == recipe


@given(value=values)
@example(value="1e5")
@example(value="0.0\n")
@example(value="<<")
@example(value="a\x85b")
@example(value="\ufeffü\u2028")
@example(value="=")
@example(value=[1e16, -0.0, 5e-324])
def test_argument_keeps_value_and_type_through_a_file(value: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    recipe = load_recipe("digits_lif").model_copy(update={"model": Component.model_validate({"kind": "x", "v": value})})
    path = tmp_path_factory.getbasetemp() / "argument.yaml"
    path.write_text(dump_recipe(recipe), encoding="utf-8")
    # repr tells 1 from True and 0.0 from -0.0, which == does not.
    assert repr(load_recipe(path).model.arguments["v"]) == repr(value)
