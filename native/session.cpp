#include "session.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "kernels_conv.h"
#include "kernels_pointwise.h"
#include "kernels_pool.h"

namespace hdlif {
namespace {

// Bounds the memory of a run: images whose values are held at once, and steps among them.
constexpr int64_t kImagesPerChunk = 64;
constexpr int64_t kStepsPerChunk = 16;

// Entries, or multiplications, below which waking a thread costs more than it gains.
constexpr int64_t kWorkPerRange = 1 << 15;

int64_t grain(int64_t work_per_item) {
  return std::max<int64_t>(1, kWorkPerRange / std::max<int64_t>(1, work_per_item));
}

int64_t entry_bytes(const Value& value) {
  return value.max_code > 0 ? 1 : sizeof(float);
}

// Ops whose kernels take floats only; their codes are widened first.
bool takes_floats(Op op) {
  switch (op) {
  case Op::kAffine:
  case Op::kHdLif:
  case Op::kParallel:
  case Op::kLif:
  case Op::kGradedLif:
  case Op::kGlif:
  case Op::kSeca:
  case Op::kQuantise:
  case Op::kAdd:
    return true;
  default:
    return false;
  }
}

ConvShape conv_shape(const Node& node, const Value& in, const Value& out) {
  const Window& w = node.window;
  return {in.height,  in.width,   in.channels, out.height, out.width, out.channels, w.kernel_y,
          w.kernel_x, w.stride_y, w.stride_x,  w.pad_y,    w.pad_x,   in.max_code,  node.max_weight};
}

PoolShape pool_shape(const Node& node, const Value& in, const Value& out) {
  Window w = node.window;
  if (node.op == Op::kGlobalSumPool) {
    w.kernel_y = in.height;
    w.kernel_x = in.width;
  }
  return {in.height,  in.width,   in.channels, out.height, out.width, w.kernel_y,
          w.kernel_x, w.stride_y, w.stride_x,  w.pad_y,    w.pad_x};
}

struct ScratchLayout {
  int64_t ring, field, counts; // entries

  explicit ScratchLayout(const ConvShape& s)
      : ring(int64_t(s.ring_rows()) * s.in_width * s.in_channels),
        field(int64_t(s.ring_rows()) * std::min(s.kernel_x, s.in_width) * s.in_channels),
        counts(int64_t(s.ring_rows()) * s.in_width) {}

  int64_t bytes() const { return (ring + field) * sizeof(FloatEvent) + counts * sizeof(int32_t); }

