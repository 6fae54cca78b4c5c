#include "training_pool.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>

namespace hdlif {
namespace {

std::atomic<Parallel> of_process{nullptr};
std::atomic<uint64_t> of_forks{0};

} // namespace

void set_parallel(Parallel parallel) {
  of_forks.store(forks(), std::memory_order_relaxed);
  of_process.store(parallel, std::memory_order_release);
}

Parallel parallel() {
  const Parallel found = of_process.load(std::memory_order_acquire);
  // the child of a fork does not have its parent's threads
  return of_forks.load(std::memory_order_relaxed) == forks() ? found : nullptr;
}

// The pool is never destroyed: when a forked process ends, a thread that another one waits for may be gone.
// Such a process has its own pool. There is no mutex, because a fork might leave it locked.
ThreadPool& training_pool() {
  struct Pool {
    uint64_t forks;
    ThreadPool threads;
  };
  static std::atomic<Pool*> current{nullptr};
  Pool* found = current.load(std::memory_order_acquire);
  while (found == nullptr || found->forks != forks()) {
    const int cores = int(std::thread::hardware_concurrency());
    std::unique_ptr<Pool> made(new Pool{forks(), ThreadPool(std::clamp(cores, 1, kTrainingThreads))});
    if (current.compare_exchange_strong(found, made.get(), std::memory_order_acq_rel))
      found = made.release();
  }
  return found->threads;
}

} // namespace hdlif
