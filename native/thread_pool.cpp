#include "thread_pool.h"

#include <algorithm>
#include <chrono>
#include <exception>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace hdlif {
namespace {

// Longer than the time between two stages of a run, but too short for a user to notice.
constexpr std::chrono::microseconds kSpin{50};
constexpr int kPausesPerLook = 32;

void pause() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Lower half of a ticket when no ranges are left.
constexpr uint64_t kClosed = 0xffffffff;

uint64_t round_of(uint64_t ticket) {
  return ticket >> 32;
}
uint32_t range_of(uint64_t ticket) {
  return uint32_t(ticket);
}

} // namespace

ThreadPool::ThreadPool(int threads) {
  workers_.reserve(size_t(threads - 1));
  try {
    for (int i = 1; i < threads; ++i)
      workers_.emplace_back([this, i] { work(i); });
  } catch (const std::exception&) {
    // the system allows no more threads; use the existing ones
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_)
    worker.join();
}

void ThreadPool::share(int64_t count, int64_t grain, Watch& watch, Call call, void* context) {
  // one range per thread: rows of a convolution share inputs, which two ranges would both gather
  const int64_t length = std::max(grain, (count + threads() - 1) / threads());
  const uint32_t ranges = uint32_t((count + length - 1) / length);
  // closed, so no worker takes a range of the previous round with fields of this round
  const uint64_t before = ticket_.load(std::memory_order_relaxed);
  ticket_.store(before | kClosed, std::memory_order_release);
  call_.store(call, std::memory_order_release);
  context_.store(context, std::memory_order_release);
  count_.store(count, std::memory_order_release);
  length_.store(length, std::memory_order_release);
  ranges_.store(ranges, std::memory_order_release);
  done_.store(0, std::memory_order_release);
  const uint64_t ticket = (round_of(before) + 1) << 32;
  ticket_.store(ticket);
  if (sleepers_.load() > 0) {
    std::lock_guard<std::mutex> lock(mutex_);
    wake_.notify_all();
  }
  while (take_range(ticket, 0)) {
  }
  for (int looks = 0; done_.load(std::memory_order_acquire) < ranges; ++looks)
    if (looks < 1000) {
      pause();
    } else {
      std::this_thread::yield(); // a worker may have lost its core
      watch.look();
    }
}

// Computes the next range of the ticket's round; returns false if there is none.
bool ThreadPool::take_range(uint64_t ticket, int thread) {
  uint64_t next = ticket_.load(std::memory_order_acquire);
  while (true) {
    const uint32_t ranges = ranges_.load(std::memory_order_acquire);
    const Call call = call_.load(std::memory_order_acquire);
    void* context = context_.load(std::memory_order_acquire);
    const int64_t count = count_.load(std::memory_order_acquire),
                  length = length_.load(std::memory_order_acquire);
    if (round_of(next) != round_of(ticket) || range_of(next) >= ranges)
      return false;
    if (!ticket_.compare_exchange_weak(next, next + 1, std::memory_order_acq_rel, std::memory_order_acquire))
      continue;
    const int64_t begin = int64_t(range_of(next)) * length;
    call(context, begin, std::min(begin + length, count), thread);
    done_.fetch_add(1, std::memory_order_release);
    return true;
  }
}

void ThreadPool::work(int thread) {
  for (uint64_t round = 0; !stopping_.load(std::memory_order_relaxed);) {
    const uint64_t ticket = await_work(round);
    while (take_range(ticket, thread)) {
    }
    round = round_of(ticket);
  }
}

// Waits for a ticket of a round other than `finished`; returns any ticket when the pool stops.
uint64_t ThreadPool::await_work(uint64_t finished) {
  const auto give_up = std::chrono::steady_clock::now() + kSpin;
  const auto is_new = [&] { return round_of(ticket_.load(std::memory_order_acquire)) != finished; };
  while (!is_new() && std::chrono::steady_clock::now() < give_up)
    for (int i = 0; i < kPausesPerLook && !is_new(); ++i)
      pause();
  if (!is_new()) {
    std::unique_lock<std::mutex> lock(mutex_);
    ++sleepers_;
    wake_.wait(lock, [&] { return stopping_ || round_of(ticket_.load()) != finished; });
    --sleepers_;
  }
  return ticket_.load(std::memory_order_acquire);
}

} // namespace hdlif
