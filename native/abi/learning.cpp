// The learning functions of the C interface; hdlif.h documents each function.
#include <cmath>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "../learning/learner.h"
#include "calls.h"

using hdlif::CallError;
using hdlif::Deployed;
using hdlif::guarded;
using hdlif::require;

struct hdlif_learner {
  std::vector<uint8_t> bytes; // contents of the file
  hdlif::OpenOptions options;
  std::shared_ptr<Deployed> limits; // the network before learning
  hdlif::Learner learner;
  std::vector<std::vector<float>> potentials; // [batch][H][W][C] after step t - 1 of the sequence
  int64_t batch = 0, t = 0;
  bool has_gradients = false;
  std::mutex mutex;

  hdlif_learner(const uint8_t* first, size_t size, hdlif::OpenOptions given,
                std::vector<hdlif::Trained> trained, std::vector<bool> needed, hdlif::LearningRate rate)
      : bytes(first, first + size), options(given), limits(Deployed::open(first, size, given)),
        learner(hdlif::read_artefact(first, size, given.max_bytes).graph, std::move(trained),
                std::move(needed), rate, given.threads, *given.kernels) {}
};

namespace {

hdlif::LearningRate checked(const float rate[3]) {
  const auto in = [](float value, float most) { return value >= 0 && value <= most; };
  require(in(rate[0], 1e6f) && in(rate[1], 1) && in(rate[2], 1) && rate[2] < 1,
          "rate: give 0..1e6 for floats, 0..1 for low-bit weights, and a momentum of at least 0 and below 1");
  return {rate[0], rate[1], rate[2]};
}

void step(hdlif_learner& own, const float* x, int64_t batch, int64_t t, const int32_t* targets,
          float* logits) {
  const hdlif::Graph& graph = own.learner.graph();
  // Bytes for the step's values and their gradients, as float32.
  double bytes = 0;
  for (const hdlif::Value& value : graph.values)
    bytes += 8.0 * double(batch) * double(value.size());
  own.limits->check(1, batch, 1, true, true, bytes);
  require(t == 0 || (t == own.t && batch == own.batch),
          "t: give 0 to begin a sequence, or the next step of the same batch");
  std::vector<int64_t> classes;
  if (targets != nullptr)
    classes.assign(targets, targets + batch);
  if (t == 0) {
    own.potentials.clear();
    for (const int32_t node : graph.stateful)
      own.potentials.emplace_back(size_t(batch * graph.values[size_t(node) + 1].size()));
  }
  std::vector<float*> pointers;
  for (std::vector<float>& potential : own.potentials)
    pointers.push_back(potential.data());
  own.t = 0; // until the step completes
  hdlif::Watch watch = own.options.watch();
  own.learner.step(x, batch, t, pointers.data(), targets == nullptr ? nullptr : classes.data(), logits,
                   watch);
  own.batch = batch;
  own.t = t + 1;
  own.has_gradients = own.has_gradients || targets != nullptr;
}

} // namespace

extern "C" {

hdlif_status hdlif_learner_open(const void* bytes, size_t size, const hdlif_options* options,
                                const hdlif_trained* trained, size_t count, const uint8_t* needed,
                                size_t nodes, const float rate[3], hdlif_learner** learner) {
  return guarded([&] {
    require(learner != nullptr, "learner is NULL");
    *learner = nullptr;
    require(bytes != nullptr && trained != nullptr && needed != nullptr && rate != nullptr,
            "bytes, trained, needed or rate is NULL");
    std::vector<hdlif::Trained> places;
    for (size_t i = 0; i < count; ++i)
      places.push_back({trained[i].node, trained[i].row, trained[i].is_binary != 0});
    *learner = new hdlif_learner(static_cast<const uint8_t*>(bytes), size, hdlif::checked(options),
                                 std::move(places), std::vector<bool>(needed, needed + nodes), checked(rate));
  });
}

void hdlif_learner_close(hdlif_learner* learner) {
  delete learner;
}

hdlif_status hdlif_learner_step(hdlif_learner* learner, const float* x, int64_t batch, int64_t t,
                                const int32_t* targets, float* logits) {
  return guarded([&] {
    require(learner != nullptr && x != nullptr && logits != nullptr, "learner, x or logits is NULL");
    const std::lock_guard<std::mutex> lock(learner->mutex);
    step(*learner, x, batch, t, targets, logits);
  });
}

hdlif_status hdlif_learner_update(hdlif_learner* learner) {
  return guarded([&] {
    require(learner != nullptr, "learner is NULL");
    const std::lock_guard<std::mutex> lock(learner->mutex);
    require(learner->has_gradients, "no step had targets since the last update");
    learner->has_gradients = false;
    require(learner->learner.update(),
            "an update would make a weight infinite; the weights stay as they were. Give a lower rate");
  });
}

hdlif_status hdlif_learner_network(hdlif_learner* learner, hdlif_network** network) {
  return guarded([&] {
    require(network != nullptr, "network is NULL");
    *network = nullptr;
    require(learner != nullptr, "learner is NULL");
    const std::lock_guard<std::mutex> lock(learner->mutex);
    const hdlif::Graph& graph = learner->learner.graph();
    auto opened = std::make_unique<hdlif_network>();
    opened->deployed = Deployed::open(learner->bytes.data(), learner->bytes.size(), learner->options, &graph);
    *network = opened.release();
  });
}

} // extern "C"
