// Convolution of one output row, with tables of the products of a unit of codes; see kernels.h.

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
  // Writes the event of the unit that begins at channel c; returns whether the unit is an event.
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
    // reads up to 63 bytes beyond the row; every map of codes has this space after it
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

// Gathers 64 codes at a time: builds the events of pairs in vectors, and packs those of live pairs.
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
      // reads up to 63 bytes beyond the row; every map of codes has this space after it
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
      // within each 128 bits of a vector, `low` gets pairs 0..3 of every eight, and `high` gets pairs 4..7
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

int64_t live_codes(const uint8_t* row, int64_t count) {
  int64_t live = 0;
  for (int64_t i = 0; i < count; ++i)
    live += row[i] != 0;
  return live;
}

#if defined(HDLIF_HAS_LOOKUP)

constexpr int32_t kRoom = 127;      // of an int8
constexpr int32_t kWidenings = 258; // multiples of kRoom that fit in an int16

struct UnitSum {
  const EventRow<UnitEvent>* rows;
  const uint8_t* index;
  const int8_t* table;
  const LookupForm& form;
  const ConvShape& shape;
  bool adds;
};

// The int16 and int32 sums of one output pixel, for kVectors vectors of lanes.
template <typename Vector, int kVectors> struct PixelSum {
  using Sums = typename Vector::Bytes[kVectors];
  static constexpr int kLanes = kVectors * Vector::kLanes;

  alignas(64) int16_t wide[kLanes]; // sums widened since the last total, if any
  int32_t widenings;
  int32_t* totals;
  bool adds; // to the totals; sets them otherwise

  void begin(int32_t* to, bool adds_to_it) {
    widenings = 0;
    totals = to;
    adds = adds_to_it;
  }

  __attribute__((always_inline)) void widen(const Sums& sums) {
    if (widenings == kWidenings) {
      total(wide);
      widenings = 0;
    }
    if (widenings++ == 0)
      for (int i = 0; i < kLanes; ++i)
        wide[i] = 0;
    for (int v = 0; v < kVectors; ++v)
      Vector::widen_add(sums[v], wide + v * Vector::kLanes);
  }

  // Adds the last sums, if any, and writes the sums of the `channels` that exist.
  __attribute__((always_inline)) void end(const Sums& sums, bool is_any, float* y, int32_t channels) {
    if (widenings > 0) {
      widen(sums);
      total(wide);
    } else if (is_any || !adds) {
      alignas(64) int8_t bytes[kLanes];
      for (int v = 0; v < kVectors; ++v)
        Vector::store(sums[v], bytes + v * Vector::kLanes);
      total(bytes);
    }
    if (channels >= kLanes)
      for (int i = 0; i < kLanes; ++i)
        y[i] = float(totals[i]);
    else
      for (int i = 0; i < channels; ++i)
        y[i] = float(totals[i]);
  }

private:
  template <typename Part> void total(const Part* part) {
    if (adds)
      for (int i = 0; i < kLanes; ++i)
        totals[i] += part[i];
    else
      for (int i = 0; i < kLanes; ++i)
        totals[i] = part[i];
    adds = true;
  }
};

template <typename Vector, int kVectors>
inline __attribute__((always_inline)) void clear(typename Vector::Bytes (&sums)[kVectors]) {
  for (int v = 0; v < kVectors; ++v)
    sums[v] = Vector::zero();
}

// Sums one output pixel.
template <bool kDilated, typename Vector, int kVectors>
void sum_lanes(const UnitSum& sum, int32_t lane, int32_t* totals, float* y, int32_t ox) {
  typename Vector::Bytes sums[kVectors];
  PixelSum<Vector, kVectors> pixel;
  pixel.begin(totals, sum.adds);
  clear<Vector, kVectors>(sums);
  int32_t room = kRoom;
  for_runs<kDilated>(
      sum.rows, sum.shape, ox, int64_t(sum.form.units) * sum.form.lanes,
      [&](const UnitEvent* event, const UnitEvent* end, int64_t base) __attribute__((always_inline)) {
        const uint8_t* weights = sum.index + (base + lane);
        for (; event < end; ++event) {
          room -= event->bound;
          if (__builtin_expect(room < 0, 0)) {
            pixel.widen(sums);
            clear<Vector, kVectors>(sums);
            room = kRoom - event->bound;
          }
          const auto products = Vector::table(sum.table + event->entry);
          const uint8_t* at = weights + event->offset;
          for (int v = 0; v < kVectors; ++v)
            sums[v] = Vector::add(sums[v], Vector::lookup(products, Vector::load(at + v * Vector::kLanes)));
        }
      });
  pixel.end(sums, room < kRoom, y, sum.shape.out_channels - lane);
}

