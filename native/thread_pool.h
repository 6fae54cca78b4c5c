// A fixed set of threads that share loops; the calling thread is one of them. Waiting threads spin for a
// while, so that the next loop of a run finds them awake, and then sleep.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

#include "watch.h"

namespace hdlif {

class ThreadPool {
public:
  // Fewer than `threads` where the machine grants no more.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return int(workers_.size()) + 1; }

  // Calls body(begin, end, thread) on disjoint ranges that cover [0, count), each of at least `grain` entries
  // but the last; returns when all are done. While one caller has the workers, another does its loop alone,
  // as thread 0. A caller that waits looks at its watch. body must not throw, but `Interrupted` where its
  // process was forked.
  template <typename Body> void split(int64_t count, int64_t grain, Watch& watch, Body&& body) {
    if (workers_.empty() || count <= grain || is_owned_.exchange(true, std::memory_order_acquire)) {
      body(int64_t(0), count, 0);
      return;
    }
    const Ownership ownership{is_owned_};
    const auto call = [](void* context, int64_t begin, int64_t end, int thread) {
      (*static_cast<std::remove_reference_t<Body>*>(context))(begin, end, thread);
    };
    share(count, grain, watch, call, &body);
  }

private:
  using Call = void (*)(void* context, int64_t begin, int64_t end, int thread);

  struct Ownership {
    std::atomic<bool>& is_owned;
    ~Ownership() { is_owned.store(false, std::memory_order_release); }
  };

  void share(int64_t count, int64_t grain, Watch& watch, Call call, void* context);
  bool take_range(uint64_t ticket, int thread);
  void work(int thread);
  uint64_t await_work(uint64_t finished);

  std::vector<std::thread> workers_;
  // Some caller's loop is shared. No mutex: a caller that looks at its watch may come to call once more.
  std::atomic<bool> is_owned_{false};

  // The loop of this round. Workers may read it while it changes, but can take a range only with the ticket
  // of the round that they read it in: the round in the upper half, the next range in the lower.
  std::atomic<Call> call_{nullptr};
  std::atomic<void*> context_{nullptr};
  std::atomic<int64_t> count_{0}, length_{1};
  std::atomic<uint32_t> ranges_{0};
  std::atomic<uint64_t> ticket_{0};
  std::atomic<uint32_t> done_{0};

  std::mutex mutex_; // guards sleeping
  std::condition_variable wake_;
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stopping_{false};
};

} // namespace hdlif
