// Gradients of a convolution of codes, spike by spike; see kernels.h.

namespace {

#if defined(__AVX2__)

template <typename Each> inline void for_codes(const uint8_t* pixel, int32_t channels, Each each) {
  for (int32_t first = 0; first < channels; first += 64) {
    uint64_t bits = non_zero(pixel + first);
    if (channels - first < 64)
      bits &= (uint64_t(1) << (channels - first)) - 1;
    for (; bits != 0; bits &= bits - 1)
      each(first + __builtin_ctzll(bits));
  }
}

#else

template <typename Each> inline void for_codes(const uint8_t* pixel, int32_t channels, Each each) {
  for (int32_t c = 0; c < channels; ++c)
    if (pixel[c] != 0)
      each(c);
}

#endif

void list_codes(const uint8_t* pixel, int32_t channels, uint32_t offset, FloatEvent** ends) {
  for_codes(pixel, channels, [&](int32_t c) { *ends[c]++ = {offset, float(pixel[c])}; });
}

void list_places(const uint8_t* pixel, int32_t channels, uint32_t offset, int32_t place, CodeEvent** ends) {
  for_codes(pixel, channels, [&](int32_t c) { *ends[c]++ = {offset, place}; });
}

// Returns a * b + c with one rounding.
inline Floats fused(Floats a, Floats b, Floats c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__FMA__)
  return _mm256_fmadd_ps(a, b, c);
#elif defined(HDLIF_NEON)
  return vfmaq_f32(c, a, b);
#else
  Floats sum;
  for (int i = 0; i < kFloats; ++i)
    sum[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return sum;
#endif
}

// Vectors per block, and the numbers of taps whose sums, or whose weights and one sum, stay in registers.
constexpr int kGradientParts = kGradientBlock / kFloats;
#if defined(__AVX512F__)
constexpr int kTapsOfSums = 9, kTapsOfWeights = 9;
#else
constexpr int kTapsOfSums = 3, kTapsOfWeights = 2;
#endif

template <int kTaps>
void weight_gradient_of(const FloatEvent* event, const FloatEvent* end, const float* map,
                        const int32_t* offsets, float* sums) {
  const float* maps[kTaps];
  Floats total[kTaps][kGradientParts];
#pragma GCC unroll 16
  for (int t = 0; t < kTaps; ++t) {
    maps[t] = map + offsets[t];
#pragma GCC unroll 8
    for (int v = 0; v < kGradientParts; ++v)
      total[t][v] = at(sums + t * kGradientBlock + v * kFloats);
  }
  for (; event < end; ++event) {
    const int64_t offset = event->offset;
    const Floats x = Floats{} + event->value;
#pragma GCC unroll 16
    for (int t = 0; t < kTaps; ++t)
#pragma GCC unroll 8
      for (int v = 0; v < kGradientParts; ++v)
        total[t][v] = fused(x, at(maps[t] + offset + v * kFloats), total[t][v]);
  }
#pragma GCC unroll 16
  for (int t = 0; t < kTaps; ++t)
#pragma GCC unroll 8
    for (int v = 0; v < kGradientParts; ++v)
      set(sums + t * kGradientBlock + v * kFloats, total[t][v]);
}

// `kBegins`: the sums start at 0. `kEnds`: writes the totals to `found`, and does not store the sums.
template <int kTaps, bool kBegins, bool kEnds>
void input_gradient_of(const CodeEvent* event, const CodeEvent* end, const float* map, const int32_t* offsets,
                       const int8_t* weights, float* sums, float* found) {
  const float* maps[kTaps];
  Floats weight[kTaps][kGradientParts];
#pragma GCC unroll 16
  for (int t = 0; t < kTaps; ++t) {
    maps[t] = map + offsets[t];
#pragma GCC unroll 8
    for (int v = 0; v < kGradientParts; ++v)
      weight[t][v] = weights_at(weights + t * kGradientBlock + v * kFloats);
  }
  for (; event < end; ++event, sums += kGradientBlock) {
    const int64_t offset = event->offset;
    Floats total[kGradientParts];
#pragma GCC unroll 8
    for (int v = 0; v < kGradientParts; ++v) {
      total[v] = kBegins ? Floats{} : at(sums + v * kFloats);
#pragma GCC unroll 16
      for (int t = 0; t < kTaps; ++t)
        total[v] = fused(weight[t][v], at(maps[t] + offset + v * kFloats), total[v]);
      if (!kEnds)
        set(sums + v * kFloats, total[v]);
    }
    if (kEnds) {
#pragma GCC unroll 4
      for (int width = kGradientParts / 2; width > 0; width /= 2)
#pragma GCC unroll 4
        for (int v = 0; v < width; ++v)
          total[v] = total[v] + total[v + width];
      *found++ = sum_of_halves(total[0]);
    }
  }
}

template <int kValue> struct Count {
  static constexpr int value = kValue;
};

// Calls group(Count, first) for groups of kMost taps, and of half as many if fewer remain.
template <int kMost, typename Group> inline void in_groups(int32_t first, int32_t taps, Group group) {
  for (; taps - first >= kMost; first += kMost)
    group(Count<kMost>{}, first);
  if constexpr (kMost > 1)
    in_groups<kMost / 2>(first, taps, group);
}

void weight_gradient(const FloatEvent* events, const FloatEvent* end, const float* map,
                     const int32_t* offsets, int32_t taps, float* sums) {
  in_groups<kTapsOfSums>(0, taps, [&](auto count, int32_t first) {
    weight_gradient_of<count.value>(events, end, map, offsets + first, sums + first * kGradientBlock);
  });
}

void input_gradient(const CodeEvent* events, const CodeEvent* end, const float* map, const int32_t* offsets,
                    int32_t taps, const int8_t* weights, bool begins, float* sums, float* found) {
  in_groups<kTapsOfWeights>(0, taps, [&](auto count, int32_t first) {
    constexpr int kTaps = count.value;
    const bool is_begin = begins && first == 0, is_end = found != nullptr && first + kTaps == taps;
    const auto of =
        is_begin ? (is_end ? input_gradient_of<kTaps, true, true> : input_gradient_of<kTaps, true, false>)
                 : (is_end ? input_gradient_of<kTaps, false, true> : input_gradient_of<kTaps, false, false>);
    of(events, end, map, offsets + first, weights + first * kGradientBlock, sums, found);
  });
}

} // namespace