// Sums a row with a kernel of three columns, without stride and dilation. An input entry contributes to three
// neighbouring output pixels, so its event and its products are loaded once for all three.
template <typename Vector, int kVectors>
void sum_row(const UnitSum& sum, int32_t lane, int32_t* totals, float* y) {
  using Pixel = PixelSum<Vector, kVectors>;
  using Sums = typename Pixel::Sums;
  const ConvShape& s = sum.shape;
  const int64_t column = int64_t(sum.form.units) * sum.form.lanes; // index bytes per kernel column
  Sums left, middle, right;
  Pixel memory[3], *pixels[3] = {memory, memory + 1, memory + 2};
  int32_t rooms[3] = {kRoom, kRoom, kRoom}; // less room further left
  // sums of pixels outside the row, which are never written to y
  alignas(64) int32_t outside[Pixel::kLanes];
  const auto begin = [&](Pixel* pixel, int32_t ox) {
    const bool is_there = ox >= 0 && ox < s.out_width;
    pixel->begin(is_there ? totals + int64_t(ox) * sum.form.lanes : outside, is_there && sum.adds);
  };
  for (int i = 0; i < 3; ++i)
    begin(pixels[i], i - 2);
  clear<Vector, kVectors>(left);
  clear<Vector, kVectors>(middle);
  clear<Vector, kVectors>(right);
  // input column x contributes to output pixel x + pad - kx through kernel column kx
  for (int32_t ox = -2; ox < s.out_width; ++ox) {
    const int32_t x = ox + 2 - s.pad_x;
    int32_t room = rooms[0];
    for (int32_t ky = 0; ky < s.kernel_y && x >= 0 && x < s.in_width; ++ky) {
      const EventRow<UnitEvent>& row = sum.rows[ky];
      if (row.events == nullptr)
        continue;
      const UnitEvent* event = row.events + row.starts[x];
      const UnitEvent* const end = row.events + row.starts[x + 1];
      const uint8_t* weights = sum.index + (lane + (int64_t(ky) * 3 - x) * column);
      for (; event < end; ++event) {
        room -= event->bound;
        if (__builtin_expect(room < 0, 0)) {
          pixels[0]->widen(left);
          pixels[1]->widen(middle);
          pixels[2]->widen(right);
          clear<Vector, kVectors>(left);
          clear<Vector, kVectors>(middle);
          clear<Vector, kVectors>(right);
          rooms[0] = rooms[1] = rooms[2] = kRoom;
          room = kRoom - event->bound;
        }
        const auto products = Vector::table(sum.table + event->entry);
        const uint8_t* at = weights + event->offset;
        const auto add = [&](Sums& sums, const uint8_t* tap) __attribute__((always_inline)) {
          for (int v = 0; v < kVectors; ++v)
            sums[v] = Vector::add(sums[v], Vector::lookup(products, Vector::load(tap + v * Vector::kLanes)));
        };
        add(left, at + 2 * column);
        add(middle, at + column);
        add(right, at);
      }
    }
    if (ox >= 0)
      pixels[0]->end(left, room < kRoom, y + int64_t(ox) * s.out_channels, s.out_channels - lane);
    // shift the sums to the left, and begin a new pixel
    const int32_t spent = rooms[0] - room;
    Pixel* const done = pixels[0];
    pixels[0] = pixels[1];
    pixels[1] = pixels[2];
    pixels[2] = done;
    begin(done, ox + 3);
    rooms[0] = rooms[1] - spent;
    rooms[1] = rooms[2] - spent;
    rooms[2] = kRoom;
    for (int v = 0; v < kVectors; ++v) {
      left[v] = middle[v];
      middle[v] = right[v];
      right[v] = Vector::zero();
    }
  }
}

template <int kCount> struct VectorCount {
  static constexpr int value = kCount;
};

// Processes blocks of kVectors vectors while enough lanes remain, then blocks of half as many. Calls
// body(vector, count, lane) with their types.
template <typename Vector, int kVectors, typename Body>
int32_t for_blocks(const LookupForm& form, int32_t lane, const Body& body) {
  constexpr int kLanes = kVectors * Vector::kLanes;
  for (; lane + kLanes <= form.lanes; lane += kLanes)
    body(Vector(), VectorCount<kVectors>(), lane);
  if constexpr (kVectors > 1)
    lane = for_blocks<Vector, kVectors / 2>(form, lane, body);
  return lane;
}

template <int kMost, typename Body> void for_lanes(const LookupForm& form, const Body& body) {
  int32_t lane = 0;
#if defined(__AVX512BW__)
  lane = for_blocks<Vector64, kMost>(form, lane, body);
#endif
#if defined(__AVX2__)
  lane = for_blocks<Vector32, kMost>(form, lane, body);
  for_blocks<Vector16, 1>(form, lane, body);
#else
  for_blocks<Vector16, kMost>(form, lane, body);
#endif
}

template <bool kDilated> void sum_pixels(const UnitSum& sum, int32_t* totals, float* y) {
  for (int32_t ox = 0; ox < sum.shape.out_width; ++ox, y += sum.shape.out_channels, totals += sum.form.lanes)
    for_lanes<8>(sum.form, [&](auto vector, auto count, int32_t lane) {
      sum_lanes<kDilated, decltype(vector), count.value>(sum, lane, totals + lane, y + lane, ox);
    });
}

void unit_row(const EventRow<UnitEvent>* rows, const uint8_t* index, const int8_t* table,
              const LookupForm& form, bool adds, int32_t* totals, float* y, const ConvShape& s) {
  const UnitSum sum{rows, index, table, form, s, adds};
#if defined(__AVX512BW__)
  constexpr int kMost = 8; // vectors of lanes for three pixels that fit in registers
#else
  constexpr int kMost = 4;
#endif
  if (s.kernel_x == 3 && s.stride_x == 1 && s.dilation_x == 1)
    for_lanes<kMost>(form, [&](auto vector, auto count, int32_t lane) {
      sum_row<decltype(vector), count.value>(sum, lane, totals + lane, y + lane);
    });
  else
    (s.dilation_x != 1 ? sum_pixels<true> : sum_pixels<false>)(sum, totals, y);
}

#endif

} // namespace
