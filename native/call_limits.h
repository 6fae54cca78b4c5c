// What a call may ask for, from Python and from C: so that every size of a run stays below 2^63.
#pragma once

#include <cstdint>

namespace hdlif {

constexpr int64_t kMaxBatch = 1 << 20, kMaxSteps = INT32_MAX, kMaxFrames = int64_t(1) << 32;
constexpr int kMaxThreads = 256;

} // namespace hdlif
