// Convolution of one output row, event by event; see kernels.h.

namespace {

constexpr int32_t least(int32_t a, int32_t b) {
  return a < b ? a : b;
}
constexpr int32_t most(int32_t a, int32_t b) {
  return a > b ? a : b;
}

void set_event(CodeEvent& event, uint32_t offset, uint8_t code) {
  event = {offset, code};
}
template <typename In> void set_event(FloatEvent& event, uint32_t offset, In value) {
  event = {offset, float(value)};
}

#if defined(__AVX512F__)

// 16 entries of a row, as many as there are, and the values of their events.
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

// Sixteen entries at once: those that are not zero are moved together, and laid beside their offsets.
template <typename In, typename Event>
void gather(const In* row, int32_t width, int32_t channels, int32_t stride, Event* events, int32_t* starts) {
  static_assert(sizeof(Event) == 8, "moved as one integer");
  const Event* const kind = nullptr;
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i ahead = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(stride));
  // word i of an event is an offset where i is even, and else a value, of the second operand
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

// Calls body(begin, end, base) for each run of events in the field of output pixel ox, from the top; the
// weights of an event begin at base + its offset. `entries` weights belong to one column of the kernel. A row
// is one run, where the kernel is not dilated along it, and one for each column of the kernel otherwise.
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

// Sums of kWidth output channels, of which `channels` exist. The width is a constant so that the partial sums
// stay in registers.
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

// Sums of kPixels neighbours in the output row, whose fields do not reach over the row's ends unless it is
// one, and of one block of channels, of which `channels` exist.
template <bool kDilated, int kPixels, typename Weight, Floats (*kAccumulate)(Floats, float, Floats)>
void dense_pixels(const float* const* rows, const Weight* w, float* y, int32_t channels, const ConvShape& s,
                  int32_t ox) {
  constexpr int kParts = kDenseBlock / kFloats;
  const int32_t x0 = ox * s.stride_x - s.pad_x;
  const int32_t left = most(-x0, 0), right = least(s.kernel_x, s.in_width - x0);
  const int64_t step = int64_t(s.stride_x) * s.in_channels;
  Floats total[kPixels][kParts] = {};
  // neighbouring entries of a row, and what meets them
  const auto add = [&](const float* x, const Weight* weights, int64_t entries)
                       __attribute__((always_inline)) {
                         for (int64_t i = 0; i < entries; ++i, weights += kDenseBlock) {
                           Floats weight[kParts];
                           for (int v = 0; v < kParts; ++v)
                             weight[v] = weights_at(weights + v * kFloats);
                           for (int p = 0; p < kPixels; ++p)
                             for (int v = 0; v < kParts; ++v)
                               total[p][v] = kAccumulate(total[p][v], x[p * step + i], weight[v]);
                         }
                       };
  const int64_t column = int64_t(s.in_channels) * kDenseBlock;
  for (int32_t ky = 0; ky < s.kernel_y; ++ky) {
    if (rows[ky] == nullptr)
      continue;
    if constexpr (!kDilated) { // columns of the kernel read on in both
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
    float sums[kDenseBlock];
    for (int v = 0; v < kParts; ++v)
      *reinterpret_cast<FloatsInMemory*>(sums + v * kFloats) = total[p][v];
    for (int32_t c = 0; c < channels; ++c)
      y[int64_t(p) * s.out_channels + c] = sums[c];
  }
}

template <bool kDilated, typename Weight, Floats (*kAccumulate)(Floats, float, Floats)>
void dense_row_of(const float* const* rows, const Weight* w, float* y, const ConvShape& s) {
  // the taps lie between these columns from the first one; those of a negative dilation before it
  const int64_t reach = int64_t(s.kernel_x - 1) * (kDilated ? s.dilation_x : 1);
  const int64_t before = reach < 0 ? -reach : 0, behind = reach > 0 ? reach : 0;
  const int64_t block = int64_t(s.kernel_y) * s.kernel_x * s.in_channels * kDenseBlock;
  for (int32_t ox = 0, count = 1; ox < s.out_width; ox += count, y += int64_t(count) * s.out_channels) {
    // as many pixels as the registers hold sums of, if all of the kernel's columns lie within the row for
    // each
    const auto holds = [&](int32_t pixels) {
      const int64_t x0 = int64_t(ox) * s.stride_x - s.pad_x;
      return ox + pixels <= s.out_width && x0 >= before &&
             x0 + (pixels - 1) * int64_t(s.stride_x) + behind < s.in_width;
    };
    const bool eight = kFloats == 16 && holds(8), four = holds(4);
    count = eight ? 8 : four ? 4 : 1;
    const Weight* weights = w;
    for (int32_t c = 0; c < s.out_channels; c += kDenseBlock, weights += block) {
      const int32_t channels = least(kDenseBlock, s.out_channels - c);
      if (eight)
        dense_pixels<kDilated, 8, Weight, kAccumulate>(rows, weights, y + c, channels, s, ox);
      else if (four)
        dense_pixels<kDilated, 4, Weight, kAccumulate>(rows, weights, y + c, channels, s, ox);
      else
        dense_pixels<kDilated, 1, Weight, kAccumulate>(rows, weights, y + c, channels, s, ox);
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
  if (s.max_weight == 1) // then products are exact
    dense_row_by<int8_t, add_exact_product>(rows, w, y, s);
  else
    dense_row_by<int8_t, add_product>(rows, w, y, s);
}

template <bool kPairs, bool kChanges>
void gather_units_by(const uint8_t* row, const uint8_t* before, int32_t width, const ConvShape& s,
                     const LookupForm& form, UnitEvent* events, int32_t* starts) {
  constexpr int32_t kPerUnit = kPairs ? 2 : 1;
  const int32_t channels = s.in_channels, max_weight = s.max_weight, kinds = 2 * s.max_code + 1;
  const int32_t no_difference = s.max_code * (kPairs ? 1 + kinds : 1);
  const uint32_t lanes = uint32_t(form.lanes), units = uint32_t(form.units);
  UnitEvent* event = events;
  uint32_t offset = 0;
  const auto difference = [&](int32_t c) { return row[c] - (kChanges ? before[c] : 0); };
  // Writes the event of the unit that begins at channel c; whether it is one is for the caller to know.
  const auto set = [&](int32_t c) {
    const int32_t d0 = difference(c), d1 = kPairs ? difference(c + 1) : 0;
    const int32_t bound = ((d0 < 0 ? -d0 : d0) + (d1 < 0 ? -d1 : d1)) * max_weight;
    *event = {offset + uint32_t(c / kPerUnit) * lanes,
              uint16_t((no_difference + d0 + kinds * d1) * kTableEntry), uint16_t(bound)};
    return bound != 0;
  };
  for (int32_t x = 0; x < width; ++x, row += channels, offset += units * lanes) {
    starts[x] = int32_t(event - events);
#if defined(__AVX2__)
    // reads up to 63 bytes beyond the row, which every map of codes has behind it
    for (int32_t first = 0; first < channels; first += 64) {
      uint64_t bits = kChanges ? different(row + first, before + first) : non_zero(row + first);
      if (channels - first < 64)
        bits &= (uint64_t(1) << (channels - first)) - 1;
      if (kPairs)
        bits = (bits | bits >> 1) & 0x5555555555555555u;
      for (; bits != 0; bits &= bits - 1, ++event)
        set(first + __builtin_ctzll(bits));
    }
#else
    for (int32_t c = 0; c < channels; c += kPerUnit)
      event += set(c);
#endif
    if (kChanges)
      before += channels;
  }
  starts[width] = int32_t(event - events);
}

#if defined(__AVX512BW__)

// Pairs of 64 codes at once: their events are made in vectors, and those of live pairs are moved together.
template <bool kChanges>
void gather_pairs(const uint8_t* row, const uint8_t* before, int32_t width, const ConvShape& s,
                  const LookupForm& form, UnitEvent* events, int32_t* starts) {
  static_assert(sizeof(UnitEvent) == 8, "moved as one integer");
  const int32_t kinds = 2 * s.max_code + 1;
  const __m512i ways = _mm512_set1_epi16(int16_t(kinds << 8 | 1));
  const __m512i no_difference = _mm512_set1_epi16(int16_t(s.max_code * (1 + kinds)));
  const __m512i max_weight = _mm512_set1_epi8(int8_t(s.max_weight));
  const int64_t lanes = form.lanes;
  const __m512i lane_offsets =
      _mm512_setr_epi64(0, lanes, 2 * lanes, 3 * lanes, 4 * lanes, 5 * lanes, 6 * lanes, 7 * lanes);
  UnitEvent* event = events;
  int64_t offset = 0;
  for (int32_t x = 0; x < width; ++x, row += s.in_channels) {
    starts[x] = int32_t(event - events);
    for (int32_t first = 0; first < s.in_channels; first += 64) {
      // reads up to 63 bytes beyond the row, which every map of codes has behind it
      __m512i codes = _mm512_loadu_si512(row + first);
      if (kChanges)
        codes = _mm512_sub_epi8(codes, _mm512_loadu_si512(before + first));
      uint32_t live = _mm512_test_epi16_mask(codes, codes);
      const int32_t units = least((s.in_channels - first) / 2, 32);
      if (units < 32)
        live &= (uint32_t(1) << units) - 1;
      const __m512i entry = _mm512_slli_epi16(
          _mm512_add_epi16(_mm512_maddubs_epi16(ways, codes), no_difference), kTableEntryBits);
      const __m512i bound = _mm512_maddubs_epi16(_mm512_abs_epi8(codes), max_weight);
      // the halves of each 128 bits are neighbours: pairs 0..3 and 4..7 of every eight
      const __m512i low = _mm512_unpacklo_epi16(entry, bound), high = _mm512_unpackhi_epi16(entry, bound);
      const auto eight = [&](__m128i four, __m128i next) {
        const __m512i words = _mm512_cvtepu32_epi64(_mm256_set_m128i(next, four));
        const __m512i made = _mm512_or_si512(_mm512_slli_epi64(words, 32),
                                             _mm512_add_epi64(_mm512_set1_epi64(offset), lane_offsets));
        const __mmask8 these = __mmask8(live);
        const int32_t count = __builtin_popcount(these);
        _mm512_mask_storeu_epi64(event, __mmask8((1 << count) - 1), _mm512_maskz_compress_epi64(these, made));
        event += count;
        live >>= 8;
        offset += 8 * lanes;
      };
      eight(_mm512_extracti32x4_epi32(low, 0), _mm512_extracti32x4_epi32(high, 0));
      eight(_mm512_extracti32x4_epi32(low, 1), _mm512_extracti32x4_epi32(high, 1));
      eight(_mm512_extracti32x4_epi32(low, 2), _mm512_extracti32x4_epi32(high, 2));
      eight(_mm512_extracti32x4_epi32(low, 3), _mm512_extracti32x4_epi32(high, 3));
      offset += (units - 32) * lanes;
    }
    if (kChanges)
      before += s.in_channels;
  }
  starts[width] = int32_t(event - events);
}

#endif

void gather_units(const uint8_t* row, const uint8_t* before, int32_t width, const ConvShape& s,
                  const LookupForm& form, UnitEvent* events, int32_t* starts) {
#if defined(__AVX512BW__)
  const auto pairs = before != nullptr ? gather_pairs<true> : gather_pairs<false>;
#else
  const auto pairs = before != nullptr ? gather_units_by<true, true> : gather_units_by<true, false>;
#endif
  const auto single = before != nullptr ? gather_units_by<false, true> : gather_units_by<false, false>;
  (form.per_unit == 2 ? pairs : single)(row, before, width, s, form, events, starts);
}

int64_t excess_of_changes(const uint8_t* row, const uint8_t* before, int64_t count) {
  int64_t excess = 0;
  for (int64_t i = 0; i < count; ++i)
    excess += int(row[i] != before[i]) - int(row[i] != 0);
  return excess;
}

#if defined(HDLIF_HAS_LOOKUP)

constexpr int32_t kRoom = 127;      // of an int8
constexpr int32_t kWidenings = 258; // kRoom times that fits an int16

struct UnitSum {
  const EventRow<UnitEvent>* rows;
  const uint8_t* index;
  const int8_t* table;
  const LookupForm& form;
  const ConvShape& shape;
  bool adds;
};

template <bool kDilated, typename Vector, int kVectors>
void sum_lanes(const UnitSum& sum, int32_t lane, int32_t* totals, float* y, int32_t ox) {
  constexpr int kLanes = kVectors * Vector::kLanes;
  typename Vector::Bytes sums[kVectors];
  alignas(64) int16_t wide[kLanes]; // of what was widened since the last total, if anything
  int32_t room = kRoom, widenings = 0;
  bool adds = sum.adds;
  const auto clear = [&] {
    for (int v = 0; v < kVectors; ++v)
      sums[v] = Vector::zero();
  };
  const auto widen = [&] {
    if (widenings++ == 0)
      for (int i = 0; i < kLanes; ++i)
        wide[i] = 0;
    for (int v = 0; v < kVectors; ++v)
      Vector::widen_add(sums[v], wide + v * Vector::kLanes);
  };
  // Sets the totals, or adds to them.
  const auto total = [&](const auto* part) {
    if (adds)
      for (int i = 0; i < kLanes; ++i)
        totals[i] += part[i];
    else
      for (int i = 0; i < kLanes; ++i)
        totals[i] = part[i];
    adds = true;
  };
  clear();
  for_runs<kDilated>(
      sum.rows, sum.shape, ox, int64_t(sum.form.units) * sum.form.lanes,
      [&](const UnitEvent* event, const UnitEvent* end, int64_t base) __attribute__((always_inline)) {
        const uint8_t* weights = sum.index + (base + lane);
        for (; event < end; ++event) {
          room -= event->bound;
          if (__builtin_expect(room < 0, 0)) {
            widen();
            clear();
            room = kRoom - event->bound;
            if (widenings == kWidenings) {
              total(wide);
              widenings = 0;
            }
          }
          const auto products = Vector::table(sum.table + event->entry);
          const uint8_t* at = weights + event->offset;
          for (int v = 0; v < kVectors; ++v)
            sums[v] = Vector::add(sums[v], Vector::lookup(products, Vector::load(at + v * Vector::kLanes)));
        }
      });
  if (widenings > 0) {
    widen();
    total(wide);
  } else if (room < kRoom || !adds) { // else there was no event
    alignas(64) int8_t bytes[kLanes];
    for (int v = 0; v < kVectors; ++v)
      Vector::store(sums[v], bytes + v * Vector::kLanes);
    total(bytes);
  }
  if (const int32_t channels = sum.shape.out_channels - lane; channels >= kLanes)
    for (int i = 0; i < kLanes; ++i)
      y[i] = float(totals[i]);
  else
    for (int i = 0; i < channels; ++i)
      y[i] = float(totals[i]);
}

// Blocks of kVectors vectors as long as there are lanes for them, then of half as many.
template <bool kDilated, typename Vector, int kVectors>
int32_t sum_blocks(const UnitSum& sum, int32_t lane, int32_t* totals, float* y, int32_t ox) {
  constexpr int kLanes = kVectors * Vector::kLanes;
  for (; lane + kLanes <= sum.form.lanes; lane += kLanes)
    sum_lanes<kDilated, Vector, kVectors>(sum, lane, totals + lane, y + lane, ox);
  if constexpr (kVectors > 1)
    lane = sum_blocks<kDilated, Vector, kVectors / 2>(sum, lane, totals, y, ox);
  return lane;
}

template <bool kDilated>
void unit_row_by(const EventRow<UnitEvent>* rows, const uint8_t* index, const int8_t* table,
                 const LookupForm& form, bool adds, int32_t* totals, float* y, const ConvShape& s) {
  const UnitSum sum{rows, index, table, form, s, adds};
  for (int32_t ox = 0; ox < s.out_width; ++ox, y += s.out_channels, totals += form.lanes) {
    int32_t lane = 0;
#if defined(__AVX512BW__)
    lane = sum_blocks<kDilated, Vector64, 8>(sum, lane, totals, y, ox);
#endif
#if defined(__AVX2__)
    lane = sum_blocks<kDilated, Vector32, 8>(sum, lane, totals, y, ox);
    sum_blocks<kDilated, Vector16, 1>(sum, lane, totals, y, ox);
#else
    sum_blocks<kDilated, Vector16, 8>(sum, lane, totals, y, ox);
#endif
  }
}

void unit_row(const EventRow<UnitEvent>* rows, const uint8_t* index, const int8_t* table,
              const LookupForm& form, bool adds, int32_t* totals, float* y, const ConvShape& s) {
  (s.dilation_x != 1 ? unit_row_by<true> : unit_row_by<false>)(rows, index, table, form, adds, totals, y, s);
}

#endif

} // namespace
