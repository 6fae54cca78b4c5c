// Convolution of one output row by tables of what a unit of codes adds; see kernels.h.

namespace {

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
