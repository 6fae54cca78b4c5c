#include "session.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

namespace hdlif {
namespace {

// Bound the memory of a chunk, so it stays in the cache.
constexpr int64_t kImagesPerChunk = 16; // an image counts once per step
constexpr int64_t kStepsPerChunk = 16;

// Approximate minimum work per thread, in cycles; less is not worth waking another thread.
constexpr int64_t kCyclesPerRange = 4096;

// Calls `body`, and adds its seconds to those of the stage if `seconds` is given.
template <typename Body> void timed(const Stage& stage, double* seconds, const Body& body) {
  if (seconds == nullptr)
    return body();
  const auto before = std::chrono::steady_clock::now();
  body();
  seconds[stage.first()] += std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
}

} // namespace

Session::Session(Graph graph, int threads, const Kernels& kernels, int64_t max_bytes)
    : plan_(std::move(graph), kernels, max_bytes), threads_(threads), max_bytes_(max_bytes),
      workers_(new Workers(threads)) {}

Session::~Session() {
  if (Workers* workers = workers_.load(); workers->process == forks())
    delete workers;
}

Session::Workers& Session::workers() {
  Workers* current = workers_.load(std::memory_order_acquire);
  if (current->process == forks())
    return *current;
  auto own = std::make_unique<Workers>(threads_);
  if (workers_.compare_exchange_strong(current, own.get(), std::memory_order_acq_rel))
    return *own.release();
  return *current; // another thread of this process created them first
}

int64_t Session::working_bytes() {
  Workers& workers = this->workers();
  std::lock_guard<std::mutex> lock(workers.mutex);
  int64_t bytes = 0;
  for (const std::unique_ptr<Workspace>& spare : workers.workspaces)
    bytes += spare->bytes();
  return bytes;
}

Session::Chunking Session::chunking(int64_t batch, int64_t steps, bool is_static, bool keeps_all) const {
  // in time, images of a graph with delays run one after another
  if (plan_.runs_in_time(graph().delays.empty() ? batch : 1, is_static, keeps_all))
    return {1, std::min(steps, kTimeSteps)};
  const int64_t chunk_steps = graph().delays.empty() ? std::min(steps, kStepsPerChunk) : 1;
  return {std::clamp<int64_t>(kImagesPerChunk / chunk_steps, 1, batch), chunk_steps};
}

int64_t Session::run_bytes(int64_t batch, int64_t steps, bool is_static, bool keeps_all,
                           bool owns_potentials) {
  const Chunking chunk = chunking(batch, steps, is_static, keeps_all);
  return plan_.bytes() + workspace_bytes(plan_, workers().pool.threads(), chunk.batch, chunk.steps, is_static,
                                         keeps_all, owns_potentials);
}

double Session::operations(int64_t batch, int64_t steps, bool is_static, bool keeps_all) const {
  const int64_t chunk_steps = chunking(batch, steps, is_static, keeps_all).steps;
  return plan_.operations(batch, steps, (steps + chunk_steps - 1) / chunk_steps, is_static, keeps_all);
}

void Session::run(const float* x, int64_t x_steps, int64_t batch, int64_t steps, int64_t t,
                  float* const* potentials, float* logits, const Kept& kept, Watch& watch) {
  Workers& workers = this->workers();
  const bool is_static = x_steps == 1 && steps > 1;
  const Chunking chunk = chunking(batch, steps, is_static, kept.values != nullptr);
  std::unique_ptr<Workspace> workspace =
      borrow(workers, chunk, is_static, kept.values != nullptr, potentials == nullptr, watch);
  const auto give_back = [&] {
    if (workers.process != forks()) { // in the child, if the watch forked the process
      workspace.release();
      return;
    }
    std::lock_guard<std::mutex> lock(workers.mutex);
    workers.workspaces.push_back(std::move(workspace));
  };
  try {
    run_in(*workspace, workers.pool, chunk, x, x_steps, batch, steps, t, potentials, logits, kept, watch);
  } catch (...) {
    give_back();
    throw;
  }
  give_back();
}

Flow Session::begin() const {
  Flow flow;
  for (int32_t n : graph().stateful)
    flow.potentials.emplace_back(size_t(graph().values[size_t(n) + 1].size()), 0.0f);
  for (LineVector<float>& potential : flow.potentials)
    flow.pointers.push_back(potential.data());
  if (plan_.runs_in_time(1, false, false))
    for (size_t value = 0; value < graph().values.size(); ++value)
      if (const int64_t bytes = plan_.history_bytes(int32_t(value)); bytes > 0)
        flow.histories.emplace_back(size_t(bytes), uint8_t(0));
  return flow;
}

int64_t Session::flow_bytes() const {
  int64_t bytes = plan_.potential_entries() * int64_t(sizeof(float));
  for (size_t value = 0; plan_.runs_in_time(1, false, false) && value < graph().values.size(); ++value)
    bytes += plan_.history_bytes(int32_t(value));
  return bytes;
}

template <typename Body> void Session::within(Flow& flow, Watch& watch, const Body& body) {
  Workers& workers = this->workers();
  std::unique_ptr<Workspace> workspace = borrow(workers, {1, kTimeSteps}, false, false, false, watch);
  workspace->potentials = flow.pointers;
  const auto exchange = [&] {
    size_t i = 0;
    for (size_t value = 0; value < graph().values.size(); ++value)
      if (plan_.timeline.history[value] > 0)
        std::swap(flow.histories[i++], workspace->slots[size_t(workspace->placement.slot[value])]);
  };
  const auto give_back = [&] {
    exchange();
    if (workers.process != forks()) { // in the child, if the watch forked the process
      workspace.release();
      return;
    }
    std::lock_guard<std::mutex> lock(workers.mutex);
    workers.workspaces.push_back(std::move(workspace));
  };
  exchange();
  try {
    body(*workspace);
  } catch (...) {
    give_back();
    throw;
  }
  give_back();
}

void Session::advance(Flow& flow, const float* x, int64_t steps, float* logits, Watch& watch) {
  if (!plan_.runs_in_time(1, false, false)) {
    run(x, steps, 1, steps, flow.t, flow.pointers.data(), logits, {}, watch);
  } else {
    const int64_t size = graph().values[0].size(), classes = graph().values[graph().output].size();
    within(flow, watch, [&](Workspace& workspace) {
      for (int64_t begin = 0; begin < steps; begin += kTimeSteps) {
        const Chunk chunk{
            1, std::min(kTimeSteps, steps - begin), flow.t + begin, false, flow.pointers.data(), flow.place};
        flow.place =
            run_in_time(chunk, x + begin * size, 1, workspace, logits + begin * classes, nullptr, watch);
      }
    });
  }
  flow.t += steps;
}

void Session::put_away(Flow& flow) {
  Watch watch;
  if (plan_.runs_in_time(1, false, false))
    within(flow, watch, [&](Workspace& workspace) { give_history(flow.place, workspace); });
}

void Session::take_up(Flow& flow) {
  Watch watch;
  flow.place = 0;
  if (plan_.runs_in_time(1, false, false))
    within(flow, watch, [&](Workspace& workspace) { begin_history(true, workspace); });
}

void Session::run_in(Workspace& workspace, ThreadPool& pool, Chunking chunking, const float* x,
                     int64_t x_steps, int64_t batch, int64_t steps, int64_t t, float* const* potentials,
                     float* logits, const Kept& kept, Watch& watch) {
  const bool is_static = x_steps == 1 && steps > 1;
  const int64_t classes = graph().values[graph().output].size();
  for (int64_t image = 0; image < batch; image += chunking.batch) {
    const int64_t images = std::min(chunking.batch, batch - image);
    start(potentials, image, images, workspace, watch);
    int64_t place = 0;
    if (workspace.placement.in_time)
      begin_history(potentials != nullptr, workspace);
    for (int64_t begin = 0; begin < steps; begin += chunking.steps) {
      const Chunk chunk{
          images, std::min(chunking.steps, steps - begin), t + begin, is_static, workspace.potentials.data(),
          place};
      const int64_t x_step = is_static ? 0 : begin;
      const float* from = x + (x_step * batch + image) * graph().values[0].size();
      if (workspace.placement.in_time) {
        float* to = logits + (begin * batch + image) * classes;
        place = run_in_time(chunk, from, batch, workspace, to, kept.seconds, watch);
        continue;
      }
      load_input(from, batch, chunk, workspace, watch);
      for (const Stage& stage : plan_.stages) {
        timed(stage, kept.seconds, [&] { compute(stage, chunk, workspace, pool, watch); });
        watch.go_on();
      }
      delay(chunk, workspace, watch);
      for (int64_t step = 0; step < chunk.steps; ++step) {
        const int64_t first = (begin + step) * batch + image;
        read(graph().output, chunk, step, workspace, logits + first * classes, watch);
        for (size_t v = 0; kept.values != nullptr && v < graph().values.size(); ++v)
          if (kept.values[v] != nullptr)
            read(int32_t(v), chunk, step, workspace, kept.values[v] + first * graph().values[v].size(),
                 watch);
      }
    }
    if (workspace.placement.in_time && potentials != nullptr)
      give_history(place, workspace);
  }
}

// Computes all steps of a chunk of one image together, from x [steps][batch][C] to logits
// [steps][batch][classes]. Returns the place of the next chunk.
int64_t Session::run_in_time(const Chunk& chunk, const float* x, int64_t batch, Workspace& workspace,
                             float* logits, double* seconds, Watch& watch) const {
  const int64_t channels = graph().values[0].size();
  float* to = floats(slot_at(0, chunk, workspace));
  for (int64_t step = 0; step < chunk.steps; ++step)
    std::copy_n(x + step * batch * channels, channels, to + step * channels);
  for (const Stage& stage : plan_.timeline.stages) {
    timed(stage, seconds, [&] { compute_rows(plan_, stage, chunk, workspace, watch, 0, 0, 1); });
    watch.go_on();
  }
  const Value& out = graph().values[graph().output];
  const int64_t classes = out.size();
  const uint8_t* from = slot_at(graph().output, chunk, workspace);
  for (int64_t step = 0; step < chunk.steps; ++step) {
    float* y = logits + step * batch * classes;
    if (out.max_code > 0)
      std::copy_n(from + step * classes, classes, y);
    else
      std::copy_n(floats(from) + step * classes, classes, y);
  }
  // the next chunk's frames follow this chunk's; if they would not fit, the history moves to the front
  const int64_t next = chunk.place + chunk.steps;
  if (next + kTimeSteps <= kTimeRoom)
    return next;
  for (size_t value = 0; value < graph().values.size(); ++value)
    if (const int64_t history = plan_.timeline.history[value]; history > 0) {
      const int64_t bytes = graph().values[value].size() * graph().values[value].entry_bytes();
      uint8_t* slot = workspace.slots[workspace.placement.slot[value]].data();
      std::memmove(slot, slot + next * bytes, size_t(history * bytes));
    }
  return 0;
}

std::unique_ptr<Workspace> Session::borrow(Workers& workers, Chunking chunking, bool is_static,
                                           bool keeps_all, bool owns_potentials, Watch& watch) {
  std::unique_ptr<Workspace> workspace;
  {
    std::lock_guard<std::mutex> lock(workers.mutex);
    std::vector<std::unique_ptr<Workspace>>& spares = workers.workspaces;
    auto chosen = std::find_if(spares.begin(), spares.end(), [&](const auto& spare) {
      return spare->fits(chunking.batch, chunking.steps, is_static, keeps_all);
    });
    if (chosen == spares.end() && !spares.empty())
      chosen = spares.end() - 1;
    if (chosen != spares.end()) {
      workspace = std::move(*chosen);
      spares.erase(chosen);
    }
  }
  if (workspace == nullptr)
    workspace = std::make_unique<Workspace>();
  workspace->fit(plan_, workers.pool.threads(), chunking.batch, chunking.steps, is_static, keeps_all,
                 owns_potentials, max_bytes_ - plan_.bytes(), watch);
  return workspace;
}

// Sets the potentials of these images: the caller's, or zeros in the workspace.
void Session::start(float* const* potentials, int64_t first_image, int64_t images, Workspace& workspace,
                    Watch& watch) const {
  float* own = floats(workspace.own_potentials.data());
  for (size_t i = 0; i < workspace.potentials.size(); ++i) {
    const int64_t size = graph().values[graph().stateful[i] + 1].size();
    if (potentials != nullptr) {
      workspace.potentials[i] = potentials[i] + first_image * size;
      continue;
    }
    workspace.potentials[i] = own;
    in_parts(
        1, images * size,
        [&](int64_t, int64_t, int64_t begin, int64_t end) { std::fill(own + begin, own + end, 0.0f); },
        [&] { watch.go_on(); });
    own += images * size;
  }
}

void Session::compute(const Stage& stage, const Chunk& chunk, Workspace& workspace, ThreadPool& pool,
                      Watch& watch) {
  const int64_t cycles = plan_.cycles_per_row(stage) * plan_.leading(stage, chunk);
  pool.split(plan_.rows(stage, chunk), std::max<int64_t>(1, kCyclesPerRange / cycles), watch,
             [&](int64_t begin, int64_t end, int thread) {
               compute_rows(plan_, stage, chunk, workspace, watch, thread, begin, end);
             });
}

// Copies the delayed values of a chunk of one step into the states of the delays.
void Session::delay(const Chunk& chunk, const Workspace& workspace, Watch& watch) const {
  for (int32_t n : graph().delays) {
    const int32_t source = graph().nodes[n].source;
    const Value& type = graph().values[source];
    const uint8_t* from = workspace.slots[workspace.placement.slot[source]].data();
    float* to = chunk.potentials[plan_.potential_of[n]];
    in_parts(
        1, chunk.batch * type.size(),
        [&](int64_t, int64_t, int64_t begin, int64_t end) {
          if (type.max_code > 0)
            std::copy(from + begin, from + end, to + begin);
          else
            std::copy(floats(from) + begin, floats(from) + end, to + begin);
        },
        [&] { watch.go_on(); });
  }
}

// Loads the chunk's images from x [x_steps][x_batch][C][H][W].
void Session::load_input(const float* x, int64_t x_batch, const Chunk& chunk, Workspace& workspace,
                         Watch& watch) const {
  const Value& in = graph().values[0];
  float* to = floats(workspace.slots[workspace.placement.slot[0]].data());
  const int64_t steps = plan_.leading(0, chunk), pixels = in.pixels(), channels = in.channels;
  for (int64_t step = 0; step < steps; ++step)
    for (int64_t image = 0; image < chunk.batch; ++image, to += in.size()) {
      const float* from = x + (step * x_batch + image) * in.size();
      in_parts(
          pixels, channels,
          [&](int64_t begin, int64_t end, int64_t first_channel, int64_t last_channel) {
            for (int64_t c = first_channel; c < last_channel; ++c)
              for (int64_t p = begin; p < end; ++p)
                to[p * channels + c] = from[c * pixels + p];
          },
          [&] { watch.go_on(); });
    }
}

// Writes one step of a value to `out` as float32 [batch][C][H][W].
void Session::read(int32_t value, const Chunk& chunk, int64_t step, const Workspace& workspace, float* out,
                   Watch& watch) const {
  const Value& type = graph().values[value];
  const int64_t pixels = type.pixels(), channels = type.channels;
  const uint8_t* memory = workspace.slots[workspace.placement.slot[value]].data();
  const int64_t first = (plan_.leading(value, chunk) == 1 ? 0 : step) * chunk.batch;
  for (int64_t image = 0; image < chunk.batch; ++image, out += type.size()) {
    const int64_t offset = (first + image) * type.size();
    in_parts(
        pixels, channels,
        [&](int64_t begin, int64_t end, int64_t first_channel, int64_t last_channel) {
          for (int64_t p = begin; p < end; ++p)
            for (int64_t c = first_channel; c < last_channel; ++c) {
              const int64_t i = offset + p * channels + c;
              out[c * pixels + p] = type.max_code > 0 ? float(memory[i]) : floats(memory)[i];
            }
        },
        [&] { watch.go_on(); });
  }
}

} // namespace hdlif
