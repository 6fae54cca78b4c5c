#include "deployed_gradients.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "../transpose.h"
#include "registers.h"

namespace hdlif {
namespace {

using Floats = std::vector<float>;

// A node during the backward pass.
struct Back {
  StepGradients& step;
  const Node& node;
  const Value &in, &out;
  const Floats &x, &g; // first input, gradient of the output
  const TensorSums& sums;

  bool wants(int input) const { return step.wanted[size_t(node.inputs[size_t(input)])]; }
  void give(int input, Floats amount) const {
    if (wants(input))
      step.give(node.inputs[size_t(input)], std::move(amount));
  }
  float* row_sums(size_t which) const { return which < sums.rows.size() ? sums.rows[which] : nullptr; }
};

// Calls body(output pixel, input pixel) for each output whose input at tap (ky, kx) is on the map.
template <typename Body> void for_places(const Back& f, int32_t ky, int32_t kx, const Body& body) {
  const Window& w = f.node.window;
  for (int32_t oy = 0; oy < f.out.height; ++oy) {
    const int32_t y = oy * w.stride_y + ky * w.dilation_y - w.pad_y;
    if (y < 0 || y >= f.in.height)
      continue;
    for (int32_t ox = 0; ox < f.out.width; ++ox) {
      const int32_t x = ox * w.stride_x + kx * w.dilation_x - w.pad_x;
      if (x >= 0 && x < f.in.width)
        body(int64_t(oy) * f.out.width + ox, int64_t(y) * f.in.width + x);
    }
  }
}

// to[column][row] = from[row][column]
void transpose_all(const float* from, int64_t rows, int64_t columns, float* to) {
  std::vector<const float*> each;
  for (int64_t row = 0; row < rows; ++row)
    each.push_back(from + row * columns);
  transpose(each.data(), rows, columns, 1.0f, to, rows);
}

// y[i] += a * x[i]
void add_scaled(float a, const float* __restrict x, int64_t count, float* __restrict y) {
  for (int64_t i = 0; i < count; ++i)
    y[i] += a * x[i];
}

// Returns the weights of a node as floats, [tap][co][ci in its group].
Floats weights_by_output(const Node& node, int64_t taps, int64_t group_in, int64_t out) {
  Floats found(static_cast<size_t>(taps * group_in * out));
  for (int64_t i = 0; i < taps * group_in; ++i)
    for (int64_t co = 0; co < out; ++co) {
      const auto from = size_t(i * out + co),
                 to = size_t((i / group_in * out + co) * group_in + i % group_in);
      found[to] = node.low_bit_weights.empty() ? node.float_weights[from] : float(node.low_bit_weights[from]);
    }
  return found;
}

// dx = the sum over (ky, kx, co) of weight * g; dweight = the sum over the map, row by row, of g * x. Both
// start at +0, so products with 0 may be skipped. Channels are innermost.
void of_layer(const Back& f) {
  const Window& w = f.node.window;
  const int64_t in = f.in.channels, out = f.out.channels, groups = f.node.groups;
  const int64_t group_in = in / groups, group_out = out / groups, taps = int64_t(w.kernel_y) * w.kernel_x;
  const bool gives = f.wants(0);
  Floats& weights = f.step.weights[size_t(&f.node - f.step.graph.nodes.data())];
  if (gives && weights.empty())
    weights = weights_by_output(f.node, taps, group_in, out);
  Floats g(static_cast<size_t>(f.out.size())), total(static_cast<size_t>(group_out));
  Floats back(gives ? size_t(f.in.size()) : 0), given(gives ? f.x.size() : 0);
  for (int64_t b = 0; b < f.step.batch; ++b) {
    const float* x = f.x.data() + b * f.in.size();
    transpose_all(f.g.data() + b * f.out.size(), out, f.out.pixels(), g.data());
    std::fill(back.begin(), back.end(), 0.0f);
    for (int64_t tap = 0; tap < taps; ++tap) {
      const auto ky = int32_t(tap / w.kernel_x), kx = int32_t(tap % w.kernel_x);
      if (gives)
        for_places(f, ky, kx, [&](int64_t o, int64_t i) {
          for (int64_t co = 0; co < out; ++co)
            if (const float of_output = g[size_t(o * out + co)]; of_output != 0)
              add_scaled(of_output, weights.data() + (tap * out + co) * group_in, group_in,
                         back.data() + i * in + co / group_out * group_in);
        });
      for (int64_t ci = 0; f.sums.weight != nullptr && ci < in; ++ci) {
        const int64_t first = ci / group_in * group_out;
        float* const sums = f.sums.weight + (tap * group_in + ci % group_in) * out + first;
        // The product of a single pixel is the total.
        const bool is_total = f.out.pixels() == 1;
        float* const to = is_total ? sums : total.data();
        if (!is_total)
          std::fill_n(to, group_out, 0.0f);
        for_places(f, ky, kx, [&](int64_t o, int64_t i) {
          if (const float entry = x[ci * f.in.pixels() + i]; entry != 0)
            add_scaled(entry, g.data() + o * out + first, group_out, to);
        });
        if (!is_total)
          add_scaled(1.0f, total.data(), group_out, sums);
      }
    }
    if (gives)
      transpose_all(back.data(), f.in.pixels(), in, given.data() + b * f.in.size());
  }
  if (gives)
    f.give(0, std::move(given));
}

// Returns the entry of a channel in the row of the step.
float entry(const Rows& rows, int64_t t, int64_t channel) {
  return rows.at(t)[rows.columns == 1 ? 0 : channel];
}

// Sums body(index) over the entries of each channel, or over all entries if there is one column, from the
// first row on. Adds the sums of one sample after another.
template <typename Body> void add_rows(const Back& f, float* sums, int32_t columns, const Body& body) {
  if (sums == nullptr)
    return;
  const int64_t length = columns == 1 ? f.out.size() : f.out.pixels();
  for (int64_t b = 0; b < f.step.batch; ++b)
    for (int64_t c = 0; c < columns; ++c) {
      const int64_t first = b * f.out.size() + c * length;
      float total = body(first);
      for (int64_t i = 1; i < length; ++i)
        total += body(first + i);
      sums[c] += total;
    }
}

// dx = g times the row of the step, such as a scale.
void give_scaled(const Back& f, const Rows& rows) {
  if (!f.wants(0))
    return;
  Floats back(f.g.size());
  for (size_t i = 0; i < back.size(); ++i)
    back[i] = f.g[i] * entry(rows, f.step.t, int64_t(i) / f.out.pixels() % f.out.channels);
  f.give(0, std::move(back));
}

void of_affine(const Back& f) {
  const Rows& scale = f.node.rows[0];
  add_rows(f, f.row_sums(0), scale.columns, [&](int64_t i) { return f.g[size_t(i)] * f.x[size_t(i)]; });
  add_rows(f, f.row_sums(1), scale.columns, [&](int64_t i) { return f.g[size_t(i)]; });
  give_scaled(f, scale);
}

// Computes each neuron separately, and keeps its gradients with respect to the rows until they are summed.
void of_program(const Back& f, const std::vector<const float*>& states) {
  const Equation& equation = *f.node.equation;
  const int64_t pixels = f.out.pixels(), channels = f.out.channels, size = int64_t(f.g.size());
  Registers r(equation.registers());
  Floats back(f.g.size());
  std::vector<Floats> of_rows(f.node.rows.size());
  for (size_t k = 0; k < of_rows.size(); ++k)
    of_rows[k].resize(f.row_sums(k) == nullptr ? 0 : f.g.size());
  const auto keep = [&](int32_t which, float* to) {
    for (int64_t i = 0; i < r.count; ++i)
      to[i] = r.has(which) ? r.gradient(which)[i] : 0.0f;
  };
  for (int64_t first = 0; first < size; first += Registers::kMost) {
    r.count = std::min(Registers::kMost, size - first);
    const auto channel = [&](int64_t i) { return (first + i) / pixels % channels; };
    r.set(0, [&](int64_t i) { return f.x[size_t(first + i)]; });
    for (size_t s = 0; s < states.size(); ++s)
      r.set(int32_t(1 + s), [&](int64_t i) {
        const int64_t sample = (first + i) / f.out.size(), pixel = (first + i) % pixels;
        return states[s][(sample * pixels + pixel) * channels + channel(i)];
      });
    for (size_t k = 0; k < of_rows.size(); ++k)
      r.set(equation.first_row() + int32_t(k),
            [&](int64_t i) { return entry(f.node.rows[k], f.step.t, channel(i)); });
    for (size_t k = 0; k < equation.instructions.size(); ++k)
      run(equation.instructions[k], equation.first() + int32_t(k), r);
    r.forget();
    r.add(equation.result, [&](int64_t i) { return f.g[size_t(first + i)]; });
    for (int32_t which = equation.registers() - 1; which >= equation.first(); --which)
      if (r.has(which))
        run_back(equation.instructions[size_t(which - equation.first())], which, r);
    keep(0, back.data() + first);
    for (size_t k = 0; k < of_rows.size(); ++k)
      if (!of_rows[k].empty())
        keep(equation.first_row() + int32_t(k), of_rows[k].data() + first);
  }
  for (size_t k = 0; k < of_rows.size(); ++k)
    add_rows(f, f.row_sums(k), f.node.rows[k].columns, [&](int64_t i) { return of_rows[k][size_t(i)]; });
  f.give(0, std::move(back));
}

// Splits the gradient into the channels of each input.
void of_concat(const Back& f) {
  const int64_t first = f.in.size(), whole = f.out.size();
  for (int input = 0; input < 2; ++input) {
    const int64_t begin = input == 0 ? 0 : first, size = input == 0 ? first : whole - first;
    Floats back(static_cast<size_t>(f.step.batch * size));
    for (int64_t b = 0; b < f.step.batch; ++b)
      std::copy_n(f.g.data() + b * whole + begin, size, back.data() + b * size);
    f.give(input, std::move(back));
  }
}

void of_slice(const Back& f) {
  Floats back(f.x.size(), 0.0f);
  for (int64_t b = 0; b < f.step.batch; ++b)
    std::copy_n(f.g.data() + b * f.out.size(), f.out.size(),
                back.data() + b * f.in.size() + f.node.first_channel * f.in.pixels());
  f.give(0, std::move(back));
}

// Adds the gradients of an entry's copies, row by row.
void of_upsample(const Back& f) {
  const int64_t down = f.node.window.kernel_y, across = f.node.window.kernel_x, width = f.in.width;
  Floats back(f.x.size());
  for (size_t i = 0; i < back.size(); ++i) {
    const int64_t map = int64_t(i) / f.in.pixels(), y = int64_t(i) % f.in.pixels() / width,
                  x = int64_t(i) % width;
    const float* copies = f.g.data() + map * f.out.pixels() + y * down * f.out.width + x * across;
    float total = copies[0];
    for (int64_t k = 1; k < down * across; ++k)
      total += copies[k / across * f.out.width + k % across];
    back[i] = total;
  }
  f.give(0, std::move(back));
}

void of_global_sum_pool(const Back& f) {
  Floats back(f.x.size());
  for (size_t i = 0; i < back.size(); ++i)
    back[i] = f.g[i / size_t(f.in.pixels())];
  f.give(0, std::move(back));
}

// Adds the gradients of an entry's windows, by (ky, kx); for a maximum, of those where it is the first one.
void of_pool(const Back& f, bool is_max) {
  const Window& w = f.node.window;
  const Floats& y = f.step.values[size_t(&f.node - f.step.graph.nodes.data()) + 1];
  Floats back(f.x.size(), 0.0f);
  std::vector<bool> waits(y.size(), true);
  const int64_t maps = f.step.batch * f.in.channels;
  for (int32_t ky = 0; ky < w.kernel_y; ++ky)
    for (int32_t kx = 0; kx < w.kernel_x; ++kx)
      for (int64_t map = 0; map < maps; ++map)
        for_places(f, ky, kx, [&](int64_t o, int64_t i) {
          const auto out = size_t(map * f.out.pixels() + o), in = size_t(map * f.in.pixels() + i);
          const bool gets = !is_max || (waits[out] && f.x[in] == y[out]);
          if (gets)
            back[in] += f.g[out];
          waits[out] = waits[out] && !gets;
        });
  f.give(0, std::move(back));
}

} // namespace

void StepGradients::give(int32_t value, std::vector<float> amount) {
  std::vector<float>& own = gradients[size_t(value)];
  if (own.empty()) {
    own = std::move(amount);
    return;
  }
  for (size_t i = 0; i < own.size(); ++i)
    own[i] += amount[i];
}

void backward(StepGradients& step, int32_t n, const TensorSums& sums) {
  const Graph& graph = step.graph;
  const Node& node = graph.nodes[size_t(n)];
  const auto input = size_t(node.inputs[0]), output = size_t(n) + 1;
  const Floats gradient = std::move(step.gradients[output]);
  step.gradients[output].clear();
  const Back f{step, node, graph.values[input], graph.values[output], step.values[input], gradient, sums};
  switch (node.op) {
  case Op::kConv2d:
  case Op::kLinear:
    return of_layer(f);
  case Op::kAffine:
    return of_affine(f);
  case Op::kQuantise:
    return give_scaled(f, node.rows[0]); // straight-through, times the inverse step
  case Op::kProgram: {
    std::vector<const float*> states;
    for (size_t i = 0; i < graph.stateful.size(); ++i)
      if (graph.stateful[i] == n)
        states.push_back(step.potentials[i].data());
    return of_program(f, states);
  }
  case Op::kAdd:
    f.give(0, gradient);
    return f.give(1, gradient);
  case Op::kFlatten:
    return f.give(0, gradient);
  case Op::kConcat:
    return of_concat(f);
  case Op::kSlice:
    return of_slice(f);
  case Op::kUpsample:
    return of_upsample(f);
  case Op::kGlobalSumPool:
    return of_global_sum_pool(f);
  case Op::kSumPool:
    return of_pool(f, false);
  case Op::kMaxPool:
    return of_pool(f, true);
  default:
    return;
  }
}

} // namespace hdlif
