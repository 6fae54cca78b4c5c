// A network opened from a file, with the limits of its calls: the implementation of the C interface.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "../artefact/artefact.h"
#include "../session.h"
#include "../watch.h"

namespace hdlif {

// The error of a call, with a status of hdlif.h.
class CallError : public std::runtime_error {
public:
  CallError(int32_t status, const std::string& message) : std::runtime_error(message), status(status) {}
  int32_t status;
};

struct OpenOptions {
  int threads = 1;
  const Kernels* kernels = nullptr;
  int64_t max_bytes = 0, max_operations = 0;
  int32_t (*go_on)(void* context) = nullptr;
  void* context = nullptr;

  // Returns a watch for one call; these options must outlive it.
  Watch watch() const;
};

class Deployed {
public:
  // Throws the exceptions of `read_artefact` and `Session`, and `CallError`.
  // With `learned`, a graph of the same file, its weights replace those of the file.
  static std::shared_ptr<Deployed> open(const uint8_t* bytes, size_t size, const OpenOptions& options,
                                        const Graph* learned = nullptr);

  const Graph& graph() const { return session_.graph(); }
  const Kernels& kernels() const { return session_.kernels(); }
  int64_t weight_bytes() const { return session_.weight_bytes(); }
  Session& session() { return session_; }

  struct Cost {
    int64_t bytes;
    double operations;
  };
  Cost cost(int64_t x_steps, int64_t batch, int64_t steps, bool keeps_all, bool owns_potentials);
  // Throws if a call exceeds a limit; `result_bytes` counts as memory of the call.
  void check(int64_t x_steps, int64_t batch, int64_t steps, bool keeps_all, bool owns_potentials,
             double result_bytes = 0);

  void normalise(const float* raw, int64_t frames, float* x) const;
  void run(const float* x, int64_t x_steps, int64_t batch, int64_t steps, float* logits,
           float* const* values);

  // The type of the outputs of a step.
  const Value& output() const { return graph().values[size_t(graph().output)]; }

  size_t state_size() const;
  // The type of a state, which equals that of its node's output.
  const Value& state(size_t index) const;

private:
  friend class DeployedStream;

  Deployed(Artefact& artefact, const OpenOptions& options);

  const OpenOptions options_;
  Session session_; // takes the graph of the artefact before the members below take its other fields
public:
  // Contents of the file.
  const std::vector<std::string> values, states, labels;
  const InputRecord input;
  const bool takes_mean;
  const std::string record;
  const Digest digest;

private:
  std::mutex mutex_;                 // guards granted_
  std::array<int64_t, 3> granted_{}; // of the last run that passed the limits
};

// A sequence that continues from call to call.
class DeployedStream {
public:
  explicit DeployedStream(std::shared_ptr<Deployed> network);

  // Runs the next steps, with the network's watch or another one.
  void run(const float* x, int64_t steps, float* logits);
  void run(const float* x, int64_t steps, float* logits, Watch& watch);
  void reset();
  // Copies the states of the nodes, [H][W][C] each, out or in; a copied-in state has no sums of outputs.
  void give(float* const* to);
  void take(float* const* from, int64_t steps);
  // The bytes that hdlif.h describes.
  void save(void* bytes, size_t size);
  void load(const void* bytes, size_t size);
  int64_t steps() const { return steps_.load(std::memory_order_relaxed); }
  double operations() const { return operations_; }
  // Sums of the outputs of all steps if the prediction uses their mean, else zeros.
  const std::vector<float>& sums() const { return sums_; }

private:
  class Use;

  int64_t check_state(const uint8_t* bytes, size_t size) const;
  void begin_at(int64_t steps);

  const std::shared_ptr<Deployed> network_;
  const double operations_; // per step
  Flow flow_;
  std::vector<float> sums_;
  std::atomic<int64_t> steps_{0}; // -1 if the state is lost
  std::atomic<bool> is_busy_{false};
};

} // namespace hdlif
