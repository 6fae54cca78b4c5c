"""Whatever a recipe holds, the outcome is a recipe, or a `RecipeError` of one printable line; and it comes soon."""

import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from cases import naming, seed
from hdlif.errors import RecipeError
from hdlif.inputs.plain_yaml import MOST_BYTES, MOST_DEPTH, parse_yaml
from hdlif.recipe import Component, Recipe, builders, load_recipe, recipe_text
from hdlif.recipe.builders.schema import SECTIONS
from hostile import NAMES, VALUES, YAML, one_printable_line
from resource_limits import within_cpu_seconds
from special_files import NO_FILES

ARGUMENTS = {name: sorted(section.section_keys()) for name, section in SECTIONS.items()}


def fields(section: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[str]:
    """Every key of the schema, and of each component its arguments."""
    for name, field in section.model_fields.items():
        yield prefix + name
        for found in (field.annotation, *get_args(field.annotation)):
            if isinstance(found, type) and issubclass(found, BaseModel):
                yield from fields(found, f"{prefix}{name}.")
                if found is Component:
                    yield from (
                        f"{prefix}{name}.{argument}" for argument in (*ARGUMENTS[prefix + name], "\x1b", "a\\b")
                    )


FIELDS = list(fields())


def outcome(*overrides: str) -> Recipe | None:
    """The recipe, checked; None where it is refused as it should be."""
    try:
        with within_cpu_seconds(30):
            recipe = load_recipe("digits_hdlif", overrides)
            builders.check(recipe)
    except RecipeError as error:
        one_printable_line(error)
        return None
    return recipe


def test_hostile_yaml_is_a_tree_or_refused_in_one_line() -> None:
    for text in YAML:
        try:
            with within_cpu_seconds(10):
                tree = parse_yaml(text, source="x")
        except RecipeError as error:
            one_printable_line(error)
        else:
            json.dumps(tree).encode()


few = settings(max_examples=25)
"""A sample in the default tier, whose checks build networks; the slow one has a third of each field's values."""


@few
@given(path=st.sampled_from(FIELDS), text=st.sampled_from(YAML))
def test_every_field_takes_or_refuses_hostile_yaml(path: str, text: str) -> None:
    outcome(f"{path}={text}")


def with_value(path: str, value: object) -> dict[str, Any]:
    tree: dict[str, Any] = load_recipe("digits_hdlif").model_dump(mode="json")
    *sections, key = path.split(".")
    place = tree
    for section in sections:
        place = place.setdefault(section, {})
    place[key] = value
    return tree


def checked(tree: Mapping[Any, Any]) -> None:
    try:
        recipe = Recipe.model_validate(tree)
    except ValidationError:
        return
    try:
        with within_cpu_seconds(30):
            builders.check(recipe)
    except RecipeError as error:
        one_printable_line(error)
    # What was taken can be kept: as text that JSON and UTF-8 have.
    json.dumps(recipe.model_dump(mode="json"), allow_nan=False).encode()


@few
@given(
    path=st.sampled_from(FIELDS),
    value=st.sampled_from(VALUES)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    ),
)
def test_every_field_takes_or_refuses_values_of_python(path: str, value: object) -> None:
    if path.split(".")[0] in Recipe.model_fields:
        checked(with_value(path, value))


