"""The tables, by what they are of."""

from figures.tables import (
    coherence,
    demo,
    digits,
    elsewhere,
    learning,
    losses,
    memory,
    networks,
    neurons_and_rules,
    places,
    published,
    rules,
    runtime,
    series,
    unseen,
    zoo,
)

__all__ = [
    "coherence",
    "demo",
    "digits",
    "elsewhere",
    "learning",
    "losses",
    "memory",
    "networks",
    "neurons_and_rules",
    "places",
    "published",
    "rules",
    "runtime",
    "series",
    "unseen",
    "zoo",
]
