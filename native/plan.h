// How a graph is run: which nodes are computed together, and with which kernels.
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

// A root reads neighbouring entries of its input; the nodes of the chain treat each pixel by itself. A stage
// computes one output row of its root, and at once the chain on this row, while it lies in the cache; so a
// current that only its neuron reads is never written out. Only the first stages of a graph and those
// behind an op that needs the whole map have no root.
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
  LineVector<int8_t> low_bit; // [ky][kx][ci][lane], where the layer has low-bit weights and another sum
  LineVector<float> floats;   // the same; of both, [block][ky][kx][ci][kDenseBlock] for kDense, and for
                              // kGrouped [ky][kx][ci][co]
  TileForm tiles;             // without taps where it cannot be computed on tiles
  LineVector<uint8_t> tile_weights;

  // How many input rows lie between the first and the last one under the kernel, both included.
  int64_t rows() const {
    const int32_t reach = (shape.kernel_y - 1) * shape.dilation_y + 1;
    return reach < shape.in_height ? reach : shape.in_height;
  }
};

// What may be read behind a map of codes: see gather_units.
constexpr int64_t kReadAhead = 64;

// The images and steps that are computed together.
struct Chunk {
  int64_t batch, steps, t; // t: the number of the first step
  bool is_static;          // the input is the same at every step
  float* const* potentials;
  int64_t place = 0; // in time: the frames of values with a history that went before, behind the history
};

// The weights, laid out for the kernels, would take more than they may.
class TooManyBytes : public std::runtime_error {
public:
  explicit TooManyBytes(int64_t bytes)
      : std::runtime_error("its weights take " + std::to_string(bytes) + " bytes, more than max_bytes") {}
};

// A node that would compute for long without a look at whether the run is to go on.
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

// What a node takes, in operations: a product of a layer is one, an entry of another op and a row more than
// one. An upper bound: codes that are 0 are not multiplied.
struct Work {
  double pixel = 0; // of an output pixel, where a row is computed pixel by pixel: of a layer or a pool
  double row = 0;   // of one row (of a whole map, where it computes maps) at one step
  double image = 0; // of all rows
};

// A thread looks whether a run is to go on between two pixels of a layer or a pool, and between two rows of
// anything else. One slow core computes either of these in 0.2 s: the products of a pixel, and the rest.
constexpr double kMaxProducts = double(int64_t(1) << 30);
constexpr double kMaxPiece = double(int64_t(1) << 28);

// What all runs of a graph share.
struct Plan {
  // Throws `TooLong` where a piece takes more than the limits above, and `TooManyBytes`.
  Plan(Graph graph, const Kernels& kernels, int64_t max_bytes = std::numeric_limits<int64_t>::max());

  Graph graph; // without its weights
  const Kernels& kernels;
  std::vector<Work> work;    // of each node
  std::vector<Layer> layers; // of each conv2d or linear node; others have an empty one
  std::vector<Stage> stages; // in an order in which they can be computed one after the other
  std::vector<std::vector<bool>> identity_rows; // of each affine: the rows that leave x as it is
  std::vector<int32_t> potential_of;            // of each node: which of the potentials, or -1
  Passes joined, alone;                         // of several nodes; of one, so that every value is written
  Timeline timeline;

  // Passes point to rows of the graph.
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  const Passes& passes(bool keeps_all) const { return keeps_all ? alone : joined; }

  // Whether a run of these computes all steps of a chunk at once: see Timeline.
  bool runs_in_time(int64_t batch, bool is_static, bool keeps_all) const {
    return timeline.exists && batch == 1 && !is_static && !keeps_all;
  }

  // Of a value with a history, the bytes of its slot; of others 0.
  int64_t history_bytes(int32_t value) const;

  int64_t bytes() const { return bytes_; }

  // Entries of all potentials of an image.
  int64_t potential_entries() const { return potential_entries_; }

  // All operations of a run, and of giving back every value where it `keeps_all`.
  double operations(int64_t batch, int64_t steps, int64_t chunks, bool is_static, bool keeps_all) const;

  // 1 where the value is the same at every step, else the steps of the chunk
  int64_t leading(int32_t value, const Chunk& chunk) const {
    return chunk.is_static && graph.values[value].constant ? 1 : chunk.steps;
  }
  int64_t leading(const Stage& stage, const Chunk& chunk) const;

  // The rows of a stage, counted over the images; of a root that computes maps, a row is a whole map.
  int64_t rows(const Stage& stage, const Chunk& chunk) const;
  int64_t cycles_per_row(const Stage& stage) const; // roughly

private:
  int64_t count_bytes() const;
  int64_t count_potential_entries() const;

  int64_t bytes_ = 0, potential_entries_ = 0;
};

bool takes_floats(const Node& node, const Value& output); // its codes are widened first
bool computes_maps(Op op); // a map at a time, so that no chain can follow within the stage

} // namespace hdlif
