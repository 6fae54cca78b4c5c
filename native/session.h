// Runs a program, stage by stage: a stage computes all steps of a chunk before the next stage begins, so that
// its weights are read once, and row by row within, the steps of a row in order, so that a row's potentials
// stay in the cache.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "plan.h"
#include "program.h"
#include "stage_rows.h"
#include "thread_pool.h"

namespace hdlif {

// What a run may give back beside the logits.
struct Kept {
  float* const* values = nullptr; // values[i] is [steps][batch][C][H][W] of value i, codes as float32
  double* seconds = nullptr;      // for each node, added: its stage's time stands at the stage's first node
};

class Session {
public:
  Session(Program program, int threads, const Kernels& kernels);

  const Program& program() const { return plan_.program; }
  const Kernels& kernels() const { return plan_.kernels; }

  // Bytes of weights and rows, which all runs share, and of the working memory kept for runs to come.
  int64_t weight_bytes() const { return plan_.bytes(); }
  int64_t working_bytes() const;

  // x           [x_steps][batch][C][H][W], x_steps 1 or `steps`; 1 means the same input at every step
  // potentials  for each of program().stateful, [batch][H][W][C]: read, and left as after the last step
  // logits      [steps][batch][classes]
  // The first step has number t. Any number of threads may call; one of them at a time has the help of the
  // pool.
  void run(const float* x, int64_t x_steps, int64_t batch, int64_t steps, int64_t t, float* const* potentials,
           float* logits, const Kept& kept = {});

private:
  std::unique_ptr<Workspace> borrow(int64_t batch, int64_t steps, bool is_static, bool keeps_all);
  void give_back(std::unique_ptr<Workspace> workspace);
  void compute(const Stage& stage, const Chunk& chunk, Workspace& workspace);
  void load_input(const float* x, int64_t x_batch, const Chunk& chunk, Workspace& workspace) const;
  void read(int32_t value, const Chunk& chunk, int64_t step, const Workspace& workspace, float* out) const;

  Plan plan_;
  ThreadPool pool_;
  mutable std::mutex mutex_; // guards workspaces_
  std::vector<std::unique_ptr<Workspace>> workspaces_;
};

} // namespace hdlif
