// Ops that process each entry separately, and seca, which processes each map separately; see kernels.h.

namespace {

// Calls body(entry of c in a, entry of c in b, index) for every entry. Reads shared rows once, so the loop
// over entries loads only the maps.
template <bool kA, bool kB, typename Body>
void for_rows(Row a, Row b, int64_t pixels, int32_t channels, Body body) {
  const float shared_a = a.data[0], shared_b = b.data[0];
  if constexpr (!kA && !kB) {
    for (int64_t i = 0; i < pixels * channels; ++i)
      body(shared_a, shared_b, i);
  } else {
    for (int64_t p = 0; p < pixels; ++p)
      for (int32_t c = 0; c < channels; ++c)
        body(kA ? a.data[c] : shared_a, kB ? b.data[c] : shared_b, p * channels + c);
  }
}

template <typename Body> void for_entries(Row a, Row b, int64_t pixels, int32_t channels, Body body) {
  const bool per_channel_a = a.columns > 1, per_channel_b = b.columns > 1;
  if (per_channel_a && per_channel_b)
    for_rows<true, true>(a, b, pixels, channels, body);
  else if (per_channel_a)
    for_rows<true, false>(a, b, pixels, channels, body);
  else if (per_channel_b)
    for_rows<false, true>(a, b, pixels, channels, body);
  else
    for_rows<false, false>(a, b, pixels, channels, body);
}

// The same for an op with one row.
template <typename Body> void for_entries(Row a, int64_t pixels, int32_t channels, Body body) {
  const float none = 0.0f;
  for_entries(a, {&none, 1}, pixels, channels, [=](float a_c, float, int64_t i) { body(a_c, i); });
}

float surplus(float membrane, float threshold) {
  const float above = membrane - threshold;
  return above > 0.0f ? above : 0.0f;
}

// As defined in docs/contributing/model_format.md: 1 / (1 + e) or e / (1 + e).
float sigmoid(float x) {
  const float e = exponential(__builtin_fabsf(x));
  return (x >= 0 ? 1.0f : e) / (1.0f + e);
}

void affine(const float* __restrict x, float* __restrict y, const float* __restrict scale,
            const float* __restrict shift, int64_t pixels, int32_t channels) {
  for (int64_t p = 0; p < pixels; ++p, x += channels, y += channels)
    for (int32_t c = 0; c < channels; ++c)
      y[c] = x[c] * scale[c] + shift[c];
}

void hd_lif(const float* __restrict x, float* __restrict potential, float* __restrict y, Row leak,
            Row threshold, int64_t pixels, int32_t channels) {
  for_entries(leak, threshold, pixels, channels, [=](float leak_c, float threshold_c, int64_t i) {
    const float membrane = leak_c * potential[i] + x[i];
    y[i] = surplus(membrane, threshold_c);
    potential[i] = membrane < threshold_c ? membrane : threshold_c;
  });
}

void parallel(const float* __restrict x, float* __restrict y, Row threshold, int64_t pixels,
              int32_t channels) {
  for_entries(threshold, pixels, channels,
              [=](float threshold_c, int64_t i) { y[i] = surplus(x[i], threshold_c); });
}

void lif(const float* __restrict x, float* __restrict potential, uint8_t* __restrict y, Row leak,
         Row threshold, Reset reset, int64_t pixels, int32_t channels) {
  for_entries(leak, threshold, pixels, channels, [=](float leak_c, float threshold_c, int64_t i) {
    const float membrane = leak_c * potential[i] + x[i];
    const bool fires = membrane >= threshold_c;
    const float after = reset.hard ? reset.potential : membrane - threshold_c;
    y[i] = fires;
    potential[i] = fires ? after : membrane;
  });
}

void quantise(const float* __restrict x, uint8_t* __restrict y, Row inverse_step, float offset, float largest,
              int64_t pixels, int32_t channels) {
  for_entries(inverse_step, pixels, channels, [=](float inverse_step_c, int64_t i) {
    const float positive = x[i] > 0.0f ? x[i] : 0.0f;
    const float scaled = positive * inverse_step_c + offset;
    // clipped before the cast, which is undefined outside the range of int; truncation is the floor here
    y[i] = uint8_t(int32_t(scaled < largest ? scaled : largest));
  });
}

template <typename Body> void for_each(float* __restrict out, const float* a, int32_t count, Body body) {
  for (int32_t i = 0; i < count; ++i)
    out[i] = body(a[i]);
}

template <typename Body>
void for_each(float* __restrict out, const float* a, const float* b, int32_t count, Body body) {
  for (int32_t i = 0; i < count; ++i)
    out[i] = body(a[i], b[i]);
}

template <typename Body>
void for_each(float* __restrict out, const float* a, const float* b, const float* c, int32_t count,
              Body body) {
  for (int32_t i = 0; i < count; ++i)
    out[i] = body(a[i], b[i], c[i]);
}

// The same for registers of lanes, and then for single entries.
template <typename Body> void for_lanes(float* __restrict out, const float* a, int32_t count, Body body) {
  int32_t i = 0;
  for (; i + kFloats <= count; i += kFloats)
    set(out + i, body(at(a + i)));
  for (; i < count; ++i)
    out[i] = body(a[i]);
}

// Executes one instruction on a block.
void execute(const Instruction& instruction, const float* const* registers, float* __restrict out,
             int32_t count) {
  const auto in = [&](int i) { return registers[instruction.operands[i]]; };
  switch (instruction.operation) {
  case Operation::kAdd:
    return for_each(out, in(0), in(1), count, [](float a, float b) { return a + b; });
  case Operation::kSubtract:
    return for_each(out, in(0), in(1), count, [](float a, float b) { return a - b; });
  case Operation::kMultiply:
    return for_each(out, in(0), in(1), count, [](float a, float b) { return a * b; });
  case Operation::kNegative:
    return for_each(out, in(0), count, [](float a) { return -a; });
  case Operation::kAbsolute:
    return for_each(out, in(0), count, [](float a) { return __builtin_fabsf(a); });
  case Operation::kFloor:
    return for_lanes(out, in(0), count, [](auto a) { return floors(a); });
  case Operation::kMinimum:
    return for_each(out, in(0), in(1), count, [](float a, float b) { return b < a ? b : a; });
  case Operation::kMaximum:
    return for_each(out, in(0), in(1), count, [](float a, float b) { return b > a ? b : a; });
  case Operation::kGreater:
    return for_each(out, in(0), in(1), count, [](float a, float b) { return a > b ? 1.0f : 0.0f; });
  case Operation::kGreaterEqual:
    return for_each(out, in(0), in(1), count, [](float a, float b) { return a >= b ? 1.0f : 0.0f; });
  case Operation::kStep:
    return for_each(out, in(0), count, [](float a) { return a >= 0.0f ? 1.0f : 0.0f; });
  case Operation::kSelect:
    return for_each(out, in(0), in(1), in(2), count,
                    [](float chosen, float a, float b) { return chosen != 0.0f ? a : b; });
  case Operation::kMultiplyAdd:
    return for_each(out, in(0), in(1), in(2), count, [](float a, float b, float c) { return a * b + c; });
  case Operation::kSurplus:
    return for_each(out, in(0), in(1), count, [](float a, float b) { return surplus(a, b); });
  case Operation::kFloorBelow: {
    const float largest = instruction.value;
    return for_lanes(out, in(0), count, [=](auto a) {
      const auto whole = floors(a), most = largest - decltype(a){}; // subtracts 0, which keeps -0
      return whole < most ? whole : most;
    });
  }
  case Operation::kConstant:
  case Operation::kCount:
    return;
  }
}

void store_codes(const float* values, uint8_t* codes, int32_t count) {
  int32_t i = 0;
  for (; i + kFloats <= count; i += kFloats)
    set_codes(codes + i, __builtin_convertvector(at(values + i), Integers));
  for (; i < count; ++i)
    codes[i] = uint8_t(int32_t(values[i]));
}

// Returns whether a state takes the old value of another one, so both must be read before either is written.
bool exchanges_states(const EquationStep& step) {
  for (int32_t s = 0; s < step.states; ++s)
    if (step.after[s] >= step.inputs && step.after[s] < step.first_row() && step.after[s] != step.inputs + s)
      return true;
  return false;
}

void equation(const float* const* inputs, float* const* states, float* const* kept, float* y, uint8_t* codes,
              const EquationStep& step, float* registers, int64_t pixels, int32_t channels) {
  constexpr int32_t kBlock = kEquationBlock;
  const float* at_register[kMaxRegisters];
  const int32_t first_row = step.first_row(), first = step.first();
  const int64_t entries = pixels * channels;
  // complete pixels; or part of a pixel, if it has more channels than a block
  const bool is_part = channels > kBlock;
  const int32_t whole = is_part ? kBlock : kBlock / channels * channels;
  const int32_t longest = entries < whole ? int32_t(entries) : whole;
  const auto own = [&](int32_t which) { return registers + int64_t(which) * kBlock; };
  const auto fill = [&](int32_t which, float value) {
    float* to = own(which);
    for (int32_t i = 0; i < longest; ++i)
      to[i] = value;
    at_register[which] = to;
  };
  for (int32_t i = 0; i < step.row_count; ++i) {
    const Row row = step.rows[i];
    if (row.columns == 1) {
      fill(first_row + i, row.data[0]);
    } else if (!is_part) {
      float* to = own(first_row + i);
      for (int32_t p = 0; p < longest; p += channels)
        for (int32_t c = 0; c < channels; ++c)
          to[p + c] = row.data[c];
      at_register[first_row + i] = to;
    }
  }
  for (int32_t i = 0; i < step.instruction_count; ++i)
    if (step.instructions[i].operation == Operation::kConstant)
      fill(first + i, step.instructions[i].value);
  const bool copies_states = exchanges_states(step);
  // the instruction that computes the result writes it directly to y
  const bool gives_directly = y != nullptr && step.result >= first &&
                              step.instructions[step.result - first].operation != Operation::kConstant;
  int32_t channel = 0;
  for (int64_t begin = 0; begin < entries;) {
    const int32_t rest = is_part ? least(channels - channel, kBlock) : whole;
    const int32_t count = entries - begin < rest ? int32_t(entries - begin) : rest;
    const auto give = [&](const float* from, float* to) {
      for (int32_t i = 0; i < count; ++i)
        to[i] = from[i];
    };
    for (int32_t i = 0; i < step.inputs; ++i)
      at_register[i] = inputs[i] + begin;
    for (int32_t s = 0; s < step.states; ++s) {
      at_register[step.inputs + s] = states[s] + begin;
      if (copies_states) {
        give(states[s] + begin, own(step.inputs + s));
        at_register[step.inputs + s] = own(step.inputs + s);
      }
    }
    for (int32_t i = 0; is_part && i < step.row_count; ++i)
      if (step.rows[i].columns > 1)
        at_register[first_row + i] = step.rows[i].data + channel;
    for (int32_t i = 0; i < step.instruction_count; ++i)
      if (step.instructions[i].operation != Operation::kConstant) {
        float* to = gives_directly && first + i == step.result ? y + begin : own(first + i);
        execute(step.instructions[i], at_register, to, count);
        at_register[first + i] = to;
      }
    if (codes != nullptr)
      store_codes(at_register[step.result], codes + begin, count);
    else if (!gives_directly)
      give(at_register[step.result], y + begin);
    for (int32_t i = 0; i < step.kept_count; ++i)
      give(at_register[step.kept[i]], kept[i] + begin);
    for (int32_t s = 0; s < step.states; ++s)
      if (step.after[s] != step.inputs + s)
        give(at_register[step.after[s]], states[s] + begin);
    begin += count;
    channel = is_part && channel + count < channels ? channel + count : 0;
  }
}

void add(const float* __restrict x, const float* __restrict y, float* __restrict z, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    z[i] = x[i] + y[i];
}

void seca(const float* __restrict x, float* __restrict y, Row weight, float bias, int64_t pixels,
          int32_t channels, float* __restrict scratch) {
  float *mean = scratch, *gate = scratch + channels;
  for (int32_t c = 0; c < channels; ++c)
    mean[c] = 0.0f;
  for (int64_t p = 0; p < pixels; ++p)
    for (int32_t c = 0; c < channels; ++c)
      mean[c] += x[p * channels + c];
  for (int32_t c = 0; c < channels; ++c)
    mean[c] /= float(pixels);
  const int32_t margin = weight.columns / 2;
  for (int32_t c = 0; c < channels; ++c) {
    float logit = bias;
    const int32_t first = most(0, margin - c), last = least(weight.columns, channels - c + margin);
    for (int32_t j = first; j < last; ++j)
      logit += weight.data[j] * mean[c + j - margin];
    gate[c] = sigmoid(logit);
  }
  for (int64_t p = 0; p < pixels; ++p)
    for (int32_t c = 0; c < channels; ++c)
      y[p * channels + c] = x[p * channels + c] * gate[c];
}

void widen(const uint8_t* __restrict x, float* __restrict y, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    y[i] = float(x[i]);
}

} // namespace
