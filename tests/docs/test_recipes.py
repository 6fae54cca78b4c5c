"""docs/reference/recipes.md names every kind that a recipe may choose."""

import re
from pathlib import Path
from typing import get_args

import pytest

from hdlif.data import AUGMENTATIONS
from hdlif.recipe import builders
from hdlif.recipe.builders.metrics import METRICS
from hdlif.recipe.runs.ablation_tables import Quantity, cells, load_table

TEXT = (Path(__file__).parents[2] / "docs" / "reference" / "recipes.md").read_text("utf-8")
TABLES = {name: value for name, value in vars(builders).items() if name.isupper()}


def test_every_data_set_and_augmentation_has_its_row() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "data.md").read_text("utf-8")
    assert [kind for kind in (*builders.DATA, *AUGMENTATIONS) if f"`{kind}`" not in text] == []


def test_every_plain_metric_has_its_row() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "tasks.md").read_text("utf-8")
    assert [name for name in METRICS if f"`{name}`" not in text] == []


@pytest.mark.parametrize("table", TABLES)
def test_every_kind_is_documented(table: str) -> None:
    missing = [kind for kind in TABLES[table] if f"`{kind}`" not in TEXT and f"{kind}`" not in TEXT]
    assert missing == []


def test_the_example_of_a_table_is_one_with_all_quantities_named_behind_it(tmp_path: Path) -> None:
    found = re.search(r"```yaml\n(title: .*?)```\n\n(`quantities` .*?)\n\n", TEXT, re.DOTALL)
    assert found
    (tmp_path / "mine.yaml").write_text(found[1])
    table = load_table(tmp_path / "mine.yaml")
    assert len(list(cells(table.model_copy(update={"seeds": 1}), tmp_path))) == 4
    assert [name for name in get_args(Quantity) if f"`{name}`" not in found[2]] == []
