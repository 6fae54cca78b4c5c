// For ThreadSanitizer: a pool under callers that come and go, then one session that several threads run.
//
//   threads_test LOOPS FILE...     each an artefact
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <thread>

#include "artefact/artefact.h"
#include "drawn_input.h"
#include "session.h"
#include "thread_pool.h"

using namespace hdlif;

namespace {

void require(bool holds, const char* what) {
  if (!holds) {
    std::fprintf(stderr, "%s\n", what);
    std::exit(1);
  }
}

// Every entry is visited once, by a thread of the pool, and the caller sees what it wrote.
void stress_pool(int threads, int callers, int loops) {
  ThreadPool pool(threads);
  std::vector<std::thread> running;
  for (int c = 0; c < callers; ++c)
    running.emplace_back([&pool, c, loops] {
      for (int loop = 0; loop < loops; ++loop) {
        const int64_t count = (loop * 7 + c) % 40;
        std::vector<int> visits(size_t(count), 0);
        Watch watch;
        pool.split(count, 1 + loop % 3, watch, [&](int64_t begin, int64_t end, int thread) {
          require(thread >= 0 && thread < pool.threads(), "no thread of the pool");
          for (int64_t i = begin; i < end; ++i)
            ++visits[size_t(i)];
        });
        for (int visit : visits)
          require(visit == 1, "an entry was not visited once");
        // now and then the workers fall asleep
        if (loop % 500 == 499)
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    });
  for (std::thread& thread : running)
    thread.join();
}

// A run of the graph from the start; the batch and the steps follow from `seed`.
std::vector<float> logits_of(Session& session, int64_t seed) {
  const Graph& graph = session.graph();
  const int64_t batch = 1 + seed % 4, steps = 1 + seed % 3;
  const std::vector<float> x =
      drawn_input(size_t(steps * batch * graph.values[0].size()), uint32_t(seed), true);
  std::vector<std::vector<float>> potentials;
  std::vector<float*> pointers;
  for (int32_t n : graph.stateful)
    potentials.emplace_back(size_t(batch * graph.values[n + 1].size()));
  for (std::vector<float>& potential : potentials)
    pointers.push_back(potential.data());
  std::vector<float> logits(size_t(steps * batch * graph.values[graph.output].size()));
  session.run(x.data(), steps, batch, steps, 0, pointers.data(), logits.data());
  return logits;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  for (size_t i = 0; i < a.size(); ++i)
    if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0 && !(std::isnan(a[i]) && std::isnan(b[i])))
      return false;
  return a.size() == b.size();
}

void run_at_once(const std::vector<char>& content, int threads, int callers, int runs) {
  const Kernels* tables[8];
  const Kernels& kernels = *tables[available_kernels(tables, 8) - 1];
  const auto graph = [&] {
    return read_artefact(reinterpret_cast<const uint8_t*>(content.data()), content.size(), 1 << 30).graph;
  };
  Session alone(graph(), 1, kernels), session(graph(), threads, kernels);
  std::vector<std::vector<float>> expected;
  for (int seed = 0; seed < 12; ++seed)
    expected.push_back(logits_of(alone, seed));
  std::vector<std::thread> running;
  for (int c = 0; c < callers; ++c)
    running.emplace_back([&, c] {
      for (int i = 0; i < runs; ++i) {
        const int seed = (i * 5 + c) % 12;
        require(same_bits(logits_of(session, seed), expected[size_t(seed)]),
                "a run at once with others differs");
      }
    });
  for (std::thread& thread : running)
    thread.join();
}

} // namespace

int main(int count, char** arguments) {
  require(count >= 2, "threads_test LOOPS FILE...");
  const int loops = std::atoi(arguments[1]);
  for (int threads = 1; threads <= 3; ++threads)
    for (int callers = 1; callers <= 3; ++callers)
      stress_pool(threads, callers, loops);
  for (int i = 0; i < loops / 20; ++i)
    stress_pool(2 + i % 2, 1, 3);
  for (int i = 2; i < count; ++i) {
    std::ifstream file(arguments[i], std::ios::binary);
    const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    for (int threads = 2; threads <= 3; ++threads)
      run_at_once(bytes, threads, 3, loops / 50);
  }
  std::printf("%d files\n", count - 2);
}
