"""Where the values of a step lie in the scratch memory: each for as long as some stage reads it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hdlif.deploy.c.stages import Stage


@dataclass
class Lifetime:
    """The entries of a value, and the stages, by number, from the one that writes it to the last that reads it."""

    size: int
    first: int
    last: int


def lifetimes(stages: Sequence[Stage], sizes: Mapping[str, int], kept: frozenset[str]) -> dict[str, Lifetime]:
    """Of every stored value, from its entries; those of `kept` live to the end of the step."""
    found: dict[str, Lifetime] = {}
    for place, stage in enumerate(stages):
        for name in (*stage.loaded, *stage.scanned):
            if name in found:
                found[name].last = place
        for name in stage.stored:
            if name in sizes:
                found[name] = Lifetime(sizes[name], place, place)
    for name in kept & found.keys():
        found[name].last = len(stages)
    return found


def placed(stages: Sequence[Stage], lives: Mapping[str, Lifetime]) -> tuple[dict[str, int], int]:
    """The offset of each value, in entries, and how many entries there are; for values of one type.

    A value takes the place of one that its stage reads for the last time entry by entry. The largest are placed first,
    each at the lowest offset that is free for as long as it lives.
    """
    tenants: dict[str, list[str]] = {}
    host: dict[str, str] = {}
    for place, stage in enumerate(stages):
        free = [name for name in stage.loaded if name in lives and name not in stage.scanned]
        free = [name for name in free if lives[name].last == place]
        for name in stage.stored:
            if name not in lives:
                continue
            there = next((one for one in free if lives[one].size == lives[name].size), None)
            host[name] = name if there is None else host[there]
            tenants.setdefault(host[name], []).append(name)
            if there is not None:
                free.remove(there)
    blocks = {
        name: Lifetime(lives[name].size, lives[name].first, max(lives[one].last for one in those))
        for name, those in tenants.items()
    }
    offsets: dict[str, int] = {}
    for name in sorted(blocks, key=lambda name: (-blocks[name].size, blocks[name].first)):
        own = blocks[name]
        offset = 0
        others = [(offsets[o], blocks[o]) for o in offsets]
        for start, other in sorted(((s, b) for s, b in others), key=lambda pair: pair[0]):
            if other.first <= own.last and own.first <= other.last and start < offset + own.size:
                offset = max(offset, start + other.size)
        offsets[name] = offset
    entries = max((offsets[name] + block.size for name, block in blocks.items()), default=0)
    return {name: offsets[host[name]] for name in host}, entries
