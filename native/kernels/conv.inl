// Convolution of one output row, event by event; see kernels.h.

namespace {

constexpr int32_t least(int32_t a, int32_t b) {
  return a < b ? a : b;
}
constexpr int32_t most(int32_t a, int32_t b) {
  return a > b ? a : b;
}

inline void set_event(CodeEvent& event, uint32_t offset, uint8_t code) {
  event = {offset, code};
}
template <typename In> void set_event(FloatEvent& event, uint32_t offset, In value) {
  event = {offset, float(value)};
}

#if defined(__AVX512F__)

// Loads up to 16 entries of a row as the values of their events.
inline __m512i entries_at(const float* row, __mmask16 which, const FloatEvent*) {
  return _mm512_maskz_loadu_epi32(which, row);
}
inline __m512i entries_at(const uint8_t* row, __mmask16 which, const CodeEvent*) {
  return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(which, row));
}
inline __m512i entries_at(const uint8_t* row, __mmask16 which, const FloatEvent*) {
  const CodeEvent* const as_codes = nullptr;
  return _mm512_castps_si512(_mm512_cvtepi32_ps(entries_at(row, which, as_codes)));
}
inline __mmask16 non_zero(__m512i entries, const FloatEvent*) {
  return _mm512_cmp_ps_mask(_mm512_castsi512_ps(entries), _mm512_setzero_ps(), _CMP_NEQ_UQ);
}
inline __mmask16 non_zero(__m512i entries, const CodeEvent*) {
  return _mm512_test_epi32_mask(entries, entries);
}

// Gathers sixteen entries at a time: packs the non-zero ones together, each with its offset.
template <typename In, typename Event>
void gather(const In* row, int32_t width, int32_t channels, int32_t stride, Event* events, int32_t* starts) {
  static_assert(sizeof(Event) == 8, "moved as one integer");
  const Event* const kind = nullptr;
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i ahead = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(stride));
  // word i of an event is an offset if i is even, else a value, from the second operand
  const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
  Event* event = events;
  uint32_t offset = 0;
  for (int32_t x = 0; x < width; ++x, row += channels) {
    starts[x] = int32_t(event - events);
    for (int32_t c = 0; c < channels; c += 16) {
      const int32_t count = least(channels - c, 16);
      const __m512i entries = entries_at(row + c, __mmask16((1u << count) - 1), kind);
      const __mmask16 live = non_zero(entries, kind);
      const __m512i values = _mm512_maskz_compress_epi32(live, entries);
      const __m512i offsets =
          _mm512_maskz_compress_epi32(live, _mm512_add_epi32(_mm512_set1_epi32(int32_t(offset)), ahead));
      const int32_t found = __builtin_popcount(live);
      _mm512_mask_storeu_epi64(event, __mmask8((1u << least(found, 8)) - 1),
                               _mm512_permutex2var_epi32(offsets, first, values));
      if (found > 8)
        _mm512_mask_storeu_epi64(event + 8, __mmask8((1u << (found - 8)) - 1),
                                 _mm512_permutex2var_epi32(offsets, second, values));
      event += found;
      offset += uint32_t(count) * uint32_t(stride);
    }
  }
  starts[width] = int32_t(event - events);
}

#else

// Writes each entry and advances past non-zero ones: no branch to mispredict.
template <typename In, typename Event>
void gather(const In* row, int32_t width, int32_t channels, int32_t stride, Event* events, int32_t* starts) {
  int32_t count = 0;
  uint32_t offset = 0;
  for (int32_t x = 0; x < width; ++x, row += channels) {
    starts[x] = count;
    for (int32_t c = 0; c < channels; ++c, offset += uint32_t(stride)) {
      set_event(events[count], offset, row[c]);
      count += row[c] != 0;
    }
  }
  starts[width] = count;
}

#endif

// Calls body(begin, end, base) for each run of events in the field of output pixel ox, from the top. The
// weights of an event begin at base + its offset. A column of the kernel has `entries` weights. A row is one
// run, or one run per kernel column if the kernel is dilated along the row.
template <bool kDilated, typename Event, typename Body>
inline __attribute__((always_inline)) void for_runs(const EventRow<Event>* rows, const ConvShape& s,
                                                    int32_t ox, int64_t entries, Body body) {
  const int32_t x0 = ox * s.stride_x - s.pad_x;
  const int32_t left = most(x0, 0), right = least(x0 + s.kernel_x, s.in_width);
  for (int32_t ky = 0; ky < s.kernel_y; ++ky) {
    const EventRow<Event>& row = rows[ky];
    if constexpr (kDilated) {
      for (int32_t kx = 0; kx < s.kernel_x && row.events != nullptr; ++kx)
        if (const int32_t x = x0 + kx * s.dilation_x; x >= 0 && x < s.in_width)
          body(row.events + row.starts[x], row.events + row.starts[x + 1],
               (int64_t(ky) * s.kernel_x + kx - x) * entries);
    } else if (row.events != nullptr) {
      body(row.events + row.starts[left], row.events + row.starts[right],
           (int64_t(ky) * s.kernel_x - x0) * entries);
    }
  }
}

