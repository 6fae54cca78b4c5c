"""The space of a sweep: what a file may say, and that every edge of it can be built."""

from pathlib import Path

import pytest

from hdlif.errors import RecipeError
from hdlif.recipe.runs.search_space import load_space, override

SPACE = """
training.learning_rate: {kind: float, low: 0.01, high: 0.3, log: true}
model.width: {kind: int, low: 4, high: 8}
neuron: {kind: choice, values: [{kind: lif}, {kind: hdlif}]}
"""


class Lowest:
    """A trial that suggests the first value, as Optuna would give it."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        assert log
        return low

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        return low

    def suggest_categorical(self, name: str, choices: list[str]) -> str:
        return choices[0]


def test_suggested_values_are_overrides_of_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    space = load_space(path, "digits_hdlif")
    given = [override(key, dimension.suggest(Lowest(), key)) for key, dimension in space.items()]
    assert given == ["training.learning_rate=0.01", "model.width=4", 'neuron={"kind": "lif"}']


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("training.learning_rate: {kind: float, low: 0.3, high: 0.1}", r"learning_rate\.float: .*low is below high"),
        ("training.learning_rate: {kind: float, low: 0.0, high: 0.1, log: true}", "above 0 where log is true"),
        ("training.learning_rate: {kind: floating, low: 0.1, high: 0.2}", "training.learning_rate: .*'float', 'int'"),
        ("training.learning_rate: {kind: float, low: 0.1}", r"high: Field required"),
        ("training.learning_rate: {kind: float, low: 0.1, high: 1, step: 2}", r"step: Extra inputs"),
        ("model.width: {kind: int, low: 1.5, high: 4}", r"model\.width\.int\.low: .*valid integer"),
        ("neuron: {kind: choice, values: []}", "at least 1 item"),
        ("[1]", "the file: .*valid dictionary"),
        ("{}", "has no key"),
        ("a: {", "fix the YAML"),
        # What stands in the file is well formed, but the recipe would not be.
        ("training.epoch: {kind: int, low: 1, high: 2}", r'training\.epoch: .*did you mean "epochs"'),
        ("training.momentum: {kind: float, low: 0.5, high: 1.5}", r"training\.momentum: .*less than 1"),
        ("neuron: {kind: choice, values: [{kind: lif}, {kind: hdlf}]}", r'neuron: .*did you mean "hdlif"'),
    ],
)
def test_space_that_cannot_be_searched_is_refused_by_file_and_key(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=rf"space\.yaml: .*{fault}"):
        load_space(path, "digits_hdlif")


def test_absent_space_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="there is no such file; give the YAML file of a search space"):
        load_space(tmp_path / "no.yaml", "digits_hdlif")
