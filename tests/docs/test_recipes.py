"""docs/recipes.md names every kind that a recipe may choose."""

from pathlib import Path

import pytest

from hdlif import builders
from hdlif.builders.metrics import METRICS
from hdlif.data import AUGMENTATIONS

TEXT = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text("utf-8")
TABLES = {name: getattr(builders, name) for name in builders.__all__ if name.isupper()}


def test_every_data_set_and_augmentation_has_its_row() -> None:
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text("utf-8")
    assert [kind for kind in (*builders.DATA, *AUGMENTATIONS) if f"`{kind}`" not in text] == []


def test_every_plain_metric_has_its_row() -> None:
    text = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text("utf-8")
    assert [name for name in METRICS if f"`{name}`" not in text] == []


@pytest.mark.parametrize("table", TABLES)
def test_every_kind_is_documented(table: str) -> None:
    missing = [kind for kind in TABLES[table] if f"`{kind}`" not in TEXT and f"{kind}`" not in TEXT]
    assert missing == []