  template <typename Event> ConvScratch<Event> at(uint8_t* memory) const {
    Event* events = reinterpret_cast<Event*>(memory);
    return {events, reinterpret_cast<int32_t*>(events + ring + field), events + ring};
  }
};

Row row(const Rows& rows, int64_t t) {
  return {rows.at(t), rows.columns};
}

GlifRows glif_rows(const Node& node, int64_t t) {
  const auto& r = node.rows;
  return {row(r[0], t), row(r[1], t), row(r[2], t), row(r[3], t), row(r[4], t), row(r[5], t)};
}

constexpr float kNoThreshold = std::numeric_limits<float>::quiet_NaN();

// For each row whether x * scale + shift is x in every bit: only with a shift of -0, for -0 + 0 is 0.
std::vector<bool> identity_rows(const Rows& scale, const Rows& shift) {
  std::vector<bool> is_identity;
  for (int32_t t = 0; t < std::max(scale.steps, shift.steps); ++t) {
    const float *a = scale.at(t), *b = shift.at(t);
    is_identity.push_back(
        std::all_of(a, a + scale.columns, [](float v) { return v == 1.0f; }) &&
        std::all_of(b, b + shift.columns, [](float v) { return v == 0.0f && std::signbit(v); }));
  }
  return is_identity;
}

} // namespace

Session::Session(Program program, int threads)
    : program_(std::move(program)), source_(program_.values.size()), pool_(threads), scratch_(threads) {
  for (size_t v = 0; v < source_.size(); ++v)
    source_[v] = int32_t(v);
  find_passing();
}

// Affines of floats with an identity row, all of whose readers can read one step at every step (as they must
// where the input is constant in time and the affine is not).
void Session::find_passing() {
  const std::vector<Node>& nodes = program_.nodes;
  for (size_t n = 0; n < nodes.size(); ++n) {
    if (nodes[n].op != Op::kAffine || program_.values[nodes[n].inputs[0]].max_code > 0)
      continue;
    bool reads_rows = false;
    for (const Node& reader : nodes)
      for (int32_t input : reader.inputs)
        reads_rows = reads_rows || (input == int32_t(n) + 1 && !takes_floats(reader.op));
    std::vector<bool> is_identity = identity_rows(nodes[n].rows[0], nodes[n].rows[1]);
    if (!reads_rows && std::count(is_identity.begin(), is_identity.end(), true) > 0)
      passing_.push_back({int32_t(n), std::move(is_identity)});
  }
}

bool Session::passes_all(int64_t t, int64_t steps) const {
  for (const Passing& affine : passing_)
    for (int64_t step = t; step < t + steps; ++step) {
      if (!affine.at(step))
        return false;
      if (step >= int64_t(affine.is_identity.size()))
        break;
    }
  return true;
}

// How many of `steps` steps from t on pass the same affines on; at least 1.
int64_t Session::steps_alike(int64_t t, int64_t steps) const {
  for (int64_t step = 1; step < steps; ++step)
    for (const Passing& affine : passing_)
      if (affine.at(t + step) != affine.at(t))
        return step;
  return steps;
}

void Session::pass_on(int64_t t) {
  for (const Passing& affine : passing_) {
    const int32_t output = affine.node + 1;
    source_[output] = affine.at(t) ? source_[program_.nodes[affine.node].inputs[0]] : output;
  }
}

void Session::prepare(int64_t batch, int64_t steps, bool is_static, bool keeps_all, bool passes_all) {
  if (plan_.batch == batch && plan_.steps == steps && plan_.is_static == is_static &&
      plan_.keeps_all == keeps_all && plan_.passes_all == passes_all)
    return;
  const size_t value_count = program_.values.size();
  std::vector<size_t> last_use(value_count, 0);
  for (size_t n = 0; n < program_.nodes.size(); ++n)
    for (int32_t input : program_.nodes[n].inputs)
      if (input >= 0)
        last_use[input] = n;
  last_use[program_.output] = value_count;
  // what is passed on lives as long as the value that it is passed on as
  std::vector<int32_t> passed_on(value_count, -1);
  for (auto affine = passing_.rbegin(); affine != passing_.rend(); ++affine) {
    const int32_t output = affine->node + 1, input = program_.nodes[affine->node].inputs[0];
    passed_on[output] = input;
    last_use[input] = std::max(last_use[input], last_use[output]);
  }

  std::vector<int64_t> bytes; // of each slot
  std::vector<int32_t> free;
  const auto allocate = [&](int64_t wanted) {
    // the smallest slot that is large enough, else the largest, which grows
    const auto order = [&](int32_t a, int32_t b) {
      const bool a_fits = bytes[a] >= wanted, b_fits = bytes[b] >= wanted;
      return a_fits != b_fits ? a_fits : (a_fits ? bytes[a] < bytes[b] : bytes[a] > bytes[b]);
    };
    if (free.empty()) {
      bytes.push_back(wanted);
      return int32_t(bytes.size() - 1);
    }
    const auto best = std::min_element(free.begin(), free.end(), order);
    const int32_t slot = *best;
    free.erase(best);
    bytes[slot] = std::max(bytes[slot], wanted);
    return slot;
  };
  const auto entries = [&](int32_t value) {
    const Value& type = program_.values[value];
    return (is_static && type.constant ? 1 : steps) * batch * type.size();
  };
  const auto stays = [&](int32_t value) {
    return keeps_all || (is_static && program_.values[value].constant);
  };

  const size_t gone = value_count + 1; // beyond every use
  const auto release = [&](int32_t value, size_t n) {
    for (; value >= 0 && last_use[value] == n && !stays(value); value = passed_on[value]) {
      last_use[value] = gone;
      if (plan_.slot_of_value[value] >= 0)
        free.push_back(plan_.slot_of_value[value]);
    }
  };

  plan_.batch = 0; // no plan holds until this one is complete
  plan_.slot_of_value.assign(value_count, -1);
  plan_.widened.assign(2 * program_.nodes.size(), -1);
  plan_.slot_of_value[0] = allocate(entries(0) * sizeof(float));
  int64_t scratch_bytes = 0;
  for (size_t n = 0; n < program_.nodes.size(); ++n) {
    const Node& node = program_.nodes[n];
    const int32_t output = int32_t(n) + 1;
    const Value& in = program_.values[node.inputs[0]];
    if (node.op == Op::kConv2d || node.op == Op::kLinear)
      scratch_bytes =
          std::max(scratch_bytes, ScratchLayout(conv_shape(node, in, program_.values[output])).bytes());
    if (node.op == Op::kSeca)
      scratch_bytes = std::max<int64_t>(scratch_bytes, 2 * in.channels * sizeof(float));
    for (int i = 0; i < 2; ++i)
      if (node.inputs[i] >= 0 && takes_floats(node.op) && program_.values[node.inputs[i]].max_code > 0)
        plan_.widened[2 * n + i] = allocate(entries(node.inputs[i]) * sizeof(float));
    if (!passes_all || passed_on[output] < 0)
      plan_.slot_of_value[output] = allocate(entries(output) * entry_bytes(program_.values[output]));
    for (int i = 0; i < 2; ++i) {
      if (plan_.widened[2 * n + i] >= 0)
        free.push_back(plan_.widened[2 * n + i]);
      release(node.inputs[i], n);
    }
  }
  if (plan_.slots.size() < bytes.size())
    plan_.slots.resize(bytes.size());
  for (size_t slot = 0; slot < bytes.size(); ++slot)
    if (int64_t(plan_.slots[slot].size()) < bytes[slot])
      plan_.slots[slot].resize(bytes[slot]);
  for (std::vector<uint8_t>& memory : scratch_)
    if (int64_t(memory.size()) < scratch_bytes)
      memory.resize(scratch_bytes);
  plan_.batch = batch;
  plan_.steps = steps;
  plan_.is_static = is_static;
  plan_.keeps_all = keeps_all;
  plan_.passes_all = passes_all;
}

void Session::run(const float* x, int64_t x_steps, int64_t batch, int64_t steps, int64_t t,
                  float* const* potentials, float* logits) {
  std::lock_guard<std::mutex> lock(mutex_);
  forward(x, x_steps, batch, steps, t, potentials, logits, nullptr);
}

void Session::run_and_keep(const float* x, int64_t x_steps, int64_t batch, int64_t steps, int64_t t,
                           float* const* potentials, float* logits, float* const* values) {
  std::lock_guard<std::mutex> lock(mutex_);
  forward(x, x_steps, batch, steps, t, potentials, logits, values);
}

void Session::forward(const float* x, int64_t x_steps, int64_t batch, int64_t steps, int64_t t,
                      float* const* potentials, float* logits, float* const* values) {
  const bool is_static = x_steps == 1 && steps > 1;
  const int64_t images = std::clamp<int64_t>(kImagesPerChunk / batch, 1, kStepsPerChunk);
  const int64_t chunk_steps = std::min(steps, images);
  prepare(batch, chunk_steps, is_static, values != nullptr, passes_all(t, steps));
  const int64_t frame = batch * program_.values[0].size();
  for (int64_t begin = 0, count = 0; begin < steps; begin += count) {
    count = steps_alike(t + begin, std::min(chunk_steps, steps - begin));
    pass_on(t + begin);
    const Chunk chunk{batch, count, t + begin, is_static, begin == 0, potentials};
    if (!is_static || chunk.is_first)
      load_input(x + (is_static ? 0 : begin * frame), chunk);
    for (size_t n = 0; n < program_.nodes.size(); ++n)
      if (chunk.is_first || !is_static || !program_.values[n + 1].constant)
        compute(int32_t(n), chunk);
    const int64_t classes = program_.values[program_.output].size();
    for (int64_t step = 0; step < chunk.steps; ++step)
      read(program_.output, chunk, step, logits + (begin + step) * batch * classes);
    for (size_t v = 0; values != nullptr && v < program_.values.size(); ++v)
      for (int64_t step = 0; step < chunk.steps; ++step)
        read(int32_t(v), chunk, step, values[v] + (begin + step) * batch * program_.values[v].size());
  }
}

// One step of a value as float32 [batch][C][H][W].
void Session::read(int32_t value, const Chunk& chunk, int64_t step, float* out) const {
  const Value& type = program_.values[value];
  const int64_t pixels = type.pixels(), channels = type.channels;
  const int64_t first = (leading(value, chunk) == 1 ? 0 : step) * chunk.batch;
  for (int64_t image = 0; image < chunk.batch; ++image, out += type.size()) {
    const int64_t offset = (first + image) * type.size();
    for (int64_t p = 0; p < pixels; ++p)
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t i = offset + p * channels + c;
        out[c * pixels + p] =
            type.max_code > 0 ? float(data(value)[i]) : reinterpret_cast<const float*>(data(value))[i];
      }
  }
}

