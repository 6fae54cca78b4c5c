// Runs a graph stage by stage. A stage computes all steps of a chunk before the next stage begins, so its
// weights are read once. Within a stage, all steps of a row are computed, in order, before the next row, so
// the potentials of a row stay in the cache.
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

// Optional results of a run in addition to the logits.
struct Kept {
  float* const* values = nullptr; // values[i]: value i as float32 [steps][batch][C][H][W], or null
  double* seconds = nullptr;      // per node; the time of a stage is added to its first node
};

// The state of a sequence of single images between calls. If the graph has a timeline, the states of its
// delays are stored as frames of the delayed values.
struct Flow {
  std::vector<LineVector<float>> potentials;  // for each entry of graph().stateful
  std::vector<float*> pointers;               // pointers to the potentials
  std::vector<LineVector<uint8_t>> histories; // for each value with a history, its slot
  int64_t t = 0, place = 0;
};

class Session {
public:
  static constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

  // Throws `TooLong`, and `TooManyBytes` if the weights alone exceed `max_bytes`.
  Session(Graph graph, int threads, const Kernels& kernels, int64_t max_bytes = kNoLimit);
  ~Session();

  const Graph& graph() const { return plan_.graph; }
  const Kernels& kernels() const { return plan_.kernels; }
  const std::vector<Pass>& passes() const { return plan_.joined.all(); }

  // Return the size in bytes of the weights and rows that all runs share, and of the working memory kept for
  // later runs.
  int64_t weight_bytes() const { return plan_.bytes(); }
  int64_t working_bytes();

  // Returns the size in bytes of the weights and working memory of a run. A run frees memory of earlier runs
  // if it would otherwise exceed `max_bytes`.
  int64_t run_bytes(int64_t batch, int64_t steps, bool is_static, bool keeps_all, bool owns_potentials);
  // Returns an upper bound of the operations of a run; see Work.
  double operations(int64_t batch, int64_t steps, bool is_static, bool keeps_all) const;

  // x           [x_steps][batch][C][H][W], x_steps 1 or `steps`; 1 means the same input at every step
  // potentials  for each entry of graph().stateful, [batch][H][W][C]: read, and updated to the last step;
  //             null if the run begins at zeros and the final state is not needed
  // logits      [steps][batch][classes]
  // The first step has number t. Any number of threads may call run(), but only one call at a time uses the
  // pool. After a fork, runs of the child have their own pool. Throws `Interrupted` if the watch stops the
  // run; the contents of potentials and logits are then undefined.
  void run(const float* x, int64_t x_steps, int64_t batch, int64_t steps, int64_t t, float* const* potentials,
           float* logits, const Kept& kept, Watch& watch);
  void run(const float* x, int64_t x_steps, int64_t batch, int64_t steps, int64_t t, float* const* potentials,
           float* logits, const Kept& kept = {}) {
    Watch watch;
    run(x, x_steps, batch, steps, t, potentials, logits, kept, watch);
  }

  // Return a flow at its start, and the size of a flow in bytes.
  Flow begin() const;
  int64_t flow_bytes() const;
  // Computes the next steps, from x [steps][C][H][W] to logits [steps][classes]. Calls for the same flow must
  // not overlap.
  void advance(Flow& flow, const float* x, int64_t steps, float* logits, Watch& watch);
  // Copy the states of delays from the frames into the potentials, and back. Without a timeline, they are
  // always in the potentials.
  void put_away(Flow& flow);
  void take_up(Flow& flow);

private:
  // The numbers of images and steps that are computed together.
  struct Chunking {
    int64_t batch, steps;
  };

  // Threads and their working memory. After a fork, the child has no copies of the threads, and locks may
  // stay held; each process therefore creates its own workers and does not touch the others.
  struct Workers {
    explicit Workers(int threads) : pool(threads) {}

    const uint64_t process = forks();
    ThreadPool pool;
    std::mutex mutex; // guards `workspaces`
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
  // Calls body(workspace) with a workspace that contains the potentials and histories of a flow.
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