template <int kWidth, typename Total> void store_sums(const Total* total, float* y, int32_t channels) {
  if (channels == kWidth)
    for (int i = 0; i < kWidth; ++i)
      y[i] = float(total[i]);
  else
    for (int i = 0; i < channels; ++i)
      y[i] = float(total[i]);
}

// Sums kWidth output channels, of which `channels` exist. The width is a constant, so the partial sums stay
// in registers.
template <bool kDilated, int kWidth>
void sum_channels(const EventRow<CodeEvent>* rows, const int8_t* w, float* y, int32_t channels,
                  const ConvShape& s, int32_t ox) {
  const int64_t per_partial = most(1, 32767 / (s.max_code * s.max_weight));
  int32_t total[kWidth] = {};
  for_runs<kDilated>(rows, s, ox, int64_t(s.in_channels) * s.lanes(),
                     [&](const CodeEvent* event, const CodeEvent* end, int64_t base) {
                       while (event < end) {
                         const CodeEvent* stop = end - event < per_partial ? end : event + per_partial;
                         int16_t partial[kWidth] = {};
                         for (; event < stop; ++event) {
                           const int8_t* weights = w + (base + event->offset);
                           const int16_t code = int16_t(event->code);
                           for (int i = 0; i < kWidth; ++i)
                             partial[i] = int16_t(partial[i] + code * weights[i]);
                         }
                         for (int i = 0; i < kWidth; ++i)
                           total[i] += partial[i];
                       }
                     });
  store_sums<kWidth>(total, y, channels);
}

template <bool kDilated, int kWidth, typename Weight>
void sum_channels(const EventRow<FloatEvent>* rows, const Weight* w, float* y, int32_t channels,
                  const ConvShape& s, int32_t ox) {
  constexpr int kParts = kWidth / kFloats;
  Floats total[kParts] = {};
  for_runs<kDilated>(
      rows, s, ox, int64_t(s.in_channels) * s.lanes(),
      [&](const FloatEvent* event, const FloatEvent* end, int64_t base) __attribute__((always_inline)) {
        for (; event < end; ++event) {
          const Weight* weights = w + (base + event->offset);
          for (int v = 0; v < kParts; ++v)
            total[v] = add_product(total[v], event->value, weights_at(weights + v * kFloats));
        }
      });
  if (channels == kWidth) {
    for (int v = 0; v < kParts; ++v)
      set(y + v * kFloats, total[v]);
    return;
  }
  float sums[kWidth];
  for (int v = 0; v < kParts; ++v)
    set(sums + v * kFloats, total[v]);
  for (int32_t c = 0; c < channels; ++c)
    y[c] = sums[c];
}

template <bool kDilated, typename Event, typename Weight>
void event_row_by(const EventRow<Event>* rows, const Weight* w, float* y, const ConvShape& s) {
  for (int32_t ox = 0; ox < s.out_width; ++ox, y += s.out_channels) {
    int32_t c = 0;
    for (const int32_t lanes = s.lanes(); c < lanes;) {
      const int32_t left = lanes - c, channels = s.out_channels - c;
      if (left >= 64)
        sum_channels<kDilated, 64>(rows, w + c, y + c, least(64, channels), s, ox);
      else if (left == 48)
        sum_channels<kDilated, 48>(rows, w + c, y + c, channels, s, ox);
      else if (left == 32)
        sum_channels<kDilated, 32>(rows, w + c, y + c, channels, s, ox);
      else
        sum_channels<kDilated, 16>(rows, w + c, y + c, channels, s, ox);
      c += least(left, 64);
    }
  }
}

template <typename Event, typename Weight>
void event_row(const EventRow<Event>* rows, const Weight* w, float* y, const ConvShape& s) {
  (s.dilation_x != 1 ? event_row_by<true, Event, Weight> : event_row_by<false, Event, Weight>)(rows, w, y, s);
}

// Sums kPixels neighbouring output pixels for kBlocks blocks of channels, of which `channels` exist. Only the
// field of a single pixel may extend beyond the row. Each entry is read once and multiplied by the weights of
// all blocks.
template <bool kDilated, int kPixels, int kBlocks, typename Weight,
          Floats (*kAccumulate)(Floats, float, Floats)>
