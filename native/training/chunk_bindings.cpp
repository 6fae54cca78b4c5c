// Python bindings of the chunk kernels for training. Addresses of tensors are not checked here:
// hdlif.nn.kernels.chunk has checked the tensors.
#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "../kernels_by_name.h"
#include "chunk.h"

namespace nb = nanobind;

namespace hdlif {
namespace {

using Numbers = nb::ndarray<const int64_t, nb::c_contig, nb::device::cpu>;
using Pair = std::tuple<int32_t, int32_t>;
using Instructions = std::vector<std::tuple<int32_t, int32_t, int32_t, int32_t, double>>;

void require(bool holds, const char* message) {
  if (!holds)
    throw nb::value_error(message);
}

Chunk chunk_of(const std::vector<int32_t>& streams, const std::vector<int32_t>& after, int32_t rows,
               const Instructions& instructions, const std::vector<Pair>& results,
               const std::vector<int32_t>& summed) {
  Chunk::Parts parts;
  for (int32_t encoding : streams)
    parts.streams.push_back({-1, StreamEncoding(encoding)});
  for (const auto& [register_, encoding] : results)
    parts.results.push_back({register_, StreamEncoding(encoding)});
  for (const auto& [operation, a, b, c, value] : instructions)
    parts.instructions.push_back({ChunkOperation(operation), {a, b, c}, value});
  parts.after = after;
  parts.summed = summed;
  parts.rows = rows;
  return Chunk(std::move(parts));
}

// Addresses relative to tensors. Each has the index of one of the call's tensors (below 0: none), a factor of
// its address, and an offset.
class Table {
public:
  Table(const Numbers& numbers, int64_t count) : numbers_(numbers.data(), numbers.data() + numbers.size()) {
    require(int64_t(numbers.size()) == 3 * count, "an array has the wrong size");
  }

  int64_t tensors() const {
    int64_t found = 0;
    for (size_t i = 0; i < numbers_.size(); i += 3)
      found = std::max(found, numbers_[i] + 1);
    return found;
  }

  std::vector<int64_t> addresses(const std::vector<int64_t>& tensors) const {
    std::vector<int64_t> found;
    found.reserve(numbers_.size() / 3);
    for (size_t i = 0; i < numbers_.size(); i += 3)
      found.push_back(numbers_[i] < 0 ? 0 : tensors[size_t(numbers_[i])] * numbers_[i + 1] + numbers_[i + 2]);
    return found;
  }

private:
  std::vector<int64_t> numbers_;
};

// The data that all calls of a chunk share, without the addresses of tensors.
class Layout {
public:
  Layout(const Chunk& chunk, bool is_double, int64_t steps, int64_t entries, const Numbers& streams,
         const Numbers& results, const Numbers& rows, const Numbers& before, const Numbers& after,
         const Numbers& sums, const Numbers& row_columns, const Numbers& sum_columns, const Numbers& sum_rows,
         const Numbers& sum_counts, const std::string& instruction_set)
      : chunk_(chunk), is_double_(is_double), steps_(steps), entries_(entries),
        kernels_(kernels_by_name(instruction_set)), streams_(streams, chunk.streams() * steps),
        results_(results, chunk.results() * steps), rows_(rows, chunk.rows() * steps),
        before_(before, chunk.states()), after_(after, chunk.states()), sums_(sums, chunk.sums()),
        row_columns_(columns_of(row_columns, chunk.rows())),
        sum_columns_(columns_of(sum_columns, chunk.sums())),
        sum_rows_(sum_rows.data(), sum_rows.data() + sum_rows.size()),
        sum_counts_(sum_counts.data(), sum_counts.data() + sum_counts.size()) {
    require(steps >= 1 && entries >= 0, "steps must be at least 1, and entries at least 0");
    require(int64_t(sum_rows_.size()) == chunk.sums() * steps && int64_t(sum_counts_.size()) == chunk.sums(),
            "an array has the wrong size");
    for (size_t i = 0; i < sum_rows_.size(); ++i)
      require(sum_rows_[i] >= 0 && sum_rows_[i] < sum_counts_[i / size_t(steps)],
              "sum_rows: a row is out of range");
    for (const Table* table : {&streams_, &results_, &rows_, &before_, &after_, &sums_})
      tensors_ = std::max(tensors_, table->tensors());
  }

