// Runs a program. Steps are taken layer by layer: a node computes all steps of a chunk before the next
// node begins, so that its weights are read once; neurons scan the steps of the chunk in order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "program.h"
#include "thread_pool.h"

namespace hdlif {

class Session {
public:
  Session(Program program, int threads);

  const Program& program() const { return program_; }

  // x           [x_steps][batch][C][H][W], x_steps 1 or `steps`; 1 means the same input at every step
  // potentials  for each of program().stateful, [batch][H][W][C]: read, and left as after the last step
  // logits      [steps][batch][classes]
  // The first step has number t. Calls from several threads wait for each other.
  void run(const float* x, int64_t x_steps, int64_t batch, int64_t steps, int64_t t, float* const* potentials,
           float* logits);

  // The same, and writes every value: values[i] is [steps][batch][C][H][W] of value i, codes as float32.
  void run_and_keep(const float* x, int64_t x_steps, int64_t batch, int64_t steps, int64_t t,
                    float* const* potentials, float* logits, float* const* values);

private:
  // Where values live: slots are reused as soon as their value has had its last reader.
  struct Plan {
    int64_t batch = 0, steps = 0; // the largest chunk
    bool is_static = false;       // constant values are computed once, and keep their slot for the run
    bool keeps_all = false;
    bool passes_all = false; // every affine in passing_ is the identity throughout: it has no slot
    std::vector<int32_t> slot_of_value;
    std::vector<int32_t> widened; // for each node and input: the slot of its codes as floats, or -1
    std::vector<std::vector<uint8_t>> slots;
  };

  // The chunk that is being computed.
  struct Chunk {
    int64_t batch, steps, t;
    bool is_static, is_first;
    float* const* potentials;
  };

  // An affine that some step leaves as it is, so that the step needs no copy: its readers read its input.
  struct Passing {
    int32_t node;
    std::vector<bool> is_identity; // for each row
    bool at(int64_t t) const { return is_identity[std::min<size_t>(t, is_identity.size() - 1)]; }
  };

  void find_passing();
  bool passes_all(int64_t t, int64_t steps) const;
  int64_t steps_alike(int64_t t, int64_t steps) const;
  void pass_on(int64_t t);
  void prepare(int64_t batch, int64_t steps, bool is_static, bool keeps_all, bool passes_all);
  void forward(const float* x, int64_t x_steps, int64_t batch, int64_t steps, int64_t t,
               float* const* potentials, float* logits, float* const* values);
  void load_input(const float* x, const Chunk& chunk);
  void compute(int32_t node, const Chunk& chunk);
  void compute_pointwise(int32_t node, const Chunk& chunk);
  void compute_conv(const Node& node, const Value& in, const Value& out, int64_t images, const uint8_t* x,
                    float* y);
  void compute_pool(const Node& node, const Value& in, const Value& out, int64_t images, const uint8_t* x,
                    uint8_t* y);
  void read(int32_t value, const Chunk& chunk, int64_t step, float* out) const;

  // 1 where the value is the same at every step, else the steps of the chunk
  int64_t leading(int32_t value, const Chunk& chunk) const {
    return chunk.is_static && program_.values[source_[value]].constant ? 1 : chunk.steps;
  }
  uint8_t* data(int32_t value) { return plan_.slots[plan_.slot_of_value[source_[value]]].data(); }
  const uint8_t* data(int32_t value) const { return plan_.slots[plan_.slot_of_value[source_[value]]].data(); }

  Program program_;
  std::vector<Passing> passing_;
  std::vector<int32_t> source_; // of each value in this chunk: the value that it is, itself unless passed on
  ThreadPool pool_;
  std::vector<std::vector<uint8_t>> scratch_; // one for each thread
  Plan plan_;
  std::mutex mutex_;
};

} // namespace hdlif
