// Runs a graph, stage by stage: a stage computes all steps of a chunk before the next stage begins, so that
// its weights are read once, and row by row within, the steps of a row in order, so that a row's potentials
// stay in the cache.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <vector>

#include "graph.h"
#include "plan.h"
#include "stage_rows.h"
#include "thread_pool.h"
#include "watch.h"

namespace hdlif {

// What a run may give back beside the logits.
struct Kept {
  float* const* values =
      nullptr;               // values[i] is [steps][batch][C][H][W] of value i, codes as float32, or null
  double* seconds = nullptr; // for each node, added: its stage's time stands at the stage's first node
};

// A sequence of one image that goes on from call to call: what it holds. Where the graph has a timeline,
// what its delays hold lies in the frames of the values that they hold.
struct Flow {
  std::vector<LineVector<float>> potentials;  // of each of graph().stateful
  std::vector<float*> pointers;               // to these
  std::vector<LineVector<uint8_t>> histories; // of each value with a history, its slot
  int64_t t = 0, place = 0;
};

class Session {
public:
  static constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

  // Throws `TooLong`, and `TooManyBytes` where the weights alone pass `max_bytes`.
  Session(Graph graph, int threads, const Kernels& kernels, int64_t max_bytes = kNoLimit);
  ~Session();

  const Graph& graph() const { return plan_.graph; }
  const Kernels& kernels() const { return plan_.kernels; }
  const std::vector<Pass>& passes() const { return plan_.joined.all(); }

  // Bytes of weights and rows, which all runs share, and of the working memory kept for runs to come.
  int64_t weight_bytes() const { return plan_.bytes(); }
  int64_t working_bytes();

  // Bytes of weights and working memory of a run; past `max_bytes` a run keeps nothing of those before.
  int64_t run_bytes(int64_t batch, int64_t steps, bool is_static, bool keeps_all, bool owns_potentials);
  // An upper bound of what a run computes: see Work.
  double operations(int64_t batch, int64_t steps, bool is_static, bool keeps_all) const;

  // x           [x_steps][batch][C][H][W], x_steps 1 or `steps`; 1 means the same input at every step
  // potentials  for each of graph().stateful, [batch][H][W][C]: read, and left as after the last step; null
  //             where the run begins at zeros and nobody wants them
  // logits      [steps][batch][classes]
  // The first step has number t. Any number of threads may call; one of them at a time has the help of the
  // pool. After a fork the child's runs have a pool of their own. Throws `Interrupted` where the watch says
  // so: then potentials and logits hold anything.
  void run(const float* x, int64_t x_steps, int64_t batch, int64_t steps, int64_t t, float* const* potentials,
           float* logits, const Kept& kept, Watch& watch);
  void run(const float* x, int64_t x_steps, int64_t batch, int64_t steps, int64_t t, float* const* potentials,
           float* logits, const Kept& kept = {}) {
    Watch watch;
    run(x, x_steps, batch, steps, t, potentials, logits, kept, watch);
  }

  // A flow at its start, and its bytes.
  Flow begin() const;
  int64_t flow_bytes() const;
  // The next steps, from x [steps][C][H][W] to logits [steps][classes]; one call at a time for each flow.
  void advance(Flow& flow, const float* x, int64_t steps, float* logits, Watch& watch);
  // What the delays hold, from the frames into the potentials, and back; without a timeline it is there.
  void put_away(Flow& flow);
  void take_up(Flow& flow);

private:
  // The images and steps that are computed together.
  struct Chunking {
    int64_t batch, steps;
  };

  // Threads, and what they work in. A fork copies neither a thread nor the state of a lock that one holds, so
  // each process makes its own, and leaves the other's where it is.
  struct Workers {
    explicit Workers(int threads) : pool(threads) {}

    const uint64_t process = forks();
    ThreadPool pool;
    std::mutex mutex; // guards workspaces
    std::vector<std::unique_ptr<Workspace>> workspaces;
  };

  Chunking chunking(int64_t batch, int64_t steps, bool is_static, bool keeps_all) const;
  Workers& workers();
  std::unique_ptr<Workspace> borrow(Workers& workers, Chunking chunking, bool is_static, bool keeps_all,
                                    bool owns_potentials, Watch& watch);
  void run_in(Workspace& workspace, ThreadPool& pool, Chunking chunking, const float* x, int64_t x_steps,
              int64_t batch, int64_t steps, int64_t t, float* const* potentials, float* logits,
              const Kept& kept, Watch& watch);
  int64_t run_in_time(const Chunk& chunk, const float* x, int64_t batch, Workspace& workspace, float* logits,
                      double* seconds, Watch& watch) const;
  uint8_t* slot_at(int32_t value, const Chunk& chunk, Workspace& workspace) const;
  // Calls body(workspace) with one that has the potentials and histories of a flow.
  template <typename Body> void within(Flow& flow, Watch& watch, const Body& body);
  void begin_history(bool is_held, Workspace& workspace) const;
  void give_history(int64_t place, const Workspace& workspace) const;
  void start(float* const* potentials, int64_t first_image, int64_t images, Workspace& workspace,
             Watch& watch) const;
  void compute(const Stage& stage, const Chunk& chunk, Workspace& workspace, ThreadPool& pool, Watch& watch);
  void load_input(const float* x, int64_t x_batch, const Chunk& chunk, Workspace& workspace,
                  Watch& watch) const;
  void delay(const Chunk& chunk, const Workspace& workspace, Watch& watch) const;
  void read(int32_t value, const Chunk& chunk, int64_t step, const Workspace& workspace, float* out,
            Watch& watch) const;

  Plan plan_;
  const int threads_;
  const int64_t max_bytes_;
  std::atomic<Workers*> workers_;
};

} // namespace hdlif
