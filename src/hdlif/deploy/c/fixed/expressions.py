"""Fixed-point arithmetic as C expressions of type int32_t."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy.c.stage_text import StageText
from hdlif.graph.ops import Node


@dataclass
class Expressions:
    """Integers as the text of expressions, which may stand in any other."""

    s: StageText
    node: Node
    count: int = 0

    def constant(self, value: int) -> str:
        return str(value) if value >= 0 else f"({value})"

    def rows(self, key: str, table: NDArray[np.int64]) -> str:
        return self.s.row(self.node, key, table)

    def plus(self, a: str, b: str) -> str:
        return a if b == "0" else f"({a} + {b})"

    def minus(self, a: str, b: str) -> str:
        return f"({a} - {b})"

    def times(self, a: str, b: str) -> str:
        return a if b == "1" else f"({a} * {b})"

    def shifted_down(self, a: str, bits: int) -> str:
        # of what is below 0 too: source.py has the compiler confirm that it rounds down
        return f"({a} >> {bits})"

    def at_most(self, a: str, b: str) -> str:
        return self._call("at_most", a, b)

    def at_least(self, a: str, b: str) -> str:
        return self._call("at_least", a, b)

    def greater(self, a: str, b: str) -> str:
        return f"({a} > {b})"

    def greater_equal(self, a: str, b: str) -> str:
        return f"({a} >= {b})"

    def select(self, chosen: str, a: str, b: str) -> str:
        return f"({chosen} != 0 ? {a} : {b})"

    def saturated(self, a: str) -> str:
        return self._call("saturated", a)

    def kept(self, a: str) -> str:
        self.count += 1
        local = f"{self.s.file.names[self.node.name]}__r{self.count}"
        self.s.line(f"const int32_t {local} = {a};")
        return local

    def _call(self, name: str, *operands: str) -> str:
        self.s.file.use(name)
        return f"{name}({', '.join(operands)})"
