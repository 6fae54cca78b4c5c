"""Recipes of series networks on random series of any length, with no data set at hand."""

import json
from collections.abc import Sequence

from hdlif.recipe import Recipe, load_recipe

CHANNELS, CLASSES = 6, 12
"""As the data set of hapt_hdlif has them."""


def is_series(name: str) -> bool:
    """Whether a recipe's samples are series of the user's own."""
    return load_recipe(name).data.kind == "series"


def series_recipe(name: str, time_steps: int, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe as if series of T steps had been found where its data are."""
    found = {
        "digest": "0" * 64,
        "classes": [f"class {place}" for place in range(CLASSES)],
        "input": {
            "kind": "series",
            "shape": [CHANNELS, time_steps, 1],
            "mean": [0.0] * CHANNELS,
            "std": [1.0] * CHANNELS,
            "resize": "none",
            "fit": "squash",
        },
    }
    return load_recipe(name, [f"time_steps={time_steps}", f"data.found={json.dumps(found)}", *overrides])
