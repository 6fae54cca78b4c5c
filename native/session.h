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

  const Program& program() const { return program_; }
  const Kernels& kernels() const { return kernels_; }

  // Bytes of weights and rows, which all runs share, and of the working memory of the runs so far.
  int64_t weight_bytes() const;
  int64_t working_bytes() const;

  // x           [x_steps][batch][C][H][W], x_steps 1 or `steps`; 1 means the same input at every step
  // potentials  for each of program().stateful, [batch][H][W][C]: read, and left as after the last step
  // logits      [steps][batch][classes]
  // The first step has number t. Any number of threads may call; one of them at a time has the help of the
  // pool.
  void run(const float* x, int64_t x_steps, int64_t batch, int64_t steps, int64_t t, float* const* potentials,
           float* logits, const Kept& kept = {});

private:
  // The working memory of one call.
  struct Workspace {
    Placement placement;
    std::vector<LineVector<uint8_t>> slots;
    struct Thread {
      LineVector<uint8_t> tile, events, totals, scratch;
      std::vector<const uint8_t*> at;    // of each value in the tile: its row at this step
      std::vector<uint8_t> adds_changes; // of each step: see Rows
    };
    std::vector<Thread> threads;
    std::vector<float*> potentials; // of the images that are computed
    int64_t bytes() const;
  };

  // The images and steps that are computed together.
  struct Chunk {
    int64_t batch, steps, t;
    bool is_static;
    float* const* potentials;
  };

  class Rows; // computes rows of a stage on one thread

  std::unique_ptr<Workspace> borrow(int64_t batch, int64_t steps, bool is_static, bool keeps_all);
  void give_back(std::unique_ptr<Workspace> workspace);
  void fit(Workspace& workspace, int64_t batch, int64_t steps, bool is_static, bool keeps_all) const;
  void compute(const Stage& stage, const Chunk& chunk, Workspace& workspace);
  void load_input(const float* x, int64_t x_batch, const Chunk& chunk, Workspace& workspace) const;
  void read(int32_t value, const Chunk& chunk, int64_t step, const Workspace& workspace, float* out) const;
  int64_t leading_of(const Stage& stage, const Chunk& chunk) const;
  int64_t cycles_per_row(const Stage& stage) const;

  // 1 where the value is the same at every step, else the steps of the chunk
  int64_t leading(int32_t value, const Chunk& chunk) const {
    return chunk.is_static && program_.values[value].constant ? 1 : chunk.steps;
  }

  Program program_;
  const Kernels& kernels_;
  std::vector<Layer> layers_;
  std::vector<Stage> stages_;
  std::vector<std::vector<bool>> identity_rows_; // of each affine: the rows that leave x as it is
  std::vector<int32_t> potential_of_;            // of each node: which of the potentials, or -1
  ThreadPool pool_;
  mutable std::mutex mutex_; // guards workspaces_ and working_bytes_
  std::vector<std::unique_ptr<Workspace>> workspaces_;
  int64_t working_bytes_ = 0;
};

} // namespace hdlif
