"""docs/recipes.md names every kind that a recipe may choose."""

from pathlib import Path

import pytest

from hdlif import builders

TEXT = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text("utf-8")
TABLES = {
    name: getattr(builders, name)
    for name in (
        "ATTENTIONS",
        "ATTENTION_FORMS",
        "BINNINGS",
        "DATA",
        "DRAWS",
        "FRAMES",
        "GRANULARITIES",
        "MODELS",
        "NEURONS",
        "NORMS",
        "PARALLEL_PATTERNS",
        "PENALTIES",
        "REDUCTIONS",
        "RESETS",
        "RULES",
        "SPIKES",
        "STEMS",
        "SURROGATES",
        "WEIGHTS",
    )
}


@pytest.mark.parametrize("table", TABLES)
def test_every_kind_is_documented(table: str) -> None:
    missing = [kind for kind in TABLES[table] if f"`{kind}`" not in TEXT and f"{kind}`" not in TEXT]
    assert missing == []
