#include "learner.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "../kernels/exponential.h"
#include "../ops/op.h"

namespace hdlif {
namespace {

using Floats = std::vector<float>;

// Computes the gradient of one sample's cross-entropy with respect to its logits: softmax - 1 at the target.
void gradient_of_loss(const float* logits, int64_t classes, int64_t target, float* gradient) {
  const float most = *std::max_element(logits, logits + classes);
  for (int64_t k = 0; k < classes; ++k)
    gradient[k] = exponential(most - logits[k]);
  float total = gradient[0];
  for (int64_t k = 1; k < classes; ++k)
    total += gradient[k];
  for (int64_t k = 0; k < classes; ++k)
    gradient[k] = gradient[k] / total;
  gradient[target] -= 1.0f;
}

bool all_finite(const Floats& values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

void require(bool holds, const char* message) {
  if (!holds)
    throw std::invalid_argument(message);
}

} // namespace

Learner::Learner(Graph graph, std::vector<Trained> trained, std::vector<bool> needed, LearningRate rate,
                 int threads, const Kernels& kernels)
    : graph_(std::move(graph)), wanted_(graph_.values.size(), false), rate_(rate), threads_(threads),
      kernels_(kernels) {
  const std::vector<Node>& nodes = graph_.nodes;
  require(needed.size() == nodes.size(), "needed must have one entry per node");
  for (const auto& [node, row, is_binary] : trained)
    require(node >= 0 && size_t(node) < nodes.size() && row >= -1 &&
                (row < 0 ? form_of(nodes[size_t(node)].op).multiplies
                         : size_t(row) < nodes[size_t(node)].rows.size()),
            "places: a place does not name a trainable tensor");
  std::copy(needed.begin(), needed.end(), wanted_.begin() + 1);
  for (const Trained& place : trained) {
    Part part;
    part.place = place;
    const Node& node = graph_.nodes[size_t(place.node)];
    if (place.row < 0) {
      const int64_t taps = int64_t(node.window.kernel_y) * node.window.kernel_x,
                    out = graph_.values[size_t(place.node) + 1].channels,
                    in = graph_.values[size_t(node.inputs[0])].channels / node.groups;
      part.size = out * in * taps;
      for (int64_t co = 0; co < out; ++co)
        for (int64_t ci = 0; ci < in; ++ci)
          for (int64_t tap = 0; tap < taps; ++tap)
            part.order.push_back((tap * in + ci) * out + co);
      for (int64_t i = 0; i < part.size && !node.low_bit_weights.empty(); ++i)
        part.latents.push_back(int16_t(int32_t(value(part, i)) * (1 << fraction(part))));
    } else {
      part.size = int64_t(node.rows[size_t(place.row)].data.size());
      if (node.op == Op::kAffine && place.row == 0)
        for (float scale : node.rows[0].data)
          part.units.push_back(scale * scale);
    }
    part.sums.assign(size_t(part.size), 0.0f);
    if (rate_.momentum > 0)
      part.velocities.assign(size_t(part.size), 0.0f);
    parts_.push_back(std::move(part));
  }
  rebuild();
}

void Learner::rebuild() {
  session_ = std::make_unique<Session>(graph_, threads_, kernels_);
  weights_.assign(graph_.nodes.size(), {});
}

void Learner::step(const float* x, int64_t batch, int64_t t, float* const* potentials, const int64_t* targets,
                   float* logits, Watch& watch) {
  if (targets == nullptr)
    return session_->run(x, 1, batch, 1, t, potentials, logits, {}, watch);
  const int64_t classes = graph_.values[size_t(graph_.output)].size();
  for (int64_t b = 0; b < batch; ++b)
    require(targets[b] >= 0 && targets[b] < classes, "targets: a class is out of range");
  StepGradients step{graph_, batch, t, {}, {}, std::vector<Floats>(graph_.values.size()), wanted_, weights_};
  for (size_t i = 0; i < graph_.stateful.size(); ++i) {
    const int64_t size = batch * graph_.values[size_t(graph_.stateful[i]) + 1].size();
    step.potentials.emplace_back(potentials[i], potentials[i] + size);
  }
  std::vector<float*> kept;
  for (const Value& type : graph_.values) {
    step.values.emplace_back(size_t(batch * type.size()));
    kept.push_back(step.values.back().data());
  }
  session_->run(x, 1, batch, 1, t, potentials, logits, {kept.data(), nullptr}, watch);
  Floats of_logits(static_cast<size_t>(batch * classes));
  for (int64_t b = 0; b < batch; ++b)
    gradient_of_loss(logits + b * classes, classes, targets[b], of_logits.data() + b * classes);
  step.give(graph_.output, std::move(of_logits));
  for (auto n = int32_t(graph_.nodes.size()) - 1; n >= 0; --n) {
    if (step.gradients[size_t(n) + 1].empty())
      continue;
    TensorSums sums;
    sums.rows.resize(graph_.nodes[size_t(n)].rows.size(), nullptr);
    for (Part& part : parts_)
      if (part.place.node == n) {
        if (part.place.row < 0)
          sums.weight = part.sums.data();
        else {
          const Rows& rows = graph_.nodes[size_t(n)].rows[size_t(part.place.row)];
          sums.rows[size_t(part.place.row)] =
              part.sums.data() + std::min<int64_t>(t, rows.steps - 1) * rows.columns;
        }
      }
    backward(step, n, sums);
  }
  terms_ += batch;
}

bool Learner::update() {
  const auto terms = float(terms_);
  std::vector<Floats> velocities, values;
  bool is_finite = true;
  for (Part& part : parts_) {
    Floats velocity(static_cast<size_t>(part.size));
    for (size_t i = 0; i < velocity.size(); ++i) {
      velocity[i] = part.sums[part.order.empty() ? i : size_t(part.order[i])] / terms;
      if (rate_.momentum > 0)
        velocity[i] = rate_.momentum * part.velocities[i] + velocity[i];
    }
    values.push_back(moved(part, velocity));
    is_finite = is_finite && all_finite(velocity) && all_finite(values.back());
    velocities.push_back(std::move(velocity));
    std::fill(part.sums.begin(), part.sums.end(), 0.0f);
  }
  terms_ = 0;
  if (!is_finite)
    return false;
  for (size_t k = 0; k < parts_.size(); ++k) {
    Part& part = parts_[k];
    if (rate_.momentum > 0)
      part.velocities = std::move(velocities[k]);
    for (int64_t i = 0; i < part.size; ++i) {
      const float value = values[k][size_t(i)];
      if (!part.latents.empty())
        part.latents[size_t(i)] = int16_t(value);
      set(part, i, part.latents.empty() ? value : code(part, int32_t(value)));
    }
  }
  rebuild();
  return true;
}

// Returns the new values of a tensor, or of its latents.
Floats Learner::moved(const Part& part, const Floats& velocities) const {
  Floats found(velocities.size());
  if (part.latents.empty()) {
    for (size_t i = 0; i < found.size(); ++i) {
      const float unit = part.units.empty() ? 1.0f : part.units[i];
      found[i] = value(part, int64_t(i)) - rate_.rate * unit * velocities[i];
    }
    return found;
  }
  float total = velocities[0] * velocities[0];
  for (size_t i = 1; i < velocities.size(); ++i)
    total += velocities[i] * velocities[i];
  const float size = std::sqrt(total / float(velocities.size()));
  const float by = rate_.latent * float(1 << fraction(part));
  const auto limit = float((largest(part) << fraction(part)) + (1 << (fraction(part) - 1)) - 1);
  for (size_t i = 0; i < found.size(); ++i) {
    const float latent = part.latents[i];
    found[i] =
        size == 0 ? latent : std::clamp(std::nearbyint(latent - by * velocities[i] / size), -limit, limit);
  }
  if (!std::isfinite(size)) // the update is refused
    std::fill(found.begin(), found.end(), size);
  return found;
}

// Returns the number of fraction bits of a latent, chosen so that its range fits in an int16.
int Learner::fraction(const Part& part) const {
  const int32_t most = largest(part);
  return most == 1 ? 13 : most == 7 ? 11 : 8;
}

// Returns a latent rounded to the nearest code; halves round up.
float Learner::code(const Part& part, int32_t latent) const {
  if (part.place.is_binary)
    return latent >= 0 ? 1.0f : -1.0f;
  const int bits = fraction(part);
  const int32_t half = 1 << (bits - 1), unit = 1 << bits, up = latent + half;
  const int32_t rounded = up >= 0 ? up / unit : -((unit - 1 - up) / unit);
  return float(std::clamp(rounded, -largest(part), largest(part)));
}

float Learner::value(const Part& part, int64_t at) const {
  const Node& node = graph_.nodes[size_t(part.place.node)];
  if (part.place.row >= 0)
    return node.rows[size_t(part.place.row)].data[size_t(at)];
  const auto place = size_t(part.order[size_t(at)]);
  return node.low_bit_weights.empty() ? node.float_weights[place] : float(node.low_bit_weights[place]);
}

void Learner::set(const Part& part, int64_t at, float value) {
  Node& node = graph_.nodes[size_t(part.place.node)];
  if (part.place.row >= 0)
    node.rows[size_t(part.place.row)].data[size_t(at)] = value;
  else if (const auto place = size_t(part.order[size_t(at)]); node.low_bit_weights.empty())
    node.float_weights[place] = value;
  else
    node.low_bit_weights[place] = int8_t(value);
}

void Learner::read(int64_t which, float* values, float* latents, float* velocities) const {
  const Part& part = parts_[size_t(which)];
  for (int64_t i = 0; i < part.size; ++i)
    values[i] = value(part, i);
  std::copy(part.latents.begin(), part.latents.end(), latents);
  std::copy(part.velocities.begin(), part.velocities.end(), velocities);
}

void Learner::write(int64_t which, const float* values, const float* latents, const float* velocities) {
  Part& part = parts_[size_t(which)];
  for (int64_t i = 0; i < part.size; ++i) {
    if (!part.latents.empty())
      part.latents[size_t(i)] = int16_t(latents[i]);
    set(part, i, part.latents.empty() ? values[i] : code(part, part.latents[size_t(i)]));
  }
  std::copy_n(velocities, part.velocities.size(), part.velocities.begin());
  rebuild();
}

} // namespace hdlif
