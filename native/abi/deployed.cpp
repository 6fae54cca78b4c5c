#include "deployed.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "../call_limits.h"
#include "hdlif.h"

namespace hdlif {
namespace {

constexpr char kStateMagic[8] = {'H', 'D', 'L', 'I', 'F', 'S', 'T', 2};
constexpr size_t kDigestPlace = 8, kStepsPlace = 40, kSumsPlace = 48;

[[noreturn]] void refuse(int32_t status, const std::string& message) {
  throw CallError(status, message);
}

std::string in_all(const char* key, double amount, int64_t limit) {
  return std::to_string(int64_t(std::min(amount, 9e18))) + " " + key + "; max_" + key + " = " +
         std::to_string(limit) + "; reduce the work per call or, if you trust the network, raise max_" + key;
}

Digest digest_of(const uint8_t* bytes, size_t size) {
  Sha256 hash;
  hash.add(bytes, size);
  return hash.digest();
}

// Convert [H][W][C] to [C][H][W], and back.
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

std::shared_ptr<Deployed> Deployed::open(const uint8_t* bytes, size_t size, const OpenOptions& options,
                                         const Graph* learned) {
  Artefact artefact = read_artefact(bytes, size, options.max_bytes);
  if (learned != nullptr)
    artefact.graph = *learned;
  try {
    return std::shared_ptr<Deployed>(new Deployed(artefact, options));
  } catch (const TooLong& error) {
    // thrown by the session, so the names still exist
    refuse(HDLIF_ERROR_LIMIT, "node " + brief(artefact.values[error.node + 1]) + " " + error.what());
  }
}

Deployed::Deployed(Artefact& artefact, const OpenOptions& options)
    : options_(options),
      session_(std::move(artefact.graph), options.threads, *options.kernels, options.max_bytes),
      values(std::move(artefact.values)), states(std::move(artefact.states)),
      labels(std::move(artefact.labels)), input(std::move(artefact.input)),
      takes_mean(artefact.task.takes_mean), record(std::move(artefact.record)), digest(artefact.digest) {
  // An image or a table row is the same at every step; a time series or a recording is not.
  const bool is_static = input.frames == "constant" && input.kind != "events";
  const int64_t steps = graph().time_steps;
  check(is_static ? 1 : steps, 1, steps, false, true);
}

Deployed::Cost Deployed::cost(int64_t x_steps, int64_t batch, int64_t steps, bool keeps_all,
                              bool owns_potentials) {
  if (batch < 1 || batch > kMaxBatch)
    refuse(HDLIF_ERROR_ARGUMENT, "batch = " + std::to_string(batch) + "; it must be in 1..2^20");
  if (steps < 1 || steps > kMaxSteps || steps > kMaxFrames / batch)
    refuse(HDLIF_ERROR_ARGUMENT, "steps = " + std::to_string(steps) +
                                     "; it must be in 1..2^31 - 1, and steps * batch at most 2^32");
  if (x_steps != 1 && x_steps != steps)
    refuse(HDLIF_ERROR_ARGUMENT, "x_steps = " + std::to_string(x_steps) +
                                     "; it must be 1 or equal to steps = " + std::to_string(steps));
  const bool is_static = x_steps == 1 && steps > 1;
  return {session_.run_bytes(batch, steps, is_static, keeps_all, owns_potentials),
          session_.operations(batch, steps, is_static, keeps_all)};
}

void Deployed::check(int64_t x_steps, int64_t batch, int64_t steps, bool keeps_all, bool owns_potentials,
                     double result_bytes) {
  const Cost cost = this->cost(x_steps, batch, steps, keeps_all, owns_potentials);
  const std::string call = std::to_string(batch) + " inputs x " + std::to_string(steps) + " time steps take ";
  const double bytes = double(cost.bytes) + result_bytes;
  if (bytes > double(options_.max_bytes))
    refuse(HDLIF_ERROR_LIMIT, call + in_all("bytes", bytes, options_.max_bytes));
  if (cost.operations > double(options_.max_operations))
    refuse(HDLIF_ERROR_LIMIT, call + in_all("operations", cost.operations, options_.max_operations));
}

void Deployed::normalise(const float* raw, int64_t frames, float* x) const {
  const Value& type = graph().values[0];
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
  auto entries = size_t(output().size());
  for (size_t i = 0; i < states.size(); ++i)
    entries += size_t(state(i).size());
  return kSumsPlace + entries * sizeof(float) + sizeof(Digest);
}

const Value& Deployed::state(size_t index) const {
  return graph().values[size_t(graph().stateful[index]) + 1];
}

// Holds the stream for a call.
class DeployedStream::Use {
public:
  explicit Use(DeployedStream& stream) : stream_(stream) {
    if (stream.is_busy_.exchange(true, std::memory_order_acquire))
      refuse(HDLIF_ERROR_BUSY, "another thread is using this stream; give each thread its own stream");
  }
  ~Use() { stream_.is_busy_.store(false, std::memory_order_release); }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;

