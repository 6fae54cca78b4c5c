// The threads of all that trains.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "thread_pool.h"

namespace hdlif {

// Of them at most.
constexpr int kTrainingThreads = 16;

// This process's, made when it is first asked for, as many as the machine has cores.
ThreadPool& training_pool();

// Calls body(first, end) on pieces of `length` that cover [0, count), on at most so many threads. Each takes
// the next piece when it is done with one, so that nobody waits for a thread whose core is busy with other
// work.
template <typename Body> void share_out(int64_t count, int64_t length, int threads, Body&& body) {
  const int64_t pieces = (count + length - 1) / length;
  std::atomic<int64_t> next{0};
  auto take = [&](int64_t, int64_t, int) {
    for (int64_t piece = next++; piece < pieces; piece = next++)
      body(piece * length, std::min((piece + 1) * length, count));
  };
  if (threads <= 1 || pieces <= 1)
    return take(0, 1, 0);
  Watch watch;
  training_pool().split(std::min<int64_t>(threads, pieces), 1, watch, take);
}

} // namespace hdlif
