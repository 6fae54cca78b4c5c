"""Batch norm in Triton's language; `gpu.py` says what each kernel is given. Loaded by `gpu.launching.loaded` alone."""

import triton
import triton.language as tl


@triton.jit
def add(a, b):
    return a + b


@triton.jit
def block_moments(
    maps,
    parts,
    values,
    channels,
    pixels,
    of_image,
    of_channel,
    of_pixel,
    blocks,
    tiles,
    entries,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    instance = tl.program_id(0)
    block = instance % blocks
    tile = instance // blocks % tiles
    step = instance // blocks // tiles
    value = block * ROWS + tl.arange(0, ROWS)
    channel = tile * COLUMNS + tl.arange(0, COLUMNS)
    there = (value < values)[:, None] & (channel < channels)[None, :]
    first = tl.cast(step, tl.int64) * values * channels
    of_value = (value // pixels).to(tl.int64) * of_image + value % pixels * of_pixel
    x = tl.load(maps + first + of_value[:, None] + (channel * of_channel)[None, :], mask=there, other=0.0)
    count = tl.minimum(values - block * ROWS, ROWS).to(tl.float32)
    mean = tl.reduce(x, 0, add) / count
    # Of what is infinite or no number, sums of distances to 0.
    centre = tl.where(mean - mean == 0.0, mean, 0.0)
    distance = tl.where(there, x - centre[None, :], 0.0)
    to = (step * channels + channel) * blocks + block
    is_channel = channel < channels
    tl.store(parts + to, centre, mask=is_channel)
    tl.store(parts + entries + to, tl.reduce(distance, 0, add), mask=is_channel)
    tl.store(parts + 2 * entries + to, tl.reduce(distance * distance, 0, add), mask=is_channel)


@triton.jit
def added_moments(parts, totals, squares, values, blocks, entries, ROWS: tl.constexpr, BLOCKS: tl.constexpr):
    column = tl.program_id(0)
    total = tl.full([BLOCKS], 0.0, tl.float64)
    square = tl.full([BLOCKS], 0.0, tl.float64)
    for first in range(0, blocks, BLOCKS):
        block = first + tl.arange(0, BLOCKS)
        there = block < blocks
        at = parts + column * blocks + block
        centre = tl.load(at, mask=there, other=0.0).to(tl.float64)
        distances = tl.load(at + entries, mask=there, other=0.0).to(tl.float64)
        squared = tl.load(at + 2 * entries, mask=there, other=0.0).to(tl.float64)
        count = tl.minimum(values - block * ROWS, ROWS).to(tl.float64)
        total += count * centre + distances
        square += squared + centre * (2.0 * distances + count * centre)
    tl.store(totals + column, tl.reduce(total, 0, add))
    tl.store(squares + column, tl.reduce(square, 0, add))


@triton.jit(do_not_specialize=["steps"])
def rows(
    weight,
    bias,
    running_mean,
    running_var,
    eps,
    momenta,
    of_steps,
    totals,
    squares,
    mean,
    scale,
    shift,
    slope,
    steps,
    channels,
    values,
    OF_BATCH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    channel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = channel < channels
    factor = tl.load(weight + channel, mask=there, other=0.0).to(tl.float64)
    offset = tl.load(bias + channel, mask=there, other=0.0)
    count = tl.full([BLOCK], values, tl.float64)
    small = tl.load(eps)
    last = tl.full([], -1, tl.int32)
    kept_mean = tl.full([BLOCK], 0.0, tl.float32)
    kept_var = tl.full([BLOCK], 0.0, tl.float32)
    for k in range(steps):
        row = tl.load(of_steps + k)
        at = k * channels + channel
        running = row * channels + channel
        # What was stored a step before may not be read back by another thread.
        is_same = row == last
        before_mean = tl.load(running_mean + running, mask=there, other=0.0)
        before_var = tl.load(running_var + running, mask=there, other=0.0)
        before_mean = tl.where(is_same, kept_mean, before_mean)
        before_var = tl.where(is_same, kept_var, before_var)
        if OF_BATCH:
            total = tl.load(totals + at, mask=there, other=0.0)
            square = tl.load(squares + at, mask=there, other=0.0)
            of_mean = total / count
            distances = square - total * of_mean
            distances = tl.where(distances < 0.0, 0.0, distances)
            of_var = distances / count
            share = tl.load(momenta + k)
            kept_mean = (share * of_mean + (1.0 - share) * before_mean.to(tl.float64)).to(tl.float32)
            kept_var = (share * (distances / (count - 1.0)) + (1.0 - share) * before_var.to(tl.float64)).to(tl.float32)
            tl.store(running_mean + running, kept_mean, mask=there)
            tl.store(running_var + running, kept_var, mask=there)
            last = row
        else:
            of_mean = before_mean.to(tl.float64)
            of_var = before_var.to(tl.float64)
        inverse = 1.0 / tl.sqrt(of_var + small)
        tl.store(mean + at, of_mean.to(tl.float32), mask=there)
        tl.store(scale + at, (factor * inverse).to(tl.float32), mask=there)
        tl.store(shift + at, offset, mask=there)
        if slope is not None:
            tl.store(slope + at, inverse.to(tl.float32), mask=there)


@triton.jit(do_not_specialize=["steps"])
def row_gradients(
    scale,
    slope,
    of_scale,
    of_shift,
    of_weight,
    of_bias,
    constant,
    by_distance,
    steps,
    channels,
    values,
    BLOCK: tl.constexpr,
):
    channel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = channel < channels
    count = tl.full([BLOCK], values, tl.float64)
    weights = tl.full([BLOCK], 0.0, tl.float64)
    biases = tl.full([BLOCK], 0.0, tl.float64)
    for k in range(steps):
        at = k * channels + channel
        factor = tl.load(scale + at, mask=there, other=0.0).to(tl.float64)
        inverse = tl.load(slope + at, mask=there, other=0.0).to(tl.float64)
        by_scale = tl.load(of_scale + at, mask=there, other=0.0).to(tl.float64)
        by_shift = tl.load(of_shift + at, mask=there, other=0.0).to(tl.float64)
        weights += by_scale * inverse
        biases += by_shift
        tl.store(constant + at, (-factor * by_shift / count).to(tl.float32), mask=there)
        tl.store(by_distance + at, (-factor * inverse * inverse * by_scale / count).to(tl.float32), mask=there)
    tl.store(of_weight + channel, weights.to(tl.float32), mask=there)
    tl.store(of_bias + channel, biases.to(tl.float32), mask=there)


@triton.jit
def add_statistics_gradient(
    maps, mean, constant, by_distance, gradient, blocks, entries, channels, inner, BLOCK: tl.constexpr
):
    instance = tl.program_id(0)
    step = instance // blocks
    at = instance % blocks * BLOCK + tl.arange(0, BLOCK)
    there = at < entries
    row = step * channels + at // inner % channels
    place = tl.cast(step, tl.int64) * entries + at
    x = tl.load(maps + place, mask=there, other=0.0)
    distance = x - tl.load(mean + row, mask=there, other=0.0)
    further = tl.load(constant + row, mask=there, other=0.0)
    further += tl.load(by_distance + row, mask=there, other=0.0) * distance
    tl.store(gradient + place, tl.load(gradient + place, mask=there, other=0.0) + further, mask=there)
