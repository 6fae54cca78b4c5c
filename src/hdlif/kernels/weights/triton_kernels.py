"""Weights of few bits in Triton's language; `gpu.py` says what each kernel is given. Loaded by `gpu.launching.loaded`
alone."""

import triton
import triton.language as tl


@triton.jit
def add(a, b):
    return a + b


@triton.jit
def clipped(weight, at, entries):
    magnitude = tl.abs(tl.load(weight + at, mask=at < entries, other=0.0))
    # What is no number stays so.
    return tl.where(magnitude > 1.0, 1.0, magnitude)


@triton.jit
def of_all(sums, instances, INSTANCES: tl.constexpr):
    instance = tl.arange(0, INSTANCES)
    return tl.reduce(tl.load(sums + instance, mask=instance < instances, other=0.0), 0, add)


@triton.jit
def least_kept(sums, instances, entries, threshold, INSTANCES: tl.constexpr):
    mean = of_all(sums, instances, INSTANCES) / tl.full([], entries, tl.float64)
    return threshold * mean.to(tl.float32)


@triton.jit
def magnitudes(weight, sums, entries, rounds, BLOCK: tl.constexpr):
    instance = tl.program_id(0)
    total = tl.full([BLOCK], 0.0, tl.float64)
    for i in range(rounds):
        at = (instance * rounds + i) * BLOCK + tl.arange(0, BLOCK)
        total += clipped(weight, at, entries).to(tl.float64)
    tl.store(sums + instance, tl.reduce(total, 0, add))


@triton.jit
def above_threshold(
    weight,
    sums,
    kept,
    counts,
    instances,
    threshold,
    entries,
    rounds,
    INSTANCES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    instance = tl.program_id(0)
    least = least_kept(sums, instances, entries, threshold, INSTANCES)
    total = tl.full([BLOCK], 0.0, tl.float64)
    count = tl.full([BLOCK], 0.0, tl.float64)
    for i in range(rounds):
        at = (instance * rounds + i) * BLOCK + tl.arange(0, BLOCK)
        magnitude = clipped(weight, at, entries)
        is_kept = tl.where((magnitude > least) & (at < entries), 1.0, 0.0)
        total += (magnitude * is_kept).to(tl.float64)
        count += is_kept.to(tl.float64)
    tl.store(kept + instance, tl.reduce(total, 0, add))
    tl.store(counts + instance, tl.reduce(count, 0, add))


@triton.jit
def ternary_values(
    weight,
    weight_q,
    sums,
    kept,
    counts,
    instances,
    threshold,
    entries,
    rounds,
    INSTANCES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    instance = tl.program_id(0)
    least = least_kept(sums, instances, entries, threshold, INSTANCES)
    count = of_all(counts, instances, INSTANCES)
    scale = (of_all(kept, instances, INSTANCES) / tl.where(count < 1.0, 1.0, count)).to(tl.float32)
    for i in range(rounds):
        at = (instance * rounds + i) * BLOCK + tl.arange(0, BLOCK)
        w = tl.load(weight + at, mask=at < entries, other=0.0)
        code = tl.where(clipped(weight, at, entries) > least, 1.0, 0.0)
        # -0 where a negative weight is not kept.
        signed = tl.where(w.to(tl.int32, bitcast=True) < 0, code * -1.0, code)
        tl.store(weight_q + at, signed * scale, mask=at < entries)


@triton.jit
def binary_values(weight, weight_q, entries, BLOCK: tl.constexpr):
    first = tl.cast(tl.program_id(0), tl.int64) * entries
    total = tl.full([BLOCK], 0.0, tl.float64)
    for start in range(0, entries, BLOCK):
        at = start + tl.arange(0, BLOCK)
        total += tl.abs(tl.load(weight + first + at, mask=at < entries, other=0.0)).to(tl.float64)
    scale = (tl.reduce(total, 0, add) / tl.full([], entries, tl.float64)).to(tl.float32)
    for start in range(0, entries, BLOCK):
        at = start + tl.arange(0, BLOCK)
        w = tl.load(weight + first + at, mask=at < entries, other=0.0)
        tl.store(weight_q + first + at, tl.where(w >= 0.0, scale, scale * -1.0), mask=at < entries)
