// Programs over chunks, drawn at random: every instruction set gives the bits of the scalar one, any number
// of threads those of one, and nothing beyond what is given is read or written (for the sanitizers).
//
//   chunk_test [INSTRUCTIONS] [CASES]
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "training/chunk.h"

using namespace hdlif;

namespace {

std::mt19937 generator(20261127);

int32_t draw(int32_t low, int32_t high) {
  return low + int32_t(generator() % uint32_t(high - low + 1));
}

template <typename Real> Real real() {
  return Real(draw(-16, 16)) / 4;
}

int64_t address_of(const void* pointer) {
  return int64_t(reinterpret_cast<intptr_t>(pointer));
}

// What is read and written, each of exactly its size.
template <typename Real> struct Case {
  Chunk::Parts parts;
  int64_t steps, entries;
  std::vector<std::vector<Real>> values;  // of streams, rows and states before
  std::vector<std::vector<uint8_t>> bits; // of streams
  std::vector<Columns> row_columns, sum_columns;
  std::vector<int64_t> sum_counts;
};

template <typename Real> std::vector<Real> drawn(int64_t count) {
  std::vector<Real> found;
  for (int64_t i = 0; i < count; ++i)
    found.push_back(real<Real>());
  return found;
}

Columns columns(int64_t entries) {
  const int64_t kinds[] = {1, entries, 3, 8, 512};
  const int64_t count = kinds[draw(0, 4)];
  if (count == 1 || entries % count != 0)
    return {1, 1};
  return {count, draw(0, 1) == 0 ? 1 : entries / count};
}

// What is 1 or 0 may be written as bytes, and everything as codes.
Stream result(const Chunk::Parts& parts, int32_t first, int32_t source) {
  const bool is_truth =
      source >= first &&
      (parts.instructions[size_t(source - first)].operation == ChunkOperation::kGreater ||
       parts.instructions[size_t(source - first)].operation == ChunkOperation::kGreaterEqual);
  return {source, draw(0, 4) == 0 ? StreamEncoding::kCodes : StreamEncoding(draw(0, is_truth ? 2 : 1))};
}

template <typename Real> Case<Real> random_case() {
  Case<Real> made;
  made.steps = draw(1, 4);
  // Now and then enough for several threads.
  made.entries = draw(0, 2) == 0 ? draw(1, 40) : 24 * draw(1, draw(0, 19) == 0 ? 6000 : 64);
  const int32_t streams = draw(1, 3), states = draw(0, 3), rows = draw(0, 3);
  for (int32_t i = 0; i < streams; ++i)
    made.parts.streams.push_back({-1, StreamEncoding(draw(0, 2))});
  made.parts.rows = rows;
  for (int32_t i = 0; i < rows; ++i)
    made.row_columns.push_back(columns(made.entries));
  const int32_t first = streams + states + rows, count = draw(0, 20), all = first + count;
  for (int32_t i = first; i < all; ++i) {
    ChunkInstruction instruction{ChunkOperation(draw(0, int32_t(ChunkOperation::kCount) - 1)), {0, 0, 0}, 0};
    for (int32_t& operand : instruction.operands)
      operand = draw(0, i - 1);
    instruction.value = real<Real>();
    made.parts.instructions.push_back(instruction);
  }
  for (int32_t i = 0; i < states; ++i)
    made.parts.after.push_back(draw(0, all - 1));
  for (int32_t i = draw(0, 3); i > 0; --i)
    made.parts.results.push_back(result(made.parts, first, draw(0, all - 1)));
  for (int32_t i = draw(0, 2); i > 0; --i) {
    made.parts.summed.push_back(draw(0, all - 1));
    made.sum_columns.push_back(columns(made.entries));
    made.sum_counts.push_back(draw(0, 1) == 0 ? 1 : made.steps);
  }
  const int64_t size = made.steps * made.entries;
  for (int32_t i = 0; i < streams; ++i) {
    made.values.push_back(drawn<Real>(size));
    made.bits.emplace_back(
        size_t(made.parts.streams[size_t(i)].encoding == StreamEncoding::kBytes ? size : (size + 7) / 8));
    for (uint8_t& byte : made.bits.back())
      byte = uint8_t(draw(0, 255));
  }
  for (int32_t i = 0; i < rows; ++i)
    made.values.push_back(drawn<Real>(made.steps * made.row_columns[size_t(i)].columns));
  for (int32_t i = 0; i < states; ++i)
    made.values.push_back(drawn<Real>(made.entries));
  return made;
}

// Everything that a run writes, one behind the other.
template <typename Real>
std::vector<std::vector<uint8_t>> run(const Case<Real>& given, const Kernels& kernels, int threads) {
  const Chunk chunk(given.parts);
  const int64_t steps = given.steps, entries = given.entries;
  std::vector<int64_t> streams, results, rows, before, after, sum_rows;
  for (int32_t i = 0; i < chunk.streams(); ++i)
    for (int64_t k = 0; k < steps; ++k) {
      const int64_t values = address_of(given.values[size_t(i)].data() + k * entries);
      const int64_t encoded = address_of(given.bits[size_t(i)].data());
      const StreamEncoding encoding = given.parts.streams[size_t(i)].encoding;
      const bool is_encoded = encoding != StreamEncoding::kValues;
      if ((i + k) % 5 == 4)
        streams.push_back(0); // zeros
      else if (is_encoded && k == 0)
        streams.push_back(-values); // not encoded at this step
      else if (encoding == StreamEncoding::kBits)
        streams.push_back(encoded * 8 + k * entries);
      else
        streams.push_back(is_encoded ? encoded + k * entries : values);
    }
  size_t at = size_t(chunk.streams());
  for (int32_t i = 0; i < chunk.rows(); ++i, ++at)
    for (int64_t k = 0; k < steps; ++k)
      rows.push_back(address_of(given.values[at].data() + k * given.row_columns[size_t(i)].columns));
  std::vector<std::vector<uint8_t>> written;
  const auto room = [&](int64_t bytes) {
    written.emplace_back(size_t(bytes));
    return address_of(written.back().data());
  };
  for (const Stream& result : given.parts.results) {
    const bool is_bits = result.encoding == StreamEncoding::kBits;
    const bool is_bytes =
        result.encoding == StreamEncoding::kBytes || result.encoding == StreamEncoding::kCodes;
    const int64_t size = is_bytes ? 1 : int64_t(sizeof(Real));
    const int64_t first = room(is_bits ? (steps * entries + 7) / 8 : steps * entries * size);
    for (int64_t k = 0; k < steps; ++k)
      results.push_back(k % 3 == 2 ? 0 : is_bits ? first * 8 + k * entries : first + k * entries * size);
  }
  for (int32_t i = 0; i < chunk.states(); ++i, ++at) {
    before.push_back(address_of(given.values[at].data()));
    after.push_back(room(entries * int64_t(sizeof(Real))));
  }
  std::vector<Real*> sums;
  for (int32_t i = 0; i < chunk.sums(); ++i) {
    const int64_t count = given.sum_counts[size_t(i)];
    sums.push_back(
        reinterpret_cast<Real*>(room(count * given.sum_columns[size_t(i)].columns * int64_t(sizeof(Real)))));
    for (int64_t k = 0; k < steps; ++k)
      sum_rows.push_back(count == 1 ? 0 : k);
  }
  const ChunkRun chunk_run{steps,           entries,
                           streams.data(),  results.data(),
                           rows.data(),     given.row_columns.data(),
                           before.data(),   after.data(),
                           sum_rows.data(), given.sum_columns.data()};
  const bool are_codes = chunk.run(chunk_run, given.sum_counts.data(), sums.data(), kernels, threads);
  written.emplace_back(sizeof(Real), uint8_t(are_codes));
  return written;
}

template <typename Real>
bool same(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b, bool is_bits) {
  if (is_bits)
    return a == b;
  for (size_t i = 0; i < a.size(); i += sizeof(Real)) {
    Real x, y;
    std::memcpy(&x, a.data() + i, sizeof(Real));
    std::memcpy(&y, b.data() + i, sizeof(Real));
    if (!(std::isnan(x) && std::isnan(y)) && std::memcmp(&x, &y, sizeof(Real)) != 0)
      return false;
  }
  return true;
}

template <typename Real> void check(const Kernels* const* tables, int count, const std::string& name) {
  const Case<Real> given = random_case<Real>();
  const auto expected = run(given, *tables[0], 1);
  for (int table = 0; table < count; ++table) {
    if (name != "all" && name != tables[table]->name)
      continue;
    for (int threads : {1, 3}) {
      const auto found = run(given, *tables[table], threads);
      for (size_t i = 0; i < found.size(); ++i) {
        const bool is_bits =
            i < given.parts.results.size() && given.parts.results[i].encoding != StreamEncoding::kValues;
        if (!same<Real>(expected[i], found[i], is_bits)) {
          std::fprintf(stderr, "%s, %d threads: result %zu differs from that of %s\n", tables[table]->name,
                       threads, i, tables[0]->name);
          std::exit(1);
        }
      }
    }
  }
}

} // namespace

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "all";
  const int cases = argc > 2 ? std::atoi(argv[2]) : 1000;
  const Kernels* tables[8];
  const int count = available_kernels(tables, 8);
  for (int i = 0; i < cases; ++i) {
    check<float>(tables, count, name);
    check<double>(tables, count, name);
  }
  std::printf("%d cases: %s\n", cases, name.c_str());
  return 0;
}