void Session::load_input(const float* x, const Chunk& chunk) {
  const Value& type = program_.values[0];
  float* y = reinterpret_cast<float*>(data(0));
  for (int64_t image = 0; image < leading(0, chunk) * chunk.batch; ++image)
    to_channels_last(x + image * type.size(), y + image * type.size(), type.pixels(), type.channels);
}

void Session::compute(int32_t n, const Chunk& chunk) {
  if (source_[n + 1] != n + 1)
    return;
  const Node& node = program_.nodes[n];
  const int32_t input = node.inputs[0], output = n + 1;
  const Value &in = program_.values[input], &out = program_.values[output];
  const int64_t images = leading(output, chunk) * chunk.batch;
  if (node.op == Op::kConv2d || node.op == Op::kLinear)
    return compute_conv(node, in, out, images, data(input), reinterpret_cast<float*>(data(output)));
  if (!takes_floats(node.op))
    return compute_pool(node, in, out, images, data(input), data(output));
  compute_pointwise(n, chunk);
}

void Session::compute_pointwise(int32_t n, const Chunk& chunk) {
  const Node& node = program_.nodes[n];
  const Value& out = program_.values[n + 1];
  const int32_t channels = out.channels;
  const int64_t pixels = chunk.batch * out.pixels(), frame = pixels * channels;
  const float* x[2] = {nullptr, nullptr};
  int64_t stride[2] = {0, 0}; // from one step to the next
  for (int i = 0; i < 2 && node.inputs[i] >= 0; ++i) {
    const int64_t steps = leading(node.inputs[i], chunk);
    stride[i] = steps == 1 ? 0 : frame;
    const uint8_t* values = data(node.inputs[i]);
    if (const int32_t slot = plan_.widened[2 * n + i]; slot >= 0) {
      float* floats = reinterpret_cast<float*>(plan_.slots[slot].data());
      widen(values, floats, steps * frame);
      x[i] = floats;
    } else {
      x[i] = reinterpret_cast<const float*>(values);
    }
  }
  float* potential = nullptr;
  for (size_t i = 0; i < program_.stateful.size(); ++i)
    if (program_.stateful[i] == n)
      potential = chunk.potentials[i];
  float* floats = reinterpret_cast<float*>(data(n + 1));
  uint8_t* codes = data(n + 1);
  const int64_t steps = leading(n + 1, chunk);
  if (node.op == Op::kSeca) {
    const int64_t size = out.size();
    pool_.split(steps * chunk.batch, grain(size), [&](int64_t begin, int64_t end, int thread) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t step = i / chunk.batch, t = chunk.t + step;
        const float* map = x[0] + step * stride[0] + i % chunk.batch * size;
        seca(map, floats + i * size, row(node.rows[0], t), *node.rows[1].at(t), out.pixels(), channels,
             reinterpret_cast<float*>(scratch_[thread].data()));
      }
    });
    return;
  }
  pool_.split(pixels, grain(steps * channels), [&](int64_t begin, int64_t end, int) {
    const int64_t first = begin * channels, count = end - begin;
    for (int64_t step = 0; step < steps; ++step) {
      const float* x0 = x[0] + step * stride[0] + first;
      const int64_t to = step * frame + first;
      const int64_t t = chunk.t + step;
      switch (node.op) {
      case Op::kAffine:
        affine(x0, floats + to, node.rows[0].at(t), node.rows[1].at(t), count, channels);
        break;
      case Op::kHdLif:
        hd_lif(x0, potential + first, floats + to, row(node.rows[0], t), row(node.rows[1], t), count,
               channels);
        break;
      case Op::kGradedLif:
        graded_lif(x0, potential + first, floats + to, row(node.rows[0], t), row(node.rows[1], t), count,
                   channels);
        break;
      case Op::kGlif:
        glif(x0, potential + first, codes + to, glif_rows(node, t),
             t > 0 ? row(node.rows[5], t - 1) : Row{&kNoThreshold, 1}, count, channels);
        break;
      case Op::kParallel:
        parallel(x0, floats + to, row(node.rows[0], t), count, channels);
        break;
      case Op::kLif:
        lif(x0, potential + first, codes + to, row(node.rows[0], t), row(node.rows[1], t),
            {node.hard_reset, node.reset_potential}, count, channels);
        break;
      case Op::kQuantise:
        quantise(x0, codes + to, row(node.rows[0], t), node.offset, float(out.max_code), count, channels);
        break;
      case Op::kAdd:
        add(x0, x[1] + step * stride[1] + first, floats + to, count * channels);
        break;
      default:
        break;
      }
    }
  });
}

