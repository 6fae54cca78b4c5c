// How a program is run: which nodes are computed together, with which kernels, and where values live.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

#include "kernels/kernels.h"
#include "program.h"

namespace hdlif {

// Memory that vectors are read from: aligned to a cache line.
template <typename T> struct LineAllocator {
  using value_type = T;
  static constexpr std::align_val_t kLine{64};
  LineAllocator() = default;
  template <typename U> LineAllocator(const LineAllocator<U>&) {}
  T* allocate(size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), kLine)); }
  void deallocate(T* memory, size_t) { ::operator delete(memory, kLine); }
  bool operator==(const LineAllocator&) const { return true; }
  bool operator!=(const LineAllocator&) const { return false; }
};
template <typename T> using LineVector = std::vector<T, LineAllocator<T>>;

// A root reads neighbouring entries of its input; the nodes of the chain treat each entry by itself. A stage
// computes one output row of its root, and at once the chain on this row, while it lies in the cache; so a
// current that only its neuron reads is never written out. Only the first stages of a program and those
// behind an op that needs the whole map have no root.
struct Stage {
  int32_t root = -1;
  std::vector<int32_t> chain;

  int32_t first() const { return root >= 0 ? root : chain.front(); }
};

// The stages of a program in an order in which they can be computed one after the other.
std::vector<Stage> fuse(const Program& program);

// How a convolution or a linear layer is computed.
enum class Sum { kUnits, kCodes, kCodeValues, kFloats, kDense };

struct Layer {
  Sum sum = Sum::kDense;
  ConvShape shape{};
  LookupForm form{};
  LineVector<uint8_t> index;  // kUnits: [ky][kx][unit][lane]
  LineVector<int8_t> table;   // kUnits: kTableEntry products for each unit of codes
  LineVector<int8_t> low_bit; // [ky][kx][ci][co], where the layer has low-bit weights and another sum
  LineVector<float> floats;   // [ky][kx][ci][co]; of both, [block][ky][kx][ci][kDenseBlock] for kDense
  int64_t rows() const { return shape.kernel_y < shape.in_height ? shape.kernel_y : shape.in_height; }
};

// The layer of each conv2d or linear node (others have an empty one). Takes the weights out of the program.
std::vector<Layer> prepare_layers(Program& program, const Kernels& kernels);

// Nodes of a chain that one pass computes; -1 where a part is missing.
struct FiringNodes {
  int32_t affine = -1, add = -1, neuron = -1, quantise = -1;
  int32_t first() const { return affine >= 0 ? affine : add >= 0 ? add : neuron; }
};

// Where the values of a chunk live. Values that only their own stage reads live in a thread's tile, one row
// at a time.
struct Placement {
  int64_t batch = 0, steps = 0; // of the largest chunk
  bool is_static = false;       // values that are constant in time have one step
  bool keeps_all = false;

  std::vector<int32_t> slot;       // of each value: which slot, or -1
  std::vector<int64_t> tile;       // of each value: byte offset in the tile, or -1
  std::vector<int64_t> widened;    // of each node and input: offset in the tile of its codes as floats, or -1
  std::vector<int64_t> slot_bytes; // of each slot
  int64_t tile_bytes = 0;

  // Of the first node of each pass: its nodes. Of the others: is_passed.
  std::vector<FiringNodes> firing;
  std::vector<bool> is_passed;
  std::vector<bool> is_read_again; // of each value: it has more than one reader
};

Placement place(const Program& program, const std::vector<Stage>& stages, int64_t batch, int64_t steps,
                bool is_static, bool keeps_all);

bool takes_floats(Op op);

// What may be read behind a map of codes: see gather_units.
constexpr int64_t kReadAhead = 64;

} // namespace hdlif
