"""Energy of one operation, in picojoules at 45 nm (Horowitz, ISSCC 2014)."""

FLOAT_ADD_PJ = 0.9
FLOAT_MULTIPLY_PJ = 3.7
FLOAT_MAC_PJ = FLOAT_ADD_PJ + FLOAT_MULTIPLY_PJ
INT32_ADD_PJ = 0.1
INT8_MULTIPLY_PJ = 0.2
MJ_PER_PJ = 1e-9


def published_energy_pj(sops: float, *, spike_bits: int = 32) -> float:
    """Energy as the paper has it, in pJ: SOPs·0.9, times bits/32 where spikes are quantised."""
    return sops * FLOAT_ADD_PJ * spike_bits / 32
