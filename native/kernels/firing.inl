// Neurons that output codes, and neurons over time, for an entry or a register of channels; see kernels.h.

namespace {

// Computes a register of channels, or a single channel, as `Lanes`, with the same operations as the separate
// ops.
template <bool kOverTime, bool kAffine, bool kAdd, bool kKeeps, bool kLeaks, typename Lanes, typename Load,
          typename Store, typename StoreCodes>
void fire_lanes(const float* x, uint8_t* y, const Firing& f, int64_t pixels, int32_t channels, int32_t c,
                Load load, Store store, StoreCodes store_codes) {
  // subtracts 0; adding 0 would turn -0 into 0
  const auto of_row = [&](Row row) { return row.columns > 1 ? load(row.data + c) : row.data[0] - Lanes{}; };
  const Lanes zero{}, largest = zero + f.largest;
  Lanes scale{}, shift{}, leak{};
  if constexpr (kAffine) {
    scale = load(f.scale + c);
    shift = load(f.shift + c);
  }
  if constexpr (kLeaks)
    leak = of_row(f.leak);
  const Lanes threshold = of_row(f.threshold), inverse_step = of_row(f.inverse_step);
  // local copies, which no store can change
  const float* const addend = f.addend;
  float *const current = f.current, *const potential = f.potential;
  const float offset = f.offset;
  [[maybe_unused]] Lanes before{}; // over time: the potential of these channels
  if constexpr (kLeaks && kOverTime)
    before = load(potential + c);
  for (int64_t i = c; i < pixels * channels; i += channels) {
    Lanes membrane = load(x + i);
    if constexpr (kAffine)
      membrane = membrane * scale + shift;
    if constexpr (kAdd)
      membrane = membrane + load(addend + i);
    if constexpr (kKeeps)
      store(current + i, membrane);
    if constexpr (kLeaks && kOverTime)
      membrane = leak * before + membrane;
    else if constexpr (kLeaks)
      membrane = leak * load(potential + i) + membrane;
    const Lanes above = membrane - threshold;
    const Lanes scaled = (above > zero ? above : zero) * inverse_step + offset;
    store_codes(y + i, scaled < largest ? scaled : largest);
    [[maybe_unused]] const Lanes after = membrane < threshold ? membrane : threshold;
    if constexpr (kLeaks && kOverTime)
      before = after;
    else if constexpr (kLeaks)
      store(potential + i, after);
  }
  if constexpr (kLeaks && kOverTime)
    store(potential + c, before);
}

template <bool... kParts>
void fire_channels(const float* x, uint8_t* y, const Firing& firing, int64_t pixels, int32_t channels) {
  int32_t c = 0;
  for (; c + kFloats <= channels; c += kFloats)
    fire_lanes<kParts..., Floats>(
        x, y, firing, pixels, channels, c, [](const float* from) { return at(from); },
        [](float* to, Floats values) { set(to, values); },
        [](uint8_t* to, Floats values) { set_codes(to, __builtin_convertvector(values, Integers)); });
  for (; c < channels; ++c)
    fire_lanes<kParts..., float>(
        x, y, firing, pixels, channels, c, [](const float* from) { return *from; },
        [](float* to, float value) { *to = value; },
        [](uint8_t* to, float value) { *to = uint8_t(int32_t(value)); });
}

// Selects the instance for a combination of parts, one part at a time.
template <bool... kChosen>
void fire_parts(const float* x, uint8_t* y, const Firing& firing, int64_t pixels, int32_t channels) {
  constexpr int kCount = sizeof...(kChosen);
  if constexpr (kCount == 5) {
    fire_channels<kChosen...>(x, y, firing, pixels, channels);
  } else {
    const bool parts[] = {firing.scale != nullptr, firing.addend != nullptr, firing.current != nullptr,
                          firing.potential != nullptr};
    if (parts[kCount - 1])
      fire_parts<kChosen..., true>(x, y, firing, pixels, channels);
    else
      fire_parts<kChosen..., false>(x, y, firing, pixels, channels);
  }
}

void fire(const float* x, uint8_t* y, const Firing& firing, int64_t pixels, int32_t channels) {
  fire_parts<false>(x, y, firing, pixels, channels);
}

void fire_over_time(const float* x, uint8_t* y, const Firing& firing, int64_t steps, int32_t channels) {
  fire_parts<true>(x, y, firing, steps, channels);
}

// Computes all steps of a register of channels, or of one channel.
template <typename Lanes, typename Load, typename Store>
void hd_lif_lanes(const float* x, float* potential, float* y, Row leak, Row threshold, int64_t steps,
                  int32_t channels, int32_t c, Load load, Store store) {
  // subtracts 0; adding 0 would turn -0 into 0
  const auto of_row = [&](Row row) { return row.columns > 1 ? load(row.data + c) : row.data[0] - Lanes{}; };
  const Lanes zero{}, leak_c = of_row(leak), threshold_c = of_row(threshold);
  Lanes before = load(potential + c);
  for (int64_t i = c; i < steps * channels; i += channels) {
    const Lanes membrane = leak_c * before + load(x + i);
    const Lanes above = membrane - threshold_c;
    store(y + i, above > zero ? above : zero);
    before = membrane < threshold_c ? membrane : threshold_c;
  }
  store(potential + c, before);
}

void hd_lif_over_time(const float* x, float* potential, float* y, Row leak, Row threshold, int64_t steps,
                      int32_t channels) {
  int32_t c = 0;
  for (; c + kFloats <= channels; c += kFloats)
    hd_lif_lanes<Floats>(
        x, potential, y, leak, threshold, steps, channels, c, [](const float* from) { return at(from); },
        [](float* to, Floats values) { set(to, values); });
  for (; c < channels; ++c)
    hd_lif_lanes<float>(
        x, potential, y, leak, threshold, steps, channels, c, [](const float* from) { return *from; },
        [](float* to, float value) { *to = value; });
}

void lif_over_time(const float* x, float* potential, uint8_t* y, Row leak, Row threshold, Reset reset,
                   int64_t steps, int32_t channels) {
  for (int64_t i = 0; i < steps * channels; i += channels)
    lif(x + i, potential, y + i, leak, threshold, reset, 1, channels);
}

} // namespace
