// The thread pool for training.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "../memory.h"
#include "../thread_pool.h"

namespace hdlif {

// Maximum number of threads.
constexpr int kTrainingThreads = 16;

// Returns the pool of this process, created on first use with one thread per core.
ThreadPool& training_pool();

// OpenMP's GOMP_parallel: calls function(context) on the given number of threads, including the caller.
using Parallel = void (*)(void (*function)(void*), void* context, unsigned threads, unsigned flags);

// Distributes loops over PyTorch's OpenMP threads instead of the pool. Idle OpenMP threads spin while they
// wait for work, so other threads would have to wait for their cores. Null selects the pool again.
void set_parallel(Parallel parallel);
Parallel parallel();

// Calls body(first, end) on pieces of `length` that cover [0, count), on at most `threads` threads. Each
// thread takes the next piece when it finishes one, so none waits for a thread whose core is busy with other
// work. body must not throw.
template <typename Body> void share_out(int64_t count, int64_t length, int threads, Body&& body) {
  const int64_t pieces = pieces_of(count, length);
  std::atomic<int64_t> next{0};
  auto take = [&] {
    for (int64_t piece = next++; piece < pieces; piece = next++)
      body(piece * length, std::min((piece + 1) * length, count));
  };
  const int64_t parties = std::min<int64_t>(threads, pieces);
  if (parties <= 1)
    return take();
  if (const Parallel run = parallel()) {
    run([](void* context) { (*static_cast<decltype(take)*>(context))(); }, &take, unsigned(parties), 0);
    return;
  }
  auto range = [&](int64_t, int64_t, int) { take(); };
  Watch watch;
  training_pool().split(parties, 1, watch, range);
}

// Calls body(i) for i in [0, count), each with `products` products, in pieces of about ten microseconds.
template <typename Body> void share_work(int64_t count, int64_t products, int threads, Body&& body) {
  constexpr int64_t kGrain = 1 << 20;
  share_out(count, pieces_of(kGrain, std::max<int64_t>(1, products)), threads,
            [&](int64_t first, int64_t end) {
              for (int64_t i = first; i < end; ++i)
                body(i);
            });
}

} // namespace hdlif
