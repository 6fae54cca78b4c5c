"""Structs of a C file: members and sizes."""

from dataclasses import dataclass

from hdlif.deploy.c.arithmetic import Numbers
from hdlif.deploy.c.c_file import CFile


@dataclass(frozen=True)
class Struct:
    """Members, and their size with padding."""

    members: list[str]
    size: int

    def typedef(self, name: str, what: str) -> list[str]:
        """Return the lines of its declaration, after a comment that begins with `what`."""
        return [f"/* {what}: {self.size} bytes. */", "typedef struct {", *self.members, f"}} {name};"]


def work_space(file: CFile, arithmetic: Numbers, name: str) -> Struct:
    """Scratch memory of a step, or of all steps."""
    entry, listed, is_answer = file.entry_type, file.listed, file.steps > 1
    active_bytes = int(file.active_type[4:-2]) // 8
    arrays = [
        ("int32_t", 4, "sums", file.sums),
        (arithmetic.total, 4, "totals", file.totals),
        (f"{name}_change", 8, "early", (listed + 1) * is_answer),
        (f"{name}_change", 8, "late", (listed + 1) * is_answer),
        (arithmetic.number, arithmetic.number_bytes, "numbers", file.entries[False]),
        (entry, 2 if entry == "uint16_t" else 4, "entry", listed * (not is_answer)),
        (file.active_type, active_bytes, "active", file.active),
        (file.active_type, active_bytes, "begin", file.begin),
        ("uint8_t", 1, "codes", file.entries[True]),
        ("uint8_t", 1, "code", listed * (not is_answer)),
    ]
    arrays = [array for array in arrays if array[3]] or [("uint8_t", 1, "unused", 1)]
    arrays.sort(key=lambda array: -array[1])
    size, widest = sum(width * count for _, width, _, count in arrays), min(4, arrays[0][1])
    return Struct([f"{kind} {name}[{count}];" for kind, _, name, count in arrays], -(-size // widest) * widest)