  bool run(const std::vector<int64_t>& tensors, int threads) const {
    require(int64_t(tensors.size()) >= tensors_ && threads >= 1, "tensors: too few, or threads is below 1");
    return is_double_ ? run_of<double>(tensors, threads) : run_of<float>(tensors, threads);
  }

private:
  template <typename Real> bool run_of(const std::vector<int64_t>& tensors, int threads) const {
    const std::vector<int64_t> streams = streams_.addresses(tensors), results = results_.addresses(tensors),
                               rows = rows_.addresses(tensors), before = before_.addresses(tensors),
                               after = after_.addresses(tensors);
    std::vector<Real*> sums;
    for (int64_t address : sums_.addresses(tensors))
      sums.push_back(reinterpret_cast<Real*>(address));
    const ChunkRun run{
        steps_,        entries_,     streams.data(),   results.data(),     rows.data(), row_columns_.data(),
        before.data(), after.data(), sum_rows_.data(), sum_columns_.data()};
    nb::gil_scoped_release release;
    return chunk_.run(run, sum_counts_.data(), sums.data(), kernels_, threads);
  }

  static std::vector<Columns> columns_of(const Numbers& numbers, int64_t count) {
    require(int64_t(numbers.size()) == 2 * count, "an array has the wrong size");
    std::vector<Columns> found;
    for (size_t i = 0; i < numbers.size(); i += 2) {
      require(numbers.data()[i] >= 1 && numbers.data()[i + 1] >= 1, "columns must be at least 1");
      found.push_back({numbers.data()[i], numbers.data()[i + 1]});
    }
    return found;
  }

  const Chunk& chunk_; // must outlive this
  bool is_double_;
  int64_t steps_, entries_, tensors_ = 0;
  const Kernels& kernels_;
  Table streams_, results_, rows_, before_, after_, sums_;
  std::vector<Columns> row_columns_, sum_columns_;
  std::vector<int64_t> sum_rows_, sum_counts_;
};

} // namespace

void bind_chunk(nb::module_& module) {
  nb::class_<Chunk>(module, "Chunk")
      .def(
          "__init__",
          [](Chunk* chunk, const std::vector<int32_t>& streams, const std::vector<int32_t>& after,
             int32_t rows, const Instructions& instructions, const std::vector<Pair>& results,
             const std::vector<int32_t>& summed) {
            new (chunk) Chunk(chunk_of(streams, after, rows, instructions, results, summed));
          },
          nb::arg("streams"), nb::arg("after"), nb::arg("rows"), nb::arg("instructions"), nb::arg("results"),
          nb::arg("summed"));
  nb::class_<Layout>(module, "ChunkLayout")
      .def(nb::init<const Chunk&, bool, int64_t, int64_t, const Numbers&, const Numbers&, const Numbers&,
                    const Numbers&, const Numbers&, const Numbers&, const Numbers&, const Numbers&,
                    const Numbers&, const Numbers&, const std::string&>(),
           nb::keep_alive<1, 2>(), nb::arg("chunk"), nb::arg("is_double"), nb::arg("steps"),
           nb::arg("entries"), nb::arg("streams"), nb::arg("results"), nb::arg("rows"), nb::arg("before"),
           nb::arg("after"), nb::arg("sums"), nb::arg("row_columns"), nb::arg("sum_columns"),
           nb::arg("sum_rows"), nb::arg("sum_counts"), nb::arg("instruction_set") = "")
      .def("run", &Layout::run, nb::arg("tensors"), nb::arg("threads"));
}

} // namespace hdlif
