// What the runtime knows of an op: one file an op in this folder, which states a form.
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

// Whether an output row is made of the same row of the inputs, pixel by pixel; of neighbouring rows; or
// whether a whole map is computed at a time, so that no chain can follow within the stage.
enum class Reach { kPixel, kRows, kMap };

// Whether a value is a neuron's output of which many entries are zero: where it is of codes; always; or
// where the inputs are, which are pooled or taken apart.
enum class Sparse { kCodes, kAlways, kAsInputs };

// When codes are widened to floats before the op reads them.
enum class Widens { kNever, kAlways, kUnlessCodes }; // kUnlessCodes: unless its output is of codes

// Operations of a node: an upper bound. See `Work` in plan.h.
struct RowWork {
  double pixel = 0; // of an output pixel, where a row is computed pixel by pixel
  double row = 0;   // of one row, or of a whole map
  double piece = 0; // the longest between two looks at the watch; 0: the row
};

struct OpForm {
  const char* name;
  int inputs = 1;
  bool multiplies = false; // by weights: its tensor has an encoding, and no rows
  // What a node of a file has: its attributes, those that it may leave out, and the roles of its tensors; of
  // a program the rows of its equation say the roles.
  std::vector<std::string_view> keys, optional_keys, roles;
  bool names_roles = false;
  Reach reach = Reach::kPixel;
  Sparse sparse = Sparse::kCodes;
  Widens widens = Widens::kAlways;
  // Checks the attributes and tensors of a node of a file, whose names and inputs are known to be right, and
  // reads them into the reader's node. Gives the type of its output: `y` begins as x, of floats.
  void (*read)(NodeReader& reader, const Value& x, Value& y);
  RowWork (*work)(const Node& node, const Value& in, const Value& out);
  // This row of node n; of a map, all of it. Null for a program, which is computed in passes.
  void (*compute)(RowContext& rows, int32_t n) = nullptr;
  // Of an op that treats each entry by itself: writes it as operations on registers, given those of its
  // inputs; returns that of its output.
  int32_t (*compose)(const Node& node, const Value& out, const int32_t* inputs, Composer& composer) = nullptr;
  // Bytes that a thread needs beside rows of values.
  int64_t (*scratch)(const Node& node, const Value& out) = nullptr;
};

#define HDLIF_DECLARE(name) extern const OpForm k##name##Form;
HDLIF_OPS(HDLIF_DECLARE)
#undef HDLIF_DECLARE

const OpForm& form_of(Op op);

// A row of what a delay holds, as the codes that it gives.
void codes_of_state(const float* state, uint8_t* codes, const Value& type);

// Operations that an entry of an op counts as, by the time that it takes beside a product.
constexpr double kEntryWork = 8;

// Of an op that takes each entry once.
RowWork entry_work(const Node& node, const Value& in, const Value& out);

} // namespace hdlif