void Session::compute_conv(const Node& node, const Value& in, const Value& out, int64_t images,
                           const uint8_t* x, float* y) {
  const ConvShape shape = conv_shape(node, in, out);
  const ScratchLayout layout(shape);
  const int64_t row_work =
      int64_t(out.width) * out.channels * shape.kernel_y * shape.kernel_x * shape.in_channels;
  const auto rows = [&](const auto* input, const std::vector<float>& floats,
                        const std::vector<int8_t>& low_bit) {
    using In = std::remove_const_t<std::remove_pointer_t<decltype(input)>>;
    using IntegerEvent = std::conditional_t<std::is_same_v<In, uint8_t>, CodeEvent, FloatEvent>;
    pool_.split(images * out.height, grain(row_work), [&](int64_t begin, int64_t end, int thread) {
      uint8_t* memory = scratch_[thread].data();
      if (low_bit.empty())
        conv_rows(input, floats.data(), y, shape, begin, end, layout.at<FloatEvent>(memory));
      else
        conv_rows(input, low_bit.data(), y, shape, begin, end, layout.at<IntegerEvent>(memory));
    });
  };
  if (in.max_code > 0)
    rows(x, node.float_weights, node.low_bit_weights);
  else
    rows(reinterpret_cast<const float*>(x), node.float_weights, node.low_bit_weights);
}

