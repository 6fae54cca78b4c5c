#include "thread_pool.h"

#include <algorithm>

namespace hdlif {

ThreadPool::ThreadPool(int threads) {
  for (int i = 1; i < threads; ++i)
    workers_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  started_.notify_all();
  for (std::thread& worker : workers_)
    worker.join();
}

void ThreadPool::share(int64_t count, int64_t grain, Call call, void* context) {
  call_ = call;
  context_ = context;
  count_ = count;
  // several ranges a thread, since sparse rows differ in cost
  range_ = std::max(grain, count / (4 * threads()) + 1);
  next_.store(0);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    busy_ = int(workers_.size());
    ++round_;
  }
  started_.notify_all();
  take_ranges(0);
  std::unique_lock<std::mutex> lock(mutex_);
  finished_.wait(lock, [this] { return busy_ == 0; });
}

void ThreadPool::take_ranges(int thread) {
  for (int64_t begin = next_.fetch_add(range_); begin < count_; begin = next_.fetch_add(range_))
    call_(context_, begin, std::min(begin + range_, count_), thread);
}

void ThreadPool::work(int thread) {
  uint64_t seen = 0;
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    started_.wait(lock, [&] { return stopping_ || round_ != seen; });
    if (stopping_)
      return;
    seen = round_;
    lock.unlock();
    take_ranges(thread);
    lock.lock();
    if (--busy_ == 0)
      finished_.notify_one();
  }
}

} // namespace hdlif
