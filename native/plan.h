// Plans the execution of a graph: which nodes are computed together, and with which kernels.
#pragma once

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "graph.h"
#include "kernels/kernels.h"
#include "memory.h"
#include "passes.h"
#include "tiles.h"
#include "timeline.h"

namespace hdlif {

// A root reads neighbouring entries of its input; the nodes of the chain compute each pixel independently. A
// stage computes one output row of its root, and then the chain on this row while the row is in the cache, so
// an input current that only its neuron reads is never written to memory. Only the first stages of a graph
// and stages after an op that needs the entire map have no root.
struct Stage {
  int32_t root = -1;
  std::vector<int32_t> chain;

  int32_t first() const { return root >= 0 ? root : chain.front(); }
};

// How a convolution or a linear layer is computed.
enum class Sum { kUnits, kCodes, kCodeValues, kFloats, kDense, kGrouped };

struct Layer {
  Sum sum = Sum::kDense;
  ConvShape shape{};
  LookupForm form{};
  LineVector<uint8_t> index;  // kUnits: [ky][kx][unit][lane]
  LineVector<int8_t> table;   // kUnits: kTableEntry products for each unit of codes
  LineVector<int8_t> low_bit; // [ky][kx][ci][lane], for low-bit weights and other sums
  LineVector<float> floats;   // the same; both are [block][ky][kx][ci][kDenseBlock] for kDense, and
                              // [ky][kx][ci][co] for kGrouped
  TileForm tiles;             // without taps if the layer cannot use tiles
  LineVector<uint8_t> tile_weights;

  // Returns the number of input rows from the first to the last under the kernel, inclusive.
  int64_t rows() const {
    const int32_t reach = (shape.kernel_y - 1) * shape.dilation_y + 1;
    return reach < shape.in_height ? reach : shape.in_height;
  }
};

// Bytes that kernels may read beyond a map of codes; see gather_units.
constexpr int64_t kReadAhead = 64;

// Images and steps that are computed together.
struct Chunk {
  int64_t batch, steps, t; // t: the number of the first step
  bool is_static;          // the input is the same at every step
  float* const* potentials;
  int64_t place = 0; // in time: frames stored after the history, before this chunk's first
};

// The weights, laid out for the kernels, exceed the memory limit.
class TooManyBytes : public std::runtime_error {
public:
  explicit TooManyBytes(int64_t bytes)
      : std::runtime_error("its weights take " + std::to_string(bytes) + " bytes, more than max_bytes") {}
};

// A node would compute for too long between two checks of the watch.
class TooLong : public std::runtime_error {
public:
  TooLong(size_t node, double operations, double most)
      : std::runtime_error("takes " + std::to_string(int64_t(operations)) +
                           " operations in one piece that cannot be interrupted; the limit is " +
                           std::to_string(int64_t(most)) +
                           "; make the layer, the kernel or the rows of its map smaller"),
        node(node) {}
  size_t node;
};

// The operations of a node: a product of a layer counts as one; an entry of another op and a row count as
// more. This is an upper bound, because codes of 0 are skipped.
struct Work {
  double pixel = 0; // per output pixel of a layer or a pool, which compute a row pixel by pixel
  double row = 0;   // per row at one step, or per map if the op computes entire maps
  double image = 0; // for all rows
};

// A thread checks the watch between pixels of a layer or a pool, and between rows of other ops. A slow core
// takes 0.2 s for either limit: the products of a pixel, or the operations of any other piece.
constexpr double kMaxProducts = double(int64_t(1) << 30);
constexpr double kMaxPiece = double(int64_t(1) << 28);

// Data shared by all runs of a graph.
struct Plan {
  // Throws `TooLong` if a piece exceeds the limits above, and `TooManyBytes`.
  Plan(Graph graph, const Kernels& kernels, int64_t max_bytes = std::numeric_limits<int64_t>::max());

  Graph graph; // without its weights
  const Kernels& kernels;
  std::vector<Work> work;                       // for each node
  std::vector<Layer> layers;                    // for each node; empty unless it is conv2d or linear
  std::vector<Stage> stages;                    // in an order in which they can be computed
  std::vector<std::vector<bool>> identity_rows; // for each affine op: the rows that leave x unchanged
  std::vector<int32_t> potential_of;            // for each node: the index of its first potential, or -1
  Passes joined, alone; // passes of several nodes; of single nodes, which write every value
  Timeline timeline;

  // Not copyable, because passes point to rows of the graph.
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  const Passes& passes(bool keeps_all) const { return keeps_all ? alone : joined; }

  // Returns whether such a run computes all steps of a chunk together; see Timeline.
  bool runs_in_time(int64_t batch, bool is_static, bool keeps_all) const {
    return timeline.exists && batch == 1 && !is_static && !keeps_all;
  }

  // Returns the size in bytes of the slot of a value with a history; 0 for other values.
  int64_t history_bytes(int32_t value) const;

  int64_t bytes() const { return bytes_; }

  // Returns the number of entries of all potentials of an image.
  int64_t potential_entries() const { return potential_entries_; }

  // Returns the operations of a run, including those that return every value if `keeps_all`.
  double operations(int64_t batch, int64_t steps, int64_t chunks, bool is_static, bool keeps_all) const;

  // 1 if the value is the same at every step, else the number of steps of the chunk.
  int64_t leading(int32_t value, const Chunk& chunk) const {
    return chunk.is_static && graph.values[value].constant ? 1 : chunk.steps;
  }
  int64_t leading(const Stage& stage, const Chunk& chunk) const;

  // Returns the number of rows of a stage, over all images. If the root computes entire maps, a map is a row.
  int64_t rows(const Stage& stage, const Chunk& chunk) const;
  int64_t cycles_per_row(const Stage& stage) const; // roughly

private:
  int64_t count_bytes() const;
  int64_t count_potential_entries() const;

  int64_t bytes_ = 0, potential_entries_ = 0;
};

bool takes_floats(const Node& node, const Value& output); // codes are widened to floats first
bool computes_maps(Op op); // no chain can follow an entire map within the stage

} // namespace hdlif
