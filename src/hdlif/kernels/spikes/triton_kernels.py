"""Spikes of few levels in Triton's language; `levels.py` says what the kernel is given. Loaded by
`gpu.launching.loaded` alone."""

import triton
import triton.language as tl


@triton.jit
def quantised_spikes(spike, spikes, inside, inverse, offset, most, step, largest, entries, BLOCK: tl.constexpr):
    at = tl.cast(tl.program_id(0), tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = at < entries
    x = tl.load(spike + at, mask=there, other=0.0)
    level = x * inverse + offset
    # The codes are 0 to 255, so that no more than these are cut to whole numbers; what is no number stays so.
    level = tl.where(level < 0.0, 0.0, tl.where(level > most, most, level))
    is_number = level == level
    code = tl.where(is_number, tl.where(is_number, level, 0.0).to(tl.int32).to(tl.float32), level)
    tl.store(spikes + at, code * step, mask=there)
    if inside is not None:
        tl.store(inside + at, x <= largest, mask=there)
