#include "deployed.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "../call_limits.h"
#include "hdlif.h"

namespace hdlif {
namespace {

constexpr char kStateMagic[8] = {'H', 'D', 'L', 'I', 'F', 'S', 'T', 1};
constexpr size_t kDigestPlace = 8, kStepsPlace = 40, kValuesPlace = 48;

[[noreturn]] void refuse(int32_t status, const std::string& message) {
  throw CallError(status, message);
}

std::string in_all(const char* key, double amount, double limit) {
  return std::to_string(int64_t(std::min(amount, 9e18))) + " " + key + "; the limit is max_" + key + " = " +
         std::to_string(int64_t(limit)) + ", which the options may raise for a network that you trust";
}

// [H][W][C] to [C][H][W], and back
void channels_first(const float* from, uint8_t* to, const Value& type) {
  for (int64_t p = 0; p < type.pixels(); ++p)
    for (int64_t c = 0; c < type.channels; ++c)
      std::memcpy(to + (c * type.pixels() + p) * 4, from + p * type.channels + c, sizeof(float));
}
void channels_last(const uint8_t* from, float* to, const Value& type) {
  for (int64_t p = 0; p < type.pixels(); ++p)
    for (int64_t c = 0; c < type.channels; ++c)
      std::memcpy(to + p * type.channels + c, from + (c * type.pixels() + p) * 4, sizeof(float));
}

} // namespace

Watch OpenOptions::watch() const {
  if (go_on == nullptr)
    return Watch();
  const auto ask = [](void* options) {
    const auto* own = static_cast<const OpenOptions*>(options);
    return own->go_on(own->context) != 0;
  };
  return Watch(ask, const_cast<OpenOptions*>(this));
}

std::shared_ptr<Deployed> Deployed::open(const uint8_t* bytes, size_t size, const OpenOptions& options) {
  Artefact artefact = read_artefact(bytes, size, options.max_bytes);
  try {
    return std::shared_ptr<Deployed>(new Deployed(artefact, options));
  } catch (const TooLong& error) {
    // thrown by the session, so that the names are still there
    refuse(HDLIF_ERROR_LIMIT,
           with_names(error.what(), artefact.values) +
               ", within which a run cannot be interrupted; make the layer, the kernel or the rows of "
               "its map smaller");
  }
}

Deployed::Deployed(Artefact& artefact, const OpenOptions& options)
    : options_(options),
      session_(std::move(artefact.program), options.threads, *options.kernels, options.max_bytes),
      values(std::move(artefact.values)), states(std::move(artefact.states)),
      labels(std::move(artefact.labels)), input(std::move(artefact.input)), graph(std::move(artefact.graph)),
      digest(artefact.digest) {
  check(1, 1, program().time_steps, false, true);
}

Deployed::Cost Deployed::cost(int64_t x_steps, int64_t batch, int64_t steps, bool keeps_all,
                              bool owns_potentials) {
  if (batch < 1 || batch > kMaxBatch)
    refuse(HDLIF_ERROR_ARGUMENT, "batch = " + std::to_string(batch) + "; it is 1..2^20");
  if (steps < 1 || steps > kMaxSteps || steps > kMaxFrames / batch)
    refuse(HDLIF_ERROR_ARGUMENT,
           "steps = " + std::to_string(steps) + "; a run takes 1..2^31 - 1, and 2^32 of its whole batch");
  if (x_steps != 1 && x_steps != steps)
    refuse(HDLIF_ERROR_ARGUMENT, "x_steps = " + std::to_string(x_steps) +
                                     "; it is 1, or as many as steps = " + std::to_string(steps));
  const bool is_static = x_steps == 1 && steps > 1;
  return {session_.run_bytes(batch, steps, is_static, keeps_all, owns_potentials),
          session_.operations(batch, steps, is_static, keeps_all)};
}

void Deployed::check(int64_t x_steps, int64_t batch, int64_t steps, bool keeps_all, bool owns_potentials) {
  const Cost cost = this->cost(x_steps, batch, steps, keeps_all, owns_potentials);
  const std::string call =
      std::to_string(batch) + " x " + std::to_string(steps) + " inputs and time steps take ";
  if (cost.bytes > options_.max_bytes)
    refuse(HDLIF_ERROR_LIMIT, call + in_all("bytes", double(cost.bytes), double(options_.max_bytes)));
  if (cost.operations > double(options_.max_operations))
    refuse(HDLIF_ERROR_LIMIT, call + in_all("operations", cost.operations, double(options_.max_operations)));
}

void Deployed::normalise(const float* raw, int64_t frames, float* x) const {
  const Value& type = program().values[0];
  const int64_t pixels = type.pixels();
  for (int64_t frame = 0; frame < frames; ++frame)
    for (int32_t c = 0; c < type.channels; ++c) {
      const float whole = input.whole, mean = input.mean[size_t(c)], std = input.std[size_t(c)];
      const int64_t first = (frame * type.channels + c) * pixels;
      for (int64_t i = first; i < first + pixels; ++i)
        x[i] = (raw[i] / whole - mean) / std;
    }
}

void Deployed::run(const float* x, int64_t x_steps, int64_t batch, int64_t steps, float* logits,
                   float* const* values) {
  const std::array<int64_t, 3> call{x_steps, batch, steps};
  bool is_granted = false;
  if (values == nullptr) {
    std::lock_guard<std::mutex> lock(mutex_);
    is_granted = granted_ == call;
  }
  if (!is_granted)
    check(x_steps, batch, steps, values != nullptr, true);
  if (!is_granted && values == nullptr) {
    std::lock_guard<std::mutex> lock(mutex_);
    granted_ = call;
  }
  Watch watch = options_.watch();
  session_.run(x, x_steps, batch, steps, 0, nullptr, logits, {values, nullptr}, watch);
}

size_t Deployed::state_size() const {
  size_t entries = 0;
  for (size_t i = 0; i < states.size(); ++i)
    entries += size_t(state(i).size());
  return kValuesPlace + entries * sizeof(float);
}

const Value& Deployed::state(size_t index) const {
  return program().values[size_t(program().stateful[index]) + 1];
}

// Holds the stream for a call.
class DeployedStream::Use {
public:
  explicit Use(DeployedStream& stream) : stream_(stream) {
    if (stream.is_busy_.exchange(true, std::memory_order_acquire))
      refuse(HDLIF_ERROR_BUSY,
             "another thread is within a call of this stream; give each thread a stream of its own");
  }
  ~Use() { stream_.is_busy_.store(false, std::memory_order_release); }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;

