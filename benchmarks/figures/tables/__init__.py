"""The tables, by what they are of."""

from figures.tables import (
    coherence,
    demo,
    digits,
    elsewhere,
    losses,
    memory,
    networks,
    neurons_and_rules,
    places,
    rules,
    runtime,
    series,
    unseen,
)

__all__ = [
    "coherence",
    "demo",
    "digits",
    "elsewhere",
    "losses",
    "memory",
    "networks",
    "neurons_and_rules",
    "places",
    "rules",
    "runtime",
    "series",
    "unseen",
]
