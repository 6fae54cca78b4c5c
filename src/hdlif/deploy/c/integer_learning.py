"""C code for continued learning in fixed point, with results bit-identical to `hdlif.deploy.c.fixed.learning`."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hdlif.deploy.c.fixed.fixed_point import FixedPoint
from hdlif.deploy.c.fixed.learning import (
    GRADIENT_BITS,
    LARGEST_SUM,
    LOG2_E,
    POWERS,
    RATE_BITS,
    exponent_format,
    trained_integers,
)
from hdlif.deploy.c.learning import Arrays, Learning
from hdlif.deploy.c.synapses import rows_in
from hdlif.deploy.c.trained import Member, Trained
from hdlif.errors import InputError
from hdlif.graph.graph import Array
from hdlif.graph.learning import Level, Place
from hdlif.runtime.learning import DEFAULT_RATE


def check_level(level: Level, momentum: float) -> None:
    """Raise `InputError` unless fixed-point training supports the level and the momentum."""
    if level != "classifier" or momentum:
        given = f"momentum = {momentum}" if level == "classifier" else f"learn = {level}"
        raise InputError(f"{given}: fixed point trains only the classifier, without momentum; export it in float")


def trained_in_fixed(fixed: FixedPoint, level: Level, momentum: float) -> Trained:
    """Return the tensors that are trained in fixed point, and the values that each step keeps for the backward pass.

    Raises:
        InputError: as in `check_level`.
        HdlifError: as in `trained_integers`.
    """
    check_level(level, momentum)
    places = tuple(one.place for one in trained_integers(fixed))
    layer = next(node for node in fixed.nodes if node.name == places[0].node)
    return Trained(level, 0.0, places, frozenset(), layer.inputs)


@dataclass
class IntegerLearning(Learning):
    """The parts of a C file that implement learning in fixed point."""

    fixed: FixedPoint

    number = "int32_t"
    loss = "gradient_of_loss_fixed"
    rates = "uint32_t rate"

    @property
    def rates_comment(self) -> tuple[str, ...]:
        most = self.fixed.values[self.trained.kept[0]].max_code
        assert most is not None
        steps = LARGEST_SUM // (most << GRADIENT_BITS)
        return (
            f"   Values move by `rate` times the mean; a rate of 1 is {2**RATE_BITS}. Sums cannot saturate within",
            f"   {steps} steps. Returns 1; or 0, without changing the network, if there are no gradients or the rate",
            "   is above 1. */",
        )

    @property
    def default_rates(self) -> str:
        return f"{round(DEFAULT_RATE.floats * 2**RATE_BITS)}u"

    def _add_functions(self) -> None:
        drop, bits = exponent_format(self.fixed.fractions[self.file.graph.output])
        a, b, c = POWERS
        numbers = {"drop": drop, "bits": bits, "mask": (1 << bits) - 1, "log2_e": LOG2_E, "a": a, "b": b, "c": c}
        to_15 = f">> {bits - 15}" if bits >= 15 else f"<< {15 - bits}"
        self.file.use(self.loss, to_15=to_15, **{key: str(number) for key, number in numbers.items()})
        self.file.use("add_gradients_fixed")
        self.file.use("moved_integer")

    def _member(self, place: Place) -> Member:
        node = self._nodes[place.node]
        size = node.tensors[place.role].size
        if place.role == "shift":
            return Member(place, self.file.rows(node, place.role).name.lower(), "int32_t", size, size)
        rows = rows_in(self.file, node, self.fixed.weights(node)[0].astype(np.int16))
        return Member(place, self.file.weights(node).lower(), "int16_t", rows.table.size, size, rows)

    def _learned(self) -> Arrays:
        return [*super()._learned(), ("int8_t", "fractions", 4)]

    def content(self, memory: Mapping[str, Array]) -> bytes:
        return super().content({**memory, "fractions": np.array(self._fractions)})

    @property
    def _fractions(self) -> list[int]:
        """Return the number of fraction bits of each trained tensor, padded with zeros to four entries."""
        own = [one.fraction for one in trained_integers(self.fixed)]
        return own + [0] * (4 - len(own))

    def _start(self) -> str:
        lines = [f"learned->fractions[{k}] = {fraction};" for k, fraction in enumerate(self._fractions) if fraction]
        return super()._start().removesuffix("}\n") + "\n".join((*lines, "}\n"))

    def _passes(self) -> list[str]:
        (source,) = self.trained.kept
        inputs = [(self.file.array(self.file.base[source]), self.file.size(source)), ("(const uint8_t[1]){1}", 1)]
        classes = f"{self.name.upper()}_LABELS"
        return [
            f"add_gradients_fixed(learn->gradients, {classes}, {codes}, {size}, gradients->{member.name});"
            for member, (codes, size) in zip(self.members, inputs, strict=False)
        ]

    def _update(self) -> str:
        lines = [f"const int is_valid = gradients->terms > 0 && rate <= {2**RATE_BITS}u;"]
        for one, tensor in zip(self.members, trained_integers(self.fixed), strict=True):
            factors = f"{one.name.upper()}__FACTORS"
            self.file.add_table(f"int16_t {factors}[{len(tensor.factors)}]", tensor.factors.astype(np.int16))
            lines += [
                f"for (uint32_t k = 0; is_valid && k < {one.size}; k++)",
                f"learned->{one.name}[k] = ({one.type})moved_integer(learned->{one.name}[k], gradients->{one.name}[k],",
                f"gradients->terms, rate, {factors}[k % {len(tensor.factors)}], {tensor.drop}, {tensor.largest});",
            ]
        lines += [
            "memset(gradients, 0, sizeof *gradients);",
            "learned->updates += is_valid ? 1u : 0u;",
            "return is_valid;",
        ]
        return self._update_function(lines)