void dense_pixels(const float* const* rows, const Weight* w, float* y, int32_t channels, const ConvShape& s,
                  int32_t ox) {
  constexpr int kParts = kDenseBlock / kFloats;
  const int32_t x0 = ox * s.stride_x - s.pad_x;
  const int32_t left = most(-x0, 0), right = least(s.kernel_x, s.in_width - x0);
  const int64_t step = int64_t(s.stride_x) * s.in_channels;
  const int64_t column = int64_t(s.in_channels) * kDenseBlock;
  const int64_t block = int64_t(s.kernel_y) * s.kernel_x * column;
  Floats total[kPixels][kBlocks * kParts] = {};
  // adds neighbouring entries of a row, times their weights
  const auto add = [&](const float* x, const Weight* weights, int64_t entries)
                       __attribute__((always_inline)) {
                         for (int64_t i = 0; i < entries; ++i, weights += kDenseBlock) {
                           Floats weight[kBlocks * kParts];
                           for (int v = 0; v < kBlocks * kParts; ++v)
                             weight[v] = weights_at(weights + v / kParts * block + v % kParts * kFloats);
                           for (int p = 0; p < kPixels; ++p)
                             for (int v = 0; v < kBlocks * kParts; ++v)
                               total[p][v] = kAccumulate(total[p][v], x[p * step + i], weight[v]);
                         }
                       };
  for (int32_t ky = 0; ky < s.kernel_y; ++ky) {
    if (rows[ky] == nullptr)
      continue;
    if constexpr (!kDilated) { // kernel columns are contiguous in both
      add(rows[ky] + int64_t(x0 + left) * s.in_channels, w + int64_t(ky * s.kernel_x + left) * column,
          int64_t(right - left) * s.in_channels);
    } else {
      for (int32_t kx = 0; kx < s.kernel_x; ++kx)
        if (const int32_t x = x0 + kx * s.dilation_x; x >= 0 && x < s.in_width)
          add(rows[ky] + int64_t(x) * s.in_channels, w + (int64_t(ky) * s.kernel_x + kx) * column,
              s.in_channels);
    }
  }
  for (int p = 0; p < kPixels; ++p) {
    float sums[kBlocks * kDenseBlock];
    for (int v = 0; v < kBlocks * kParts; ++v)
      *reinterpret_cast<FloatsInMemory*>(sums + v * kFloats) = total[p][v];
    for (int32_t c = 0; c < channels; ++c)
      y[int64_t(p) * s.out_channels + c] = sums[c];
  }
}

// Sums all channels: kBlocks blocks at a time, then the remaining ones one by one.
template <bool kDilated, int kPixels, int kBlocks, typename Weight,
          Floats (*kAccumulate)(Floats, float, Floats)>
void dense_channels(const float* const* rows, const Weight* w, float* y, const ConvShape& s, int32_t ox) {
  const int64_t block = int64_t(s.kernel_y) * s.kernel_x * s.in_channels * kDenseBlock;
  int32_t c = 0;
  for (; s.out_channels - c > (kBlocks - 1) * kDenseBlock; c += kBlocks * kDenseBlock, w += kBlocks * block)
    dense_pixels<kDilated, kPixels, kBlocks, Weight, kAccumulate>(
        rows, w, y + c, least(kBlocks * kDenseBlock, s.out_channels - c), s, ox);
  for (; c < s.out_channels; c += kDenseBlock, w += block)
    dense_pixels<kDilated, kPixels, 1, Weight, kAccumulate>(rows, w, y + c,
                                                            least(kDenseBlock, s.out_channels - c), s, ox);
}

template <bool kDilated, typename Weight, Floats (*kAccumulate)(Floats, float, Floats)>
void dense_row_of(const float* const* rows, const Weight* w, float* y, const ConvShape& s) {
  // the columns that the taps span after the first one, or before it if the dilation is negative
  const int64_t reach = int64_t(s.kernel_x - 1) * (kDilated ? s.dilation_x : 1);
  const int64_t before = reach < 0 ? -reach : 0, behind = reach > 0 ? reach : 0;
  // the number of sums that fit in registers along with an entry and its weights
  constexpr int kSums = kFloats == 16 ? 16 : 8 / (kDenseBlock / kFloats);
  for (int32_t ox = 0, count = 1; ox < s.out_width; ox += count, y += int64_t(count) * s.out_channels) {
    // several pixels, if all columns of the kernel are within the row for each
    const auto holds = [&](int32_t pixels) {
      const int64_t x0 = int64_t(ox) * s.stride_x - s.pad_x;
      return ox + pixels <= s.out_width && x0 >= before &&
             x0 + (pixels - 1) * int64_t(s.stride_x) + behind < s.in_width;
    };
    if (kFloats == 16 && holds(8)) {
      count = 8;
      dense_channels<kDilated, 8, most(kSums / 8, 1), Weight, kAccumulate>(rows, w, y, s, ox);
    } else if (holds(4)) {
      count = 4;
      dense_channels<kDilated, 4, most(kSums / 4, 1), Weight, kAccumulate>(rows, w, y, s, ox);
    } else {
      count = 1;
      dense_channels<kDilated, 1, most(kSums / 4, 1), Weight, kAccumulate>(rows, w, y, s, ox);
    }
  }
}

template <typename Weight, Floats (*kAccumulate)(Floats, float, Floats)>
void dense_row_by(const float* const* rows, const Weight* w, float* y, const ConvShape& s) {
  (s.dilation_x != 1 ? dense_row_of<true, Weight, kAccumulate>
                     : dense_row_of<false, Weight, kAccumulate>)(rows, w, y, s);
}

void dense_row(const float* const* rows, const float* w, float* y, const ConvShape& s) {
  dense_row_by<float, add_product>(rows, w, y, s);
}

void dense_row(const float* const* rows, const int8_t* w, float* y, const ConvShape& s) {
  if (s.max_weight == 1) // products are then exact
    dense_row_by<int8_t, add_exact_product>(rows, w, y, s);
  else
    dense_row_by<int8_t, add_product>(rows, w, y, s);
}

} // namespace
