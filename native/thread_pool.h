// A fixed set of threads that share loops, including the calling thread. A waiting thread spins for a while,
// so it is still awake for the next loop of a run, and then sleeps.
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
  // Creates fewer than `threads` threads if the system allows no more.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return int(workers_.size()) + 1; }

  // Calls body(begin, end, thread) on disjoint ranges that cover [0, count), each except the last with at
  // least `grain` entries. Returns when all ranges are done. While one caller has the workers, any other
  // caller runs its loop alone, as thread 0. A waiting caller checks its watch. `body` must not throw, except
  // for `Interrupted` if its process was forked.
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
  // Whether the workers are running a caller's loop. This is not a mutex, because a caller that checks its
  // watch may call split() again.
  std::atomic<bool> is_owned_{false};

  // The loop of this round. Workers may read these fields while they change, but can take a range only with a
  // ticket of the same round. A ticket has the round in its upper half and the next range in its lower half.
  std::atomic<Call> call_{nullptr};
  std::atomic<void*> context_{nullptr};
  std::atomic<int64_t> count_{0}, length_{1};
  std::atomic<uint32_t> ranges_{0};
  std::atomic<uint64_t> ticket_{0};
  std::atomic<uint32_t> done_{0};

  std::mutex mutex_; // guards waiting and waking
  std::condition_variable wake_;
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stopping_{false};
};

} // namespace hdlif
