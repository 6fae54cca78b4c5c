// A stream allocates nothing after its first call, however its steps are cut; and whichever allocation fails,
// a call says so.
//
//   allocation_test FILE...     each an artefact
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <new>
#include <string>
#include <vector>

#include "hdlif.h"

namespace {

constexpr int kFew = 8; // files

bool is_counting = false;
int count = 0;
int failing = 0;         // the number of the allocation from which on none is granted; 0: all are
bool all_behind = false; // not that one alone

void* counted(std::size_t size, std::size_t alignment) {
  if (is_counting)
    ++count;
  if (is_counting && failing > 0 && (count == failing || (all_behind && count > failing)))
    throw std::bad_alloc();
  void* memory = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr)
    throw std::bad_alloc();
  return memory;
}

void require(bool holds, const char* file, const char* what) {
  if (!holds) {
    std::fprintf(stderr, "%s: %s (%s)\n", file, what, hdlif_error_text());
    std::exit(1);
  }
}

// Opens a file while the n-th allocation fails, for every n; where all are granted, opening ends with
// `expected`.
void open_without_memory(const char* file, const std::vector<char>& content, hdlif_status expected) {
  hdlif_options options = HDLIF_OPTIONS;
  options.threads = 1;
  for (int n = 1;; ++n) {
    hdlif_network* network = nullptr;
    failing = n;
    count = 0;
    is_counting = true;
    const hdlif_status status = hdlif_open(content.data(), content.size(), &options, &network);
    is_counting = false;
    failing = 0;
    const bool has_failed = count >= n;
    require((network != nullptr) == (status == HDLIF_OK), file, "a network beside an error");
    // where the text of another error cannot be made, the error is that one still
    require(status == expected || (has_failed && status == HDLIF_ERROR_MEMORY), file, "another status");
    hdlif_close(network);
    count = 0;
    if (!has_failed)
      return;
  }
}

} // namespace

void* operator new(std::size_t size) {
  return counted(size, alignof(std::max_align_t));
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return counted(size, std::size_t(alignment));
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    const std::vector<char> content{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    hdlif_options options = HDLIF_OPTIONS;
    options.threads = 1;
    hdlif_network* network = nullptr;
    hdlif_stream* stream = nullptr;
    is_counting = true;
    require(hdlif_open(content.data(), content.size(), &options, &network) == HDLIF_OK, argv[i], "open");
    is_counting = false;
    require(count > 0, argv[i], "nothing is counted");
    count = 0;
    require(hdlif_stream_open(network, &stream) == HDLIF_OK, argv[i], "stream");
    int32_t shape[3];
    hdlif_input_shape(network, shape);
    const std::vector<float> x(size_t(50) * size_t(shape[0] * shape[1] * shape[2]), 0.5f);
    std::vector<float> logits(size_t(50) * size_t(hdlif_outputs(network)));
    std::vector<unsigned char> state(hdlif_state_size(network));
    require(hdlif_stream_step(stream, x.data(), logits.data()) == HDLIF_OK, argv[i], "the first step");
    is_counting = true;
    bool is_good = true;
    for (int step = 0; step < 100; ++step)
      is_good = is_good && hdlif_stream_step(stream, x.data(), logits.data()) == HDLIF_OK;
    is_good = is_good && hdlif_stream_save(stream, state.data(), state.size()) == HDLIF_OK;
    is_good = is_good && hdlif_stream_load(stream, state.data(), state.size()) == HDLIF_OK;
    is_good = is_good && hdlif_stream_reset(stream) == HDLIF_OK;
    for (int step = 0; step < 20; ++step)
      is_good = is_good && hdlif_stream_step(stream, x.data(), logits.data()) == HDLIF_OK;
    is_counting = false;
    require(is_good, argv[i], "a step");
    std::printf("%s: %d\n", argv[i], count);
    require(count == 0, argv[i], "a step allocates");
    hdlif_stream_close(stream);
    hdlif_close(network);
    // some thousand openings each
    if (i > kFew)
      continue;
    std::vector<char> damaged = content;
    damaged.back() = char(damaged.back() ^ 1);
    for (const bool all : {false, true}) {
      all_behind = all;
      open_without_memory(argv[i], content, HDLIF_OK);
      open_without_memory(argv[i], damaged, HDLIF_ERROR_ARTEFACT);
    }
  }
  return 0;
}
