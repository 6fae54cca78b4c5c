"""Energy of one operation, in picojoules at 45 nm (Horowitz, ISSCC 2014)."""

from hdlif.graph.ops.work import Work

FLOAT_ADD_PJ = 0.9
FLOAT_MULTIPLY_PJ = 3.7
FLOAT_MAC_PJ = FLOAT_ADD_PJ + FLOAT_MULTIPLY_PJ
INT32_ADD_PJ = 0.1
INT8_MULTIPLY_PJ = 0.2
MJ_PER_PJ = 1e-9


def energy_pj(work: Work) -> float:
    """Of operations, in pJ."""
    of_floats = work.multiplications * FLOAT_MULTIPLY_PJ + work.additions * FLOAT_ADD_PJ
    return of_floats + work.integer_multiplications * INT8_MULTIPLY_PJ + work.integer_additions * INT32_ADD_PJ


def published_energy_pj(sops: float, *, spike_bits: int = 32) -> float:
    """Energy as the paper has it, in pJ: SOPs·0.9, times bits/32 where spikes are quantised; LIF's count as 32 bits."""
    return sops * FLOAT_ADD_PJ * spike_bits / 32
