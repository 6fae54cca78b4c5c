// Decides whether a run continues. The calling thread checks at intervals; other threads read the result.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>

namespace hdlif {

// Thrown when a run was told to stop, or when its process was forked during the run.
class Interrupted : public std::exception {
public:
  const char* what() const noexcept override { return "the run was interrupted"; }
};

// Returns the number of forks between the first process and this one. Threads and held locks with another
// number belong to an ancestor.
uint64_t forks();

class Watch {
public:
  using Ask = bool (*)(void* context); // returns whether to continue

  Watch() = default;
  Watch(Ask ask, void* context) : ask_(ask), context_(context), asked_(std::chrono::steady_clock::now()) {}
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // Call on the calling thread only. Asks if the last time was at least kInterval ago, and returns whether to
  // continue. If asking forked the process, throws `Interrupted` in the child, which has no other threads to
  // wait for.
  bool look() {
    if (ask_ == nullptr)
      return true;
    const auto now = std::chrono::steady_clock::now();
    if (now - asked_ >= kInterval && !stopped()) {
      if (!ask_(context_))
        stopped_.store(true, std::memory_order_relaxed);
      if (forks() != forks_)
        throw Interrupted();
      asked_ = std::chrono::steady_clock::now();
    }
    return !stopped();
  }

  // As look(), but throws `Interrupted` if the run must stop.
  void go_on() {
    if (!look())
      throw Interrupted();
  }

  bool stopped() const { return stopped_.load(std::memory_order_relaxed); }

private:
  static constexpr std::chrono::milliseconds kInterval{50};

  Ask ask_ = nullptr;
  void* context_ = nullptr;
  uint64_t forks_ = forks();
  std::chrono::steady_clock::time_point asked_{};
  std::atomic<bool> stopped_{false};
};

} // namespace hdlif
