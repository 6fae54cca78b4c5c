#include "watch.h"

#if !defined(_WIN32) && !defined(__wasm__)
#include <pthread.h>
#endif

namespace hdlif {
namespace {

std::atomic<uint64_t> count{0};

#if !defined(_WIN32) && !defined(__wasm__)
const int registered = pthread_atfork(nullptr, nullptr, [] { ++count; });
#endif

} // namespace

uint64_t forks() {
#if !defined(_WIN32) && !defined(__wasm__)
  static_cast<void>(registered);
#endif
  return count.load(std::memory_order_relaxed);
}

} // namespace hdlif
