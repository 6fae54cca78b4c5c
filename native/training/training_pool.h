// The threads of all that trains.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "../memory.h"
#include "../thread_pool.h"

namespace hdlif {

// Of them at most.
constexpr int kTrainingThreads = 16;

// This process's, made when it is first asked for, as many as the machine has cores.
ThreadPool& training_pool();

// OpenMP's GOMP_parallel: calls function(context) on so many threads, of which the caller is one.
using Parallel = void (*)(void (*function)(void*), void* context, unsigned threads, unsigned flags);

// Has loops shared out by the OpenMP runtime that PyTorch has its threads from, instead of the pool: its idle
// threads wait for work without sleeping, and threads of another kind would have to wait for their cores.
// Null is the pool again.
void set_parallel(Parallel parallel);
Parallel parallel();

// Calls body(first, end) on pieces of `length` that cover [0, count), on at most so many threads. Each takes
// the next piece when it is done with one, so that nobody waits for a thread whose core is busy with other
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

// Calls body(i) for i in [0, count), each of so many products; a thread takes some ten microseconds' at once.
template <typename Body> void share_work(int64_t count, int64_t products, int threads, Body&& body) {
  constexpr int64_t kGrain = 1 << 20;
  share_out(count, pieces_of(kGrain, std::max<int64_t>(1, products)), threads,
            [&](int64_t first, int64_t end) {
              for (int64_t i = first; i < end; ++i)
                body(i);
            });
}

} // namespace hdlif
