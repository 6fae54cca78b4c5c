// Whether a run goes on. The thread that called it asks now and then; the others see the answer.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>

namespace hdlif {

// A run that was told to stop, or whose process was forked under it.
class Interrupted : public std::exception {
public:
  const char* what() const noexcept override { return "the run was interrupted"; }
};

// How often this process descends by fork: threads and held locks of another number are not here.
uint64_t forks();

class Watch {
public:
  using Ask = bool (*)(void* context); // whether to go on

  Watch() = default;
  Watch(Ask ask, void* context) : ask_(ask), context_(context), asked_(std::chrono::steady_clock::now()) {}
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // On the calling thread: asks, if it last did some time ago; whether to go on. Throws `Interrupted` where
  // the asking forked, in the child: there is nobody there to wait for.
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

  // The same, and throws where it is to stop.
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
