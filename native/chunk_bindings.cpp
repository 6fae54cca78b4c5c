// What trains, for Python. A chunk's addresses are taken as they are: they come from tensors that
// hdlif.functional.fused.native has checked.
#include <string>
#include <tuple>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "chunk.h"

namespace nb = nanobind;

namespace hdlif {
namespace {

using Numbers = nb::ndarray<const int64_t, nb::c_contig, nb::device::cpu>;
using Pair = std::tuple<int32_t, int32_t>;
using Instructions = std::vector<std::tuple<int32_t, int32_t, int32_t, int32_t, double>>;

const Kernels& best_kernels() {
  static const Kernels& best = *[] {
    const Kernels* tables[8];
    return tables[available_kernels(tables, 8) - 1];
  }();
  return best;
}

class TrainedChunk {
public:
  TrainedChunk(const std::vector<int32_t>& streams, const std::vector<int32_t>& after, int32_t rows,
               const Instructions& instructions, const std::vector<Pair>& results,
               const std::vector<int32_t>& summed)
      : chunk_(parts_of(streams, after, rows, instructions, results, summed)) {}

  void run(bool is_double, int64_t steps, int64_t entries, const Numbers& streams, const Numbers& results,
           const Numbers& rows, const Numbers& row_columns, const Numbers& before, const Numbers& after,
           const Numbers& sum_rows, const Numbers& sum_columns, const Numbers& sums,
           const Numbers& sum_counts, int threads, const std::string& instruction_set) const {
    require(steps >= 1 && entries >= 0 && threads >= 1, "steps, entries, threads");
    require_size(streams, chunk_.streams() * steps);
    require_size(results, chunk_.results() * steps);
    require_size(rows, chunk_.rows() * steps);
    require_size(row_columns, chunk_.rows() * 2);
    require_size(before, chunk_.states());
    require_size(after, chunk_.states());
    require_size(sum_rows, chunk_.sums() * steps);
    require_size(sum_columns, chunk_.sums() * 2);
    require_size(sums, chunk_.sums());
    require_size(sum_counts, chunk_.sums());
    const std::vector<Columns> of_rows = columns_of(row_columns), of_sums = columns_of(sum_columns);
    const ChunkRun run{steps,          entries,       streams.data(), results.data(),  rows.data(),
                       of_rows.data(), before.data(), after.data(),   sum_rows.data(), of_sums.data()};
    const Kernels& kernels = kernels_of(instruction_set);
    nb::gil_scoped_release release;
    if (is_double)
      chunk_.run(run, sum_counts.data(), pointers<double>(sums).data(), kernels, threads);
    else
      chunk_.run(run, sum_counts.data(), pointers<float>(sums).data(), kernels, threads);
  }

private:
  static void require(bool holds, const char* message) {
    if (!holds)
      throw nb::value_error(message);
  }
  static void require_size(const Numbers& numbers, int64_t size) {
    require(int64_t(numbers.size()) == size, "an array has another size");
  }

  static const Kernels& kernels_of(const std::string& name) {
    if (name.empty())
      return best_kernels();
    const Kernels* tables[8];
    const int count = available_kernels(tables, 8);
    for (int i = 0; i < count; ++i)
      if (tables[i]->name == name)
        return *tables[i];
    throw nb::value_error("instruction_set: this machine has none of that name");
  }

  static std::vector<Columns> columns_of(const Numbers& numbers) {
    std::vector<Columns> found;
    for (size_t i = 0; i < numbers.size(); i += 2) {
      require(numbers.data()[i] >= 1 && numbers.data()[i + 1] >= 1, "columns: at least 1");
      found.push_back({numbers.data()[i], numbers.data()[i + 1]});
    }
    return found;
  }

  template <typename Real> static std::vector<Real*> pointers(const Numbers& addresses) {
    std::vector<Real*> found;
    for (size_t i = 0; i < addresses.size(); ++i)
      found.push_back(reinterpret_cast<Real*>(addresses.data()[i]));
    return found;
  }

  static Chunk::Parts parts_of(const std::vector<int32_t>& streams, const std::vector<int32_t>& after,
                               int32_t rows, const Instructions& instructions,
                               const std::vector<Pair>& results, const std::vector<int32_t>& summed) {
    Chunk::Parts parts;
    for (int32_t lying : streams)
      parts.streams.push_back({-1, Lying(lying)});
    for (const auto& [register_, lying] : results)
      parts.results.push_back({register_, Lying(lying)});
    for (const auto& [operation, a, b, c, value] : instructions)
      parts.instructions.push_back({ChunkOperation(operation), {a, b, c}, value});
    parts.after = after;
    parts.summed = summed;
    parts.rows = rows;
    return parts;
  }

  Chunk chunk_;
};

} // namespace

void bind_chunk(nb::module_& module) {
  nb::class_<TrainedChunk>(module, "Chunk")
      .def(nb::init<const std::vector<int32_t>&, const std::vector<int32_t>&, int32_t, const Instructions&,
                    const std::vector<Pair>&, const std::vector<int32_t>&>(),
           nb::arg("streams"), nb::arg("after"), nb::arg("rows"), nb::arg("instructions"), nb::arg("results"),
           nb::arg("summed"))
      .def("run", &TrainedChunk::run, nb::arg("is_double"), nb::arg("steps"), nb::arg("entries"),
           nb::arg("streams"), nb::arg("results"), nb::arg("rows"), nb::arg("row_columns"), nb::arg("before"),
           nb::arg("after"), nb::arg("sum_rows"), nb::arg("sum_columns"), nb::arg("sums"),
           nb::arg("sum_counts"), nb::arg("threads"), nb::arg("instruction_set") = "");
}

} // namespace hdlif
