"""C code for early exit: a confidence test on the outputs, and a function that runs steps until the test passes."""

import math

import numpy as np

from hdlif.deploy.c import kernels
from hdlif.deploy.c.arithmetic import Fixed, Numbers
from hdlif.deploy.c.c_file import CFile
from hdlif.deploy.c.ops.seca import POWERS
from hdlif.deploy.c.text import real
from hdlif.errors import InputError
from hdlif.graph.graph import Graph

ONE = 2**20
"""The number 1 in the fixed-point format of the sum of exponentials."""
DECAY = [math.ceil(ONE * math.exp(-quarters / 4)) for quarters in range(65)]
"""Values of e^(-q/4), q = 0, ..., 64, rounded up, so sums err upwards and probabilities downwards."""


def use(file: CFile, arithmetic: Numbers) -> None:
    """Add the kernels and the tables of the confidence test.

    Raises:
        InputError: no sample can be this confident in fixed point.
    """
    if isinstance(arithmetic, Fixed):
        graph = file.graph
        assert graph.confidence is not None
        # The smallest sum: the most probable class adds ONE, each other class at least DECAY[-1].
        if _limit(graph.confidence) < ONE + (len(graph.labels) - 1) * DECAY[-1]:
            raise InputError(
                f"confidence = {graph.confidence:g} is never reached in fixed point, whose probabilities are rounded "
                "down; export with --confidence 0.9999 or less, or in float32 (--arithmetic float)"
            )
        file.use("decay", table=", ".join(map(str, DECAY)))
    else:
        file.use("exponential", **POWERS)


def declared(graph: Graph, name: str, learned: str, *, is_static: bool) -> list[str]:
    """Return the header's declarations; `learned` is the C parameter for learned tensors, or an empty string."""
    given = "the last outputs, with steps 1" if graph.task.combine == "last" else "the sums of outputs over these steps"
    shown = "one frame, used at each step" if is_static else "one frame per step"
    return [
        f"/* Returns 1 if a class has probability {graph.confidence:g} or more, else 0. Takes {given}. */",
        f"int {name}_is_sure(const {name}_total *sums, uint32_t steps);",
        "",
        "/* Runs a sequence from its start until a class is that probable, or for all `steps`, such as",
        f"   {name.upper()}_TIME_STEPS. Takes {shown}.",
        "   Returns the number of steps that ran; the class has the largest of `sums`. */",
        f"uint32_t {name}_run_until_sure({name}_state *state, {name}_work *work, {learned}const {name}_number *frames,",
        f"uint32_t steps, {name}_total *sums);",
        "",
    ]


def functions(file: CFile, arithmetic: Numbers, name: str, *, is_static: bool) -> str:
    graph, upper = file.graph, name.upper()
    assert graph.confidence is not None
    parts = {"name": name, "outputs": f"{upper}_OUTPUTS"}
    if isinstance(arithmetic, Fixed):
        mean = _mean_in_1024ths(arithmetic.network.fractions[graph.output])
        sure = kernels.text_of("sure_fixed", parts | {"mean": mean, "limit": str(_limit(graph.confidence))})
    else:
        sure = kernels.text_of("sure", parts | {"confidence": real(graph.confidence)})
    is_last = graph.task.combine == "last"
    frame = "" if is_static else f" + t * {upper}_FRAME"
    parts |= {"learned": "learned, " if file.learned else "", "as_learned": file.as_learned(name)}
    parts |= {"frame": frame, "add": "=" if is_last else "+=", "counted": "1" if is_last else "t"}
    text = sure + kernels.text_of("run_until_sure", parts)
    return "\n".join(line.strip() for line in text.splitlines()) + "\n"


def _limit(confidence: float) -> int:
    """Return the largest sum of exponentials at which a prediction is confident."""
    return 2**31 if confidence < 2**-11 else math.floor(ONE / np.float32(confidence).item())


def _mean_in_1024ths(fraction: int) -> str:
    """Return a C expression for the mean of the variable `below`, in units of 1/1024 and rounded down.

    Shifting a sum of 16-bit outputs left could overflow, so large distances from the maximum are clipped first. A
    negative number of fraction bits is treated as 0, which underestimates the mean and delays the exit.
    """
    bits = max(fraction, 0)
    if bits >= 10:
        return f"below / steps >> {min(bits - 10, 31)}"
    return f"below >= steps << {bits + 4} ? 16383 : (below << {10 - bits}) / steps"