void Session::compute_pool(const Node& node, const Value& in, const Value& out, int64_t images,
                           const uint8_t* x, uint8_t* y) {
  const float* x_floats = reinterpret_cast<const float*>(x);
  float* y_floats = reinterpret_cast<float*>(y);
  if (node.op == Op::kFlatten) {
    pool_.split(images, grain(in.size()), [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin * in.size(); i < end * in.size(); i += in.size())
        if (in.max_code > 0)
          to_channels_first(x + i, y + i, in.pixels(), in.channels);
        else
          to_channels_first(x_floats + i, y_floats + i, in.pixels(), in.channels);
    });
    return;
  }
  const PoolShape shape = pool_shape(node, in, out);
  const int64_t row_work = int64_t(out.width) * out.channels * shape.kernel_y * shape.kernel_x;
  pool_.split(images * out.height, grain(row_work), [&](int64_t begin, int64_t end, int) {
    if (node.op == Op::kMaxPool && in.max_code > 0)
      max_pool_rows(x, y, shape, begin, end);
    else if (node.op == Op::kMaxPool)
      max_pool_rows(x_floats, y_floats, shape, begin, end);
    else if (out.max_code > 0)
      sum_pool_rows(x, y, shape, begin, end);
    else if (in.max_code > 0)
      sum_pool_rows(x, y_floats, shape, begin, end);
    else
      sum_pool_rows(x_floats, y_floats, shape, begin, end);
  });
}

} // namespace hdlif
