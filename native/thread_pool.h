// A fixed set of threads that share loops; the calling thread is one of them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace hdlif {

class ThreadPool {
public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return int(workers_.size()) + 1; }

  // Calls body(begin, end, thread) on disjoint ranges that cover [0, count), each of at least `grain`
  // entries but the last; returns when all are done. One caller at a time; body must not throw.
  template <typename Body> void split(int64_t count, int64_t grain, Body&& body) {
    if (workers_.empty() || count <= grain) {
      body(int64_t(0), count, 0);
      return;
    }
    const auto call = [](void* context, int64_t begin, int64_t end, int thread) {
      (*static_cast<std::remove_reference_t<Body>*>(context))(begin, end, thread);
    };
    share(count, grain, call, &body);
  }

private:
  using Call = void (*)(void* context, int64_t begin, int64_t end, int thread);

  void share(int64_t count, int64_t grain, Call call, void* context);
  void take_ranges(int thread);
  void work(int thread);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable started_, finished_;
  uint64_t round_ = 0; // guarded by mutex_, as are busy_ and stopping_
  int busy_ = 0;
  bool stopping_ = false;

  // the loop of this round
  Call call_ = nullptr;
  void* context_ = nullptr;
  int64_t count_ = 0, range_ = 1;
  std::atomic<int64_t> next_{0};
};

} // namespace hdlif
