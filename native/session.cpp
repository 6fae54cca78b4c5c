#include "session.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace hdlif {
namespace {

// Bounds the memory of a chunk, and keeps it in the cache.
constexpr int64_t kImagesPerChunk = 16; // counting an image once for each step
constexpr int64_t kStepsPerChunk = 16;

// Rough cycles of work below which another thread is not worth its wake-up.
constexpr int64_t kCyclesPerRange = 4096;

} // namespace

Session::Session(Program program, int threads, const Kernels& kernels)
    : plan_(std::move(program), kernels), pool_(threads) {}

int64_t Session::working_bytes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  int64_t bytes = 0;
  for (const std::unique_ptr<Workspace>& spare : workspaces_)
    bytes += spare->bytes();
  return bytes;
}

void Session::run(const float* x, int64_t x_steps, int64_t batch, int64_t steps, int64_t t,
                  float* const* potentials, float* logits, const Kept& kept) {
  const bool is_static = x_steps == 1 && steps > 1;
  const int64_t chunk_steps = std::min(steps, kStepsPerChunk);
  const int64_t group = std::clamp<int64_t>(kImagesPerChunk / chunk_steps, 1, batch);
  const int64_t classes = program().values[program().output].size();
  std::unique_ptr<Workspace> workspace = borrow(group, chunk_steps, is_static, kept.values != nullptr);
  std::vector<float*>& own_potentials = workspace->potentials;
  for (int64_t image = 0; image < batch; image += group) {
    for (size_t i = 0; i < own_potentials.size(); ++i)
      own_potentials[i] = potentials[i] + image * program().values[program().stateful[i] + 1].size();
    for (int64_t begin = 0; begin < steps; begin += chunk_steps) {
      const Chunk chunk{std::min(group, batch - image), std::min(chunk_steps, steps - begin), t + begin,
                        is_static, own_potentials.data()};
      const int64_t x_step = is_static ? 0 : begin;
      load_input(x + (x_step * batch + image) * program().values[0].size(), batch, chunk, *workspace);
      for (const Stage& stage : plan_.stages) {
        const auto start = std::chrono::steady_clock::now();
        compute(stage, chunk, *workspace);
        if (kept.seconds != nullptr)
          kept.seconds[stage.first()] +=
              std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      }
      for (int64_t step = 0; step < chunk.steps; ++step) {
        const int64_t first = (begin + step) * batch + image;
        read(program().output, chunk, step, *workspace, logits + first * classes);
        for (size_t v = 0; kept.values != nullptr && v < program().values.size(); ++v)
          read(int32_t(v), chunk, step, *workspace, kept.values[v] + first * program().values[v].size());
      }
    }
  }
  give_back(std::move(workspace));
}

std::unique_ptr<Workspace> Session::borrow(int64_t batch, int64_t steps, bool is_static, bool keeps_all) {
  std::unique_ptr<Workspace> workspace;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    auto chosen = std::find_if(workspaces_.begin(), workspaces_.end(), [&](const auto& spare) {
      return spare->fits(batch, steps, is_static, keeps_all);
    });
    if (chosen == workspaces_.end() && !workspaces_.empty())
      chosen = workspaces_.end() - 1;
    if (chosen != workspaces_.end()) {
      workspace = std::move(*chosen);
      workspaces_.erase(chosen);
    }
  }
  if (workspace == nullptr)
    workspace = std::make_unique<Workspace>();
  workspace->fit(plan_, pool_.threads(), batch, steps, is_static, keeps_all);
  return workspace;
}

void Session::give_back(std::unique_ptr<Workspace> workspace) {
  std::lock_guard<std::mutex> lock(mutex_);
  workspaces_.push_back(std::move(workspace));
}

void Session::compute(const Stage& stage, const Chunk& chunk, Workspace& workspace) {
  const int64_t cycles = plan_.cycles_per_row(stage) * plan_.leading(stage, chunk);
  pool_.split(plan_.rows(stage, chunk), std::max<int64_t>(1, kCyclesPerRange / cycles),
              [&](int64_t begin, int64_t end, int thread) {
                compute_rows(plan_, stage, chunk, workspace, thread, begin, end);
              });
}

// The chunk's images, from [x_steps][x_batch][C][H][W].
void Session::load_input(const float* x, int64_t x_batch, const Chunk& chunk, Workspace& workspace) const {
  const Value& in = program().values[0];
  float* to = floats(workspace.slots[workspace.placement.slot[0]].data());
  const int64_t steps = plan_.leading(0, chunk);
  for (int64_t step = 0; step < steps; ++step)
    for (int64_t image = 0; image < chunk.batch; ++image, to += in.size())
      transpose(x + (step * x_batch + image) * in.size(), to, in.channels, in.pixels());
}

// One step of a value as float32 [batch][C][H][W].
void Session::read(int32_t value, const Chunk& chunk, int64_t step, const Workspace& workspace,
                   float* out) const {
  const Value& type = program().values[value];
  const int64_t pixels = type.pixels(), channels = type.channels;
  const uint8_t* memory = workspace.slots[workspace.placement.slot[value]].data();
  const int64_t first = (plan_.leading(value, chunk) == 1 ? 0 : step) * chunk.batch;
  for (int64_t image = 0; image < chunk.batch; ++image, out += type.size()) {
    const int64_t offset = (first + image) * type.size();
    for (int64_t p = 0; p < pixels; ++p)
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t i = offset + p * channels + c;
        out[c * pixels + p] = type.max_code > 0 ? float(memory[i]) : floats(memory)[i];
      }
  }
}

} // namespace hdlif