@pytest.mark.slow
@pytest.mark.parametrize("section", dict.fromkeys(path.partition(".")[0] for path in FIELDS))
def test_every_field_takes_or_refuses_hostile_yaml_and_values(section: str) -> None:
    draw = random.Random(seed())
    for path in [path for path in FIELDS if path.partition(".")[0] == section]:
        for text in draw.sample(YAML, len(YAML) // 3):
            outcome(f"{path}={text}")
        for value in draw.sample(VALUES, len(VALUES) // 3):
            checked(with_value(path, value))


@pytest.mark.slow
@pytest.mark.parametrize("section", SECTIONS)
def test_every_argument_of_every_kind_takes_or_refuses_hostile_values(section: str) -> None:
    hostile = ["-1", "0", "1e308", "-1e308", "1000000000", "9223372036854775807", "[]", "[1000000000]", "{}", '"a\\0"']
    draw = random.Random(seed())
    given = {"model": ", width: 4", "activity": ", weight: 1.0, target: 0.1"}.get(section, "")
    for kind in SECTIONS[section]:
        for argument in ARGUMENTS[section]:
            for text in draw.sample(hostile, len(hostile) // 3):
                outcome(f"{section}={{kind: {kind}, {argument}: {text}}}", "data.train=256")
                if f"{argument}:" not in given:
                    outcome(f"{section}={{kind: {kind}{given}, {argument}: {text}}}")


def test_a_name_that_is_no_single_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    for name in NAMES.values():
        written = json.dumps(name)
        path.write_text(f"base: digits_hdlif\nname: {written}\n")
        for target, overrides in ((path, ()), ("digits_hdlif", [f"name={written}"]), (path, ["seed=1"])):
            with pytest.raises(RecipeError) as refused:
                load_recipe(target, overrides)
            one_printable_line(refused.value)
    for name in ("mine", "mine.v2", "-x", "a b", ".hidden", "ünïcode", "x" * 200):
        assert load_recipe("digits_hdlif", [f"name={json.dumps(name)}"]).name == name


@given(name=st.text() | st.text("./\\\0ab\n", max_size=6))
@example(name="..")
def test_a_name_that_is_taken_stays_in_its_folder(name: str) -> None:
    tree = load_recipe("digits_hdlif").model_dump(mode="json")
    try:
        recipe = Recipe.model_validate(tree | {"name": name})
    except ValidationError:
        return
    path = Path("runs") / recipe.name
    assert path.parts == ("runs", name)
    assert path.resolve().parent == Path("runs").resolve()
    assert name.isprintable()


def test_what_is_no_recipe_or_base_is_refused_soon(tmp_path: Path) -> None:
    targets: list[Path | str] = ["a\0b", "a\ud800", "x" * 300, "\x1b[31m.yaml", "a\nb"]
    stated = ["a\\0b", "\\ud800", "x" * 5000, ".", "..", "/", "~", "/dev/zero"]
    for kind, make in NO_FILES.items():
        make(tmp_path / f"{kind}.yaml")
        targets += [tmp_path / f"{kind}.yaml", str(tmp_path / f"{kind}.yaml")]
        stated.append(f"{kind}.yaml")
    for number, base in enumerate(stated):
        (tmp_path / f"mine{number}.yaml").write_text(f'base: "{base}"\n')
        targets.append(tmp_path / f"mine{number}.yaml")
    for target in targets:
        with naming(target), pytest.raises(RecipeError) as refused, within_cpu_seconds(5):
            load_recipe(target)
        one_printable_line(refused.value)


def test_stated_limits_of_text_and_depth(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: digits_hdlif\n#" + "x" * (MOST_BYTES - 20))
    assert load_recipe(path).name == "mine"
    path.write_text("base: digits_hdlif\n#" + "x" * MOST_BYTES)
    with pytest.raises(RecipeError, match=rf"cannot be read \(larger than {MOST_BYTES:,} bytes\)"):
        load_recipe(path)
    assert parse_yaml("[" * MOST_DEPTH + "1" + "]" * MOST_DEPTH, source="x")
    with pytest.raises(RecipeError, match=f"more than {MOST_DEPTH} levels"):
        parse_yaml("[" * (MOST_DEPTH + 1) + "1" + "]" * (MOST_DEPTH + 1), source="x")


SECRET = "hunter2-secret"


def test_an_error_says_nothing_of_what_a_base_holds(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("base: victim.yaml\ntime_steps: 4\n")
    for content in (
        *(f"{SECRET}\n", f"- {SECRET}\n", f"{SECRET}: 1\n", f"{SECRET}: 1\n{SECRET}: 2\n", f"a: !{SECRET} 1\n"),
        *(f"model: {SECRET}\n", f"seed: {SECRET}\n", f"base: {SECRET}\n", f"a: [{SECRET}\n", f"{SECRET}\x07\n"),
        *(f"training: {{epochs: 1, {SECRET}: 2}}\n", f"training: {{epochs: {SECRET}}}\n", f"a: *{SECRET}\n"),
        f"name: a/{SECRET}\nseed: 1\n",
    ):
        (tmp_path / "victim.yaml").write_text(content)
        for overrides in ((), ("training.momentum=0.5",)):
            with naming(content), pytest.raises(RecipeError) as refused:
                load_recipe(mine, overrides)
            assert SECRET not in one_printable_line(refused.value)


def test_a_base_is_at_or_below_the_folder_of_its_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine"
    (folder / "below").mkdir(parents=True)
    (folder / "link.yaml").symlink_to(tmp_path / "victim.yaml")
    # Whether or not it is there.
    outside = "../victim.yaml", f"{tmp_path}/victim.yaml", "link.yaml", "below/../../victim.yaml", "/etc/passwd/x"
    for stated in outside:
        (folder / "mine.yaml").write_text(f"base: {stated}\n")
        (tmp_path / "victim.yaml").unlink(missing_ok=True)
        said = []
        for _ in range(2):
            with pytest.raises(RecipeError, match="give a shipped recipe, or a file at or below the folder") as refused:
                load_recipe(folder / "mine.yaml")
            said.append(one_printable_line(refused.value))
            (tmp_path / "victim.yaml").write_text(f"{SECRET}: 1\n")
        assert said[0] == said[1]
    monkeypatch.chdir(folder)
    (folder / "below/base.yaml").write_text(recipe_text("digits_hdlif")[1])
    (folder / "inside.yaml").symlink_to("below/base.yaml")
    for stated in ("below/base.yaml", "./below/base.yaml", "below/../below/base.yaml", "inside.yaml"):
        (folder / "mine.yaml").write_text(f"base: {stated}\nseed: 9\n")
        for target in (folder / "mine.yaml", "mine.yaml", "./mine.yaml"):
            assert load_recipe(target).seed == 9


@few
@given(st.text(max_size=40) | st.text("a.=[]{}:\"\\ \n\0-?&*!|>'%@`#,0", max_size=30))
@example(".".join("a" * 2000) + "=1")
@example("base=../x.yaml")
@example("model.width=" + "1" * 70000)
@example("\ud800=1")
@example("neuron.kind=\x1b[31m")
@example("x" * 100_000)
def test_any_assignment_gives_a_recipe_or_one_line(override: str) -> None:
    outcome(override)
