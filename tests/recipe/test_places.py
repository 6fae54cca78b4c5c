"""What stands in the tables by its place: it is there, and takes what its text says that it takes."""

import functools
import inspect
import operator
import subprocess
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hdlif.recipe.builders.arguments import adapter
from hdlif.recipe.builders.places import At, Opaque, parameters

from hdlif.data import AUGMENTATIONS
from hdlif.datasets import AUGMENTED
from hdlif.errors import RecipeError
from hdlif.nn import EquationNeuron
from hdlif.recipe import builders, load_recipe, shipped_recipes
from hdlif.recipe.builders import activity, attention, data, model, neuron, norm, rule, spikes, weights
from small_recipes import recipe

SECTIONS = (activity, attention, data, model, neuron, norm, rule, spikes, weights)


def places() -> Iterator[At]:
    """All that the modules of sections name by place: in tables, in tuples, alone, or as what gets it."""
    extra = [At("hdlif.nn:MemBN"), At("hdlif.learning:OTTTCriterion"), At("hdlif.learning:Distillation")]
    found: list[object] = [*extra]
    for module in SECTIONS:
        for value in vars(module).values():
            found += value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple) else [value]
    for value in found:
        value = getattr(value, "load", value)
        # `At(...).get`, and what has an At in front: `partial(f, At(...))`.
        value = getattr(value, "__self__", value)
        if isinstance(value, At):
            yield value


# A model makes its blocks; no recipe gives them arguments.
PLACES = sorted({place.place for place in places()} - {form.place for form in builders.ATTENTION_FORMS.values()})


def test_the_tables_hold_places() -> None:
    assert len(PLACES) > 30


def with_opaque_classes(annotation: Any) -> Any:
    """A union of types, each class of this package in it as the text alone has it."""
    if not isinstance(annotation, types.UnionType):
        return annotation
    parts = typing.get_args(annotation)
    ours = [isinstance(part, type) and part.__module__.startswith("hdlif.") for part in parts]
    return functools.reduce(operator.or_, [Opaque if own else part for part, own in zip(parts, ours, strict=True)])


@pytest.mark.parametrize("place", PLACES)
def test_what_a_place_takes_is_what_is_imported_from_there(place: str) -> None:
    thing = At(place).get()
    hints = typing.get_type_hints(thing.__init__ if inspect.isclass(thing) else thing)
    if inspect.isclass(thing) and issubclass(thing, EquationNeuron):
        hints |= typing.get_type_hints(EquationNeuron.__init__) | dict.fromkeys(thing.declared, float)
    read = parameters(At(place))
    signature = inspect.signature(thing).parameters
    # A loader of events passes what it is asked on; no recipe sets it.
    named = {name: p for name, p in signature.items() if p.kind is not p.VAR_KEYWORD}
    assert list(read) == list(named)
    for name, parameter in read.items():
        assert parameter.required == (named[name].default is inspect.Parameter.empty), name
        # Of a data set: names, or what the builders have made.
        if name in ("augment", "content"):
            continue
        assert (adapter(parameter.annotation) is None) == (adapter(hints[name]) is None), name
        if adapter(hints[name]) is not None:
            assert parameter.annotation == with_opaque_classes(hints[name]), name


def test_what_a_class_of_another_package_takes_is_not_read() -> None:
    """One without a constructor of its own has that of its base; annotations are fields of dataclasses alone."""
    assert parameters(At("hdlif.nn.state:Temporal")) == {}


def test_augmentations_say_what_they_are_for() -> None:
    assert AUGMENTED.keys() == AUGMENTATIONS.keys()


def test_names_of_every_shipped_recipe_are_checked_without_torch() -> None:
    program = """
import sys
from hdlif.recipe.builders import check_names
from hdlif.recipe import load_recipe, shipped_recipes
for name in shipped_recipes():
    check_names(load_recipe(name))
print(*sorted({"torch", "torchvision", "lightning_fabric", "sklearn", "timm", "matplotlib"} & set(sys.modules)))
"""
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert child.stdout == "\n"


@pytest.mark.parametrize(
    "name",
    [name if i % 3 == 0 else pytest.param(name, marks=pytest.mark.slow) for i, name in enumerate(shipped_recipes())],
)
def test_no_key_of_a_section_is_good_that_is_misspelt(name: str) -> None:
    chosen = load_recipe(name)
    builders.check_names(chosen)
    sections = ("model", "norm", "attention", "neuron", "weights", "spikes", "rule", "activity")
    for section in sections:
        with pytest.raises(RecipeError, match=rf"^{section}\.of_nothing is unknown; "):
            builders.check_names(load_recipe(name, [f"{section}.of_nothing=1"]))
        with pytest.raises(RecipeError, match=rf'^{section}\.kind = "nothing" is unknown; choose one of '):
            builders.check_names(load_recipe(name, [f"{section}.kind=nothing"]))


@pytest.mark.parametrize(
    "value", ["neuron.leak=3", "model.width=-3", "weights={kind: ternary, keep_float: [x]}", "data.frames=rows"]
)
def test_values_and_layers_are_left_to_the_whole_check(value: str) -> None:
    builders.check_names(recipe(value))
    with pytest.raises(RecipeError):
        builders.check(recipe(value))
