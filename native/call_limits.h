// Limits of a call from Python or C. They keep every size of a run below 2^63.
#pragma once

#include <cstdint>

namespace hdlif {

constexpr int64_t kMaxBatch = 1 << 20, kMaxSteps = INT32_MAX, kMaxFrames = int64_t(1) << 32;
constexpr int kMaxThreads = 256;

} // namespace hdlif
