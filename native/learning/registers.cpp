#include "registers.h"

namespace hdlif {

void run(const Instruction& one, int32_t which, Registers& r) {
  const float* const a = r.value(one.operands[0]);
  const float* const b = r.value(one.operands[1]);
  const float* const c = r.value(one.operands[2]);
  const auto set = [&](const auto& body) { r.set(which, body); };
  switch (one.operation) {
  case Operation::kConstant:
    return set([&](int64_t) { return one.value; });
  case Operation::kAdd:
    return set([=](int64_t i) { return a[i] + b[i]; });
  case Operation::kSubtract:
    return set([=](int64_t i) { return a[i] - b[i]; });
  case Operation::kMultiply:
    return set([=](int64_t i) { return a[i] * b[i]; });
  case Operation::kNegative:
    return set([=](int64_t i) { return -a[i]; });
  case Operation::kAbsolute:
    return set([=](int64_t i) { return __builtin_fabsf(a[i]); });
  case Operation::kFloor:
    return set([=](int64_t i) { return __builtin_floorf(a[i]); });
  case Operation::kMinimum:
    return set([=](int64_t i) { return b[i] < a[i] ? b[i] : a[i]; });
  case Operation::kMaximum:
    return set([=](int64_t i) { return b[i] > a[i] ? b[i] : a[i]; });
  case Operation::kGreater:
    return set([=](int64_t i) { return a[i] > b[i] ? 1.0f : 0.0f; });
  case Operation::kGreaterEqual:
    return set([=](int64_t i) { return a[i] >= b[i] ? 1.0f : 0.0f; });
  case Operation::kStep:
    return set([=](int64_t i) { return a[i] >= 0 ? 1.0f : 0.0f; });
  default: // kSelect: files contain no other operation
    return set([=](int64_t i) { return a[i] != 0 ? b[i] : c[i]; });
  }
}

void run_back(const Instruction& one, int32_t which, Registers& r) {
  const int32_t first = one.operands[0], second = one.operands[1], third = one.operands[2];
  const float* const a = r.value(first);
  const float* const b = r.value(second);
  const float* const g = r.gradient(which);
  switch (one.operation) {
  case Operation::kAdd:
    r.add(first, [=](int64_t i) { return g[i]; });
    return r.add(second, [=](int64_t i) { return g[i]; });
  case Operation::kSubtract:
    r.add(first, [=](int64_t i) { return g[i]; });
    return r.add(second, [=](int64_t i) { return -g[i]; });
  case Operation::kMultiply:
    r.add(first, [=](int64_t i) { return g[i] * b[i]; });
    return r.add(second, [=](int64_t i) { return g[i] * a[i]; });
  case Operation::kNegative:
    return r.add(first, [=](int64_t i) { return -g[i]; });
  case Operation::kAbsolute:
    return r.add(first, [=](int64_t i) { return a[i] > 0 ? g[i] : a[i] < 0 ? -g[i] : 0.0f; });
  case Operation::kMinimum:
    r.add(first, [=](int64_t i) { return b[i] < a[i] ? 0.0f : g[i]; });
    return r.add(second, [=](int64_t i) { return b[i] < a[i] ? g[i] : 0.0f; });
  case Operation::kMaximum:
    r.add(first, [=](int64_t i) { return b[i] > a[i] ? 0.0f : g[i]; });
    return r.add(second, [=](int64_t i) { return b[i] > a[i] ? g[i] : 0.0f; });
  case Operation::kSelect:
    r.add(second, [=](int64_t i) { return a[i] != 0 ? g[i] : 0.0f; });
    return r.add(third, [=](int64_t i) { return a[i] != 0 ? 0.0f : g[i]; });
  default: // constants, and operations with derivative 0
    return;
  }
}

} // namespace hdlif