  void check_held() const {
    if (stream_.steps() < 0)
      refuse(HDLIF_ERROR_STATE,
             "a call of this stream was interrupted, and its state is lost; reset it or load a state");
  }

private:
  DeployedStream& stream_;
};

DeployedStream::DeployedStream(std::shared_ptr<Deployed> network)
    : network_(std::move(network)), operations_(network_->session_.operations(1, 1, false, false)) {
  network_->check(1, 1, 1, false, false);
  const int64_t bytes = network_->cost(1, 1, 1, false, false).bytes + network_->session_.flow_bytes();
  if (bytes > network_->options_.max_bytes)
    refuse(HDLIF_ERROR_LIMIT,
           "a stream takes " + in_all("bytes", double(bytes), double(network_->options_.max_bytes)));
  flow_ = network_->session_.begin();
}

void DeployedStream::run(const float* x, int64_t steps, float* logits) {
  const Use use(*this);
  use.check_held();
  if (steps < 1 || steps > kMaxSteps)
    refuse(HDLIF_ERROR_ARGUMENT, "steps = " + std::to_string(steps) + "; a run takes 1..2^31 - 1");
  const OpenOptions& options = network_->options_;
  if (operations_ * double(steps) > double(options.max_operations))
    refuse(HDLIF_ERROR_LIMIT,
           std::to_string(steps) + " time steps take " +
               in_all("operations", operations_ * double(steps), double(options.max_operations)));
  Watch watch = options.watch();
  try {
    network_->session_.advance(flow_, x, steps, logits, watch);
  } catch (const std::bad_alloc&) {
    throw; // before anything was computed
  } catch (...) {
    steps_.store(-1, std::memory_order_relaxed);
    throw;
  }
  steps_.store(flow_.t, std::memory_order_relaxed);
}

void DeployedStream::reset() {
  const Use use(*this);
  for (LineVector<float>& potential : flow_.potentials)
    std::fill(potential.begin(), potential.end(), 0.0f);
  network_->session_.take_up(flow_);
  flow_.t = 0;
  steps_.store(0, std::memory_order_relaxed);
}

void DeployedStream::save(void* bytes, size_t size) {
  const Use use(*this);
  use.check_held();
  if (const size_t needed = network_->state_size(); size != needed)
    refuse(HDLIF_ERROR_ARGUMENT, "size = " + std::to_string(size) + "; a state of this network has " +
                                     std::to_string(needed) + " bytes");
  network_->session_.put_away(flow_);
  auto* to = static_cast<uint8_t*>(bytes);
  std::memcpy(to, kStateMagic, sizeof(kStateMagic));
  std::copy(network_->digest.begin(), network_->digest.end(), to + kDigestPlace);
  std::memcpy(to + kStepsPlace, &flow_.t, sizeof(flow_.t));
  to += kValuesPlace;
  for (size_t i = 0; i < flow_.potentials.size(); ++i) {
    channels_first(flow_.potentials[i].data(), to, network_->state(i));
    to += flow_.potentials[i].size() * sizeof(float);
  }
}

void DeployedStream::load(const void* bytes, size_t size) {
  const Use use(*this);
  const auto* from = static_cast<const uint8_t*>(bytes);
  if (size < kValuesPlace || std::memcmp(from, kStateMagic, sizeof(kStateMagic)) != 0)
    refuse(HDLIF_ERROR_STATE, "the bytes are no state that hdlif_stream_save wrote");
  if (!std::equal(network_->digest.begin(), network_->digest.end(), from + kDigestPlace))
    refuse(HDLIF_ERROR_STATE,
           "the state is of another artefact; load it into a stream of the one that it was saved of");
  int64_t steps;
  std::memcpy(&steps, from + kStepsPlace, sizeof(steps));
  if (size != network_->state_size() || steps < 0 || steps >= int64_t(1) << 62)
    refuse(HDLIF_ERROR_STATE, "the state has " + std::to_string(size) + " bytes and " +
                                  std::to_string(steps) + " steps; one of this network has " +
                                  std::to_string(network_->state_size()) +
                                  " bytes and 0..2^62 steps; it is damaged");
  from += kValuesPlace;
  for (size_t i = 0; i < flow_.potentials.size(); ++i) {
    channels_last(from, flow_.potentials[i].data(), network_->state(i));
    from += flow_.potentials[i].size() * sizeof(float);
  }
  network_->session_.take_up(flow_);
  flow_.t = steps;
  steps_.store(steps, std::memory_order_relaxed);
}

} // namespace hdlif