  void check_held() const {
    if (stream_.steps() < 0)
      refuse(HDLIF_ERROR_STATE,
             "a call of this stream was interrupted and its state is lost; reset the stream, "
             "load a state or begin another one");
  }

private:
  DeployedStream& stream_;
};

DeployedStream::DeployedStream(std::shared_ptr<Deployed> network)
    : network_(std::move(network)), operations_(network_->session_.operations(1, 1, false, false)),
      sums_(size_t(network_->output().size()), 0.0f) {
  network_->check(1, 1, 1, false, false);
  const int64_t bytes = network_->cost(1, 1, 1, false, false).bytes + network_->session_.flow_bytes();
  if (bytes > network_->options_.max_bytes)
    refuse(HDLIF_ERROR_LIMIT,
           "a stream takes " + in_all("bytes", double(bytes), network_->options_.max_bytes));
  flow_ = network_->session_.begin();
}

void DeployedStream::run(const float* x, int64_t steps, float* logits) {
  Watch watch = network_->options_.watch();
  run(x, steps, logits, watch);
}

void DeployedStream::run(const float* x, int64_t steps, float* logits, Watch& watch) {
  const Use use(*this);
  use.check_held();
  if (steps < 1 || steps > kMaxSteps)
    refuse(HDLIF_ERROR_ARGUMENT, "steps = " + std::to_string(steps) + "; it must be in 1..2^31 - 1");
  const OpenOptions& options = network_->options_;
  if (operations_ * double(steps) > double(options.max_operations))
    refuse(HDLIF_ERROR_LIMIT, std::to_string(steps) + " time steps take " +
                                  in_all("operations", operations_ * double(steps), options.max_operations));
  try {
    network_->session_.advance(flow_, x, steps, logits, watch);
  } catch (const std::bad_alloc&) {
    throw; // before anything was computed
  } catch (...) {
    steps_.store(-1, std::memory_order_relaxed);
    throw;
  }
  if (network_->takes_mean)
    for (int64_t step = 0; step < steps; ++step)
      for (float& sum : sums_)
        sum += *logits++;
  steps_.store(flow_.t, std::memory_order_relaxed);
}

void DeployedStream::begin_at(int64_t steps) {
  network_->session_.take_up(flow_);
  flow_.t = steps;
  steps_.store(steps, std::memory_order_relaxed);
}

void DeployedStream::reset() {
  const Use use(*this);
  for (LineVector<float>& potential : flow_.potentials)
    std::fill(potential.begin(), potential.end(), 0.0f);
  std::fill(sums_.begin(), sums_.end(), 0.0f);
  begin_at(0);
}

void DeployedStream::give(float* const* to) {
  const Use use(*this);
  use.check_held();
  network_->session_.put_away(flow_);
  for (size_t i = 0; i < flow_.potentials.size(); ++i)
    std::copy(flow_.potentials[i].begin(), flow_.potentials[i].end(), to[i]);
}

void DeployedStream::take(float* const* from, int64_t steps) {
  const Use use(*this);
  for (size_t i = 0; i < flow_.potentials.size(); ++i)
    std::copy_n(from[i], flow_.potentials[i].size(), flow_.potentials[i].data());
  std::fill(sums_.begin(), sums_.end(), 0.0f);
  begin_at(steps);
}

void DeployedStream::save(void* bytes, size_t size) {
  const Use use(*this);
  use.check_held();
  if (const size_t needed = network_->state_size(); size != needed)
    refuse(HDLIF_ERROR_ARGUMENT, "size = " + std::to_string(size) + "; a state of this network has " +
                                     std::to_string(needed) + " bytes");
  network_->session_.put_away(flow_);
  auto* const first = static_cast<uint8_t*>(bytes);
  std::memcpy(first, kStateMagic, sizeof(kStateMagic));
  std::copy(network_->digest.begin(), network_->digest.end(), first + kDigestPlace);
  std::memcpy(first + kStepsPlace, &flow_.t, sizeof(flow_.t));
  std::memcpy(first + kSumsPlace, sums_.data(), sums_.size() * sizeof(float));
  uint8_t* to = first + kSumsPlace + sums_.size() * sizeof(float);
  for (size_t i = 0; i < flow_.potentials.size(); ++i) {
    channels_first(flow_.potentials[i].data(), to, network_->state(i));
    to += flow_.potentials[i].size() * sizeof(float);
  }
  const Digest digest = digest_of(first, size_t(to - first));
  std::copy(digest.begin(), digest.end(), to);
}

// Throws unless the bytes are a state of the network; returns its number of steps.
int64_t DeployedStream::check_state(const uint8_t* bytes, size_t size) const {
  const auto refuse_state = [](const std::string& what) { refuse(HDLIF_ERROR_STATE, what); };
  constexpr size_t kMagic = sizeof(kStateMagic);
  if (size < kSumsPlace + sizeof(Digest) || std::memcmp(bytes, kStateMagic, kMagic - 1) != 0)
    refuse_state("the bytes are not a saved stream state");
  if (bytes[kMagic - 1] != uint8_t(kStateMagic[kMagic - 1]))
    refuse_state("the state has version " + std::to_string(bytes[kMagic - 1]) +
                 ", but this version of hdlif reads version 2; save the state again");
  const uint8_t* const end = bytes + size - sizeof(Digest);
  const Digest digest = digest_of(bytes, size_t(end - bytes));
  if (!std::equal(digest.begin(), digest.end(), end))
    refuse_state("the state does not match the digest at its end; it is damaged");
  if (!std::equal(network_->digest.begin(), network_->digest.end(), bytes + kDigestPlace))
    refuse_state(
        "the state belongs to another model file; load it into a stream of the network that saved it");
  int64_t steps;
  std::memcpy(&steps, bytes + kStepsPlace, sizeof(steps));
  if (size != network_->state_size() || steps < 0 || steps >= int64_t(1) << 62)
    refuse_state("the state has " + std::to_string(size) + " bytes and " + std::to_string(steps) +
                 " steps; a state of this network has " + std::to_string(network_->state_size()) +
                 " bytes and 0..2^62 steps; it is damaged");
  return steps;
}

void DeployedStream::load(const void* bytes, size_t size) {
  const Use use(*this);
  const auto* const first = static_cast<const uint8_t*>(bytes);
  const int64_t steps = check_state(first, size);
  std::memcpy(sums_.data(), first + kSumsPlace, sums_.size() * sizeof(float));
  const uint8_t* from = first + kSumsPlace + sums_.size() * sizeof(float);
  for (size_t i = 0; i < flow_.potentials.size(); ++i) {
    channels_last(from, flow_.potentials[i].data(), network_->state(i));
    from += flow_.potentials[i].size() * sizeof(float);
  }
  begin_at(steps);
}

} // namespace hdlif
