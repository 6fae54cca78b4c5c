// Properties of an op in the runtime. Each op has one file in this folder, which defines its form.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace hdlif {

struct Value;
struct Node;
struct Graph;
class Composer;
class NodeReader;
class RowContext;

// All ops.
#define HDLIF_OPS(X)                                                                                         \
  X(Conv2d)                                                                                                  \
  X(Linear)                                                                                                  \
  X(Affine)                                                                                                  \
  X(Quantise)                                                                                                \
  X(Add)                                                                                                     \
  X(SumPool)                                                                                                 \
  X(MaxPool)                                                                                                 \
  X(GlobalSumPool)                                                                                           \
  X(Flatten)                                                                                                 \
  X(Seca)                                                                                                    \
  X(Slice)                                                                                                   \
  X(Concat)                                                                                                  \
  X(Program)                                                                                                 \
  X(Delay)                                                                                                   \
  X(Upsample)                                                                                                \
  X(Gate)

#define HDLIF_NUMBER(name) k##name,
enum class Op : int32_t { HDLIF_OPS(HDLIF_NUMBER) kCount };
#undef HDLIF_NUMBER

// Whether an output row depends on the same row of the inputs, pixel by pixel, on neighbouring rows, or on
// the entire map. In the last case, no chain can follow within the stage.
enum class Reach { kPixel, kRows, kMap };

// When a value is a neuron's output with many zeros: if it contains codes; always; or if the inputs do, which
// the op pools or splits.
enum class Sparse { kCodes, kAlways, kAsInputs };

// When codes are widened to floats before the op reads them.
enum class Widens { kNever, kAlways, kUnlessCodes }; // kUnlessCodes: unless the output contains codes

// An upper bound of a node's operations; see `Work` in plan.h.
struct RowWork {
  double pixel = 0; // per output pixel, if a row is computed pixel by pixel
  double row = 0;   // per row, or per map
  double piece = 0; // the longest piece between two checks of the watch; 0: the row
};

struct OpForm {
  const char* name;
  int inputs = 1;
  bool multiplies = false; // by weights: its tensor has an encoding, and no rows
  // Attributes of a node in a file, its optional attributes, and the roles of its tensors. The roles of a
  // program follow from the rows of its equation.
  std::vector<std::string_view> keys, optional_keys, roles;
  bool names_roles = false;
  Reach reach = Reach::kPixel;
  Sparse sparse = Sparse::kCodes;
  Widens widens = Widens::kAlways;
  // Checks the attributes and tensors of a node of a file, whose names and inputs were checked before, and
  // reads them into the reader's node. Sets the type of the output `y`, which starts as x with floats.
  void (*read)(NodeReader& reader, const Value& x, Value& y);
  RowWork (*work)(const Node& node, const Value& in, const Value& out);
  // Computes this row of node n, or the entire map. Null for a program, which is computed in passes.
  void (*compute)(RowContext& rows, int32_t n) = nullptr;
  // For elementwise ops: writes the op as operations on registers, given the registers of its inputs, and
  // returns the register of its output.
  int32_t (*compose)(const Node& node, const Value& out, const int32_t* inputs, Composer& composer) = nullptr;
  // Returns the bytes that a thread needs in addition to rows of values.
  int64_t (*scratch)(const Node& node, const Value& out) = nullptr;
};

#define HDLIF_DECLARE(name) extern const OpForm k##name##Form;
HDLIF_OPS(HDLIF_DECLARE)
#undef HDLIF_DECLARE

const OpForm& form_of(Op op);

// Converts a row of the delayed value to output codes.
void codes_of_state(const float* state, uint8_t* codes, const Value& type);

// Operations that an entry of an op counts as, from its time relative to a product.
constexpr double kEntryWork = 8;

// Returns the work of an op that processes each entry once.
RowWork entry_work(const Node& node, const Value& in, const Value& out);

} // namespace hdlif
