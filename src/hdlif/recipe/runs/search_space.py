"""The search space of a sweep: keys of a recipe and their possible values.

The YAML file contains `key: {kind: float | int, low: L, high: H, log: false}` or `key: {kind: choice, values: [...]}`.
Keys have the same form as in `--set`. The values of a choice may be entire sections.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError, model_validator

from hdlif.errors import RecipeError
from hdlif.inputs.plain_yaml import parse_yaml, text_of
from hdlif.recipe import Recipe, builders, load_recipe

if TYPE_CHECKING:
    from optuna.trial import Trial


class _Dimension(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def value_of(self, suggested: Any) -> JsonValue:
        """Convert a value from Optuna to a value for the recipe."""
        value: JsonValue = suggested
        return value


class _Range(_Dimension):
    low: float
    high: float
    log: bool = False
    """Whether the logarithm of the value is drawn uniformly."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(
                f"low = {self.low}, high = {self.high}: low must be below high, and above 0 if log is true"
            )
        return self

    @property
    def edges(self) -> list[JsonValue]:
        return [self.low, self.high]


class FloatRange(_Range):
    """A number from `low` to `high`."""

    kind: Literal["float"]

    def suggest(self, trial: Trial, key: str) -> JsonValue:
        return trial.suggest_float(key, self.low, self.high, log=self.log)


class IntRange(_Range):
    """An integer from `low` to `high`, inclusive."""

    kind: Literal["int"]
    low: int
    high: int

    def suggest(self, trial: Trial, key: str) -> JsonValue:
        return trial.suggest_int(key, self.low, self.high, log=self.log)


class Choice(_Dimension):
    """One of `values`."""

    kind: Literal["choice"]
    values: list[JsonValue] = Field(min_length=1)

    def suggest(self, trial: Trial, key: str) -> JsonValue:
        # Convert values to text, because Optuna stores only scalars.
        return self.value_of(trial.suggest_categorical(key, [json.dumps(value) for value in self.values]))

    def value_of(self, suggested: Any) -> JsonValue:
        value: JsonValue = json.loads(suggested)
        return value

    @property
    def edges(self) -> list[JsonValue]:
        return self.values


Dimension = Annotated[FloatRange | IntRange | Choice, Field(discriminator="kind")]
Space = Mapping[str, FloatRange | IntRange | Choice]
_SPACE = TypeAdapter(dict[str, Dimension])


def override(key: str, value: JsonValue) -> str:
    """Return `key=value` for `--set`, with the value in JSON, which is a subset of YAML.

    >>> override("neuron", {"kind": "lif"})
    'neuron={"kind": "lif"}'
    """
    return f"{key}={json.dumps(value)}"


def load_space(
    path: Path,
    recipe: str | Path,
    overrides: Sequence[str] = (),
    look: Callable[[Recipe], Recipe] = lambda recipe: recipe,
) -> Space:
    """Load a search space and check that a recipe with each extreme value can be built. Raises `RecipeError`.

    Args:
        look: as in `built`.
    """
    try:
        text = text_of(path, "a search space")
    except FileNotFoundError:
        raise RecipeError(f"{path}: there is no such file; give the YAML file of a search space") from None
    try:
        space: Space = _SPACE.validate_python(parse_yaml(text, source=str(path)))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        example = "training.learning_rate: {kind: float, low: 0.01, high: 0.3, log: true}"
        raise RecipeError(f"{path}: {place}: {first['msg']}; a key reads, for example, {example}") from None
    if not space:
        raise RecipeError(f"{path}: has no key; a search space needs at least one")
    for key, dimension in space.items():
        for value in dimension.edges:
            try:
                built(recipe, [*overrides, override(key, value)], look)
            except RecipeError as error:
                raise RecipeError(f"{path}: {key}: {error}") from None
    return space


def built(
    recipe: str | Path, overrides: Sequence[str], look: Callable[[Recipe], Recipe] = lambda recipe: recipe
) -> Recipe:
    """Apply the overrides to the recipe, complete it with `look`, and check the result. Raises `RecipeError`."""
    loaded = look(load_recipe(recipe, overrides))
    builders.check(loaded)
    return loaded
