"""Who or what a file is of, by its name: a pattern in which `GROUP` stands for that, and * for anything.

Each stands for as little as can be, from the left, which takes no more time than the name is long:

>>> group_in("GROUP_*.wav", "ann_1_2.wav"), group_in("*/GROUP.wav", "digits/7.wav"), group_in("GROUP_*", "ann")
('ann', '7', None)
"""

import re

GROUP = "GROUP"
_WILD = re.compile(r"GROUP|\*")


def check_pattern(pattern: str) -> None:
    """Raise `ValueError` unless the pattern says once where the group stands."""
    if pattern.count(GROUP) != 1 or not pattern.isprintable():
        raise ValueError(
            f"group = {pattern!r} is refused; of files by class it is a pattern of their names in which GROUP "
            "stands once, such as 'GROUP_*.wav'"
        )


def group_in(pattern: str, name: str) -> str | None:
    """The group of a name (the file's path in the folder of its class); None where the pattern does not fit."""
    fixed, wild = _WILD.split(pattern), _WILD.findall(pattern)
    if not name.startswith(fixed[0]):
        return None
    place, found = len(fixed[0]), None
    for number, (kind, text) in enumerate(zip(wild, fixed[1:], strict=True), start=1):
        least = place + (kind == GROUP)
        last = number == len(wild)
        end = name.find(text, least) if not last else len(name) - len(text) if name.endswith(text) else -1
        if end < least:
            return None
        if kind == GROUP:
            found = name[place:end]
        place = end + len(text)
    return found
