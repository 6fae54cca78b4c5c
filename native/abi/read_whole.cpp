#include "read_whole.h"

#include <cstdio>
#include <memory>
#include <string>

#if !defined(__wasm__)
#include <sys/stat.h>
#if !defined(_WIN32)
#include <fcntl.h>
#include <unistd.h>
#endif
#endif

#include "../artefact/file.h"
#include "deployed.h"
#include "hdlif.h"

namespace hdlif {

#if defined(__wasm__)

std::vector<uint8_t> read_whole(const char*) {
  throw CallError(HDLIF_ERROR_FILE,
                  "cannot be read; a WebAssembly module has no files: give hdlif_open the bytes");
}

#else

namespace {

struct Closer {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

bool is_regular(const struct stat& status) {
  return (status.st_mode & S_IFMT) == S_IFREG;
}

[[noreturn]] void refuse_to_read() {
  throw CallError(HDLIF_ERROR_FILE, "cannot be read; give the path of an exported model file");
}

void check_regular(const struct stat& status) {
  if (!is_regular(status))
    throw CallError(HDLIF_ERROR_FILE, "is not a regular file; give the path of an exported model file");
}

#if defined(_WIN32)

std::FILE* opened(const char* path, struct stat&) {
  return std::fopen(path, "rb");
}

#else

// Sets `status` to the status of the opened file. Another program may have replaced the file with a FIFO;
// opening it does not wait for a writer.
std::FILE* opened(const char* path, struct stat& status) {
  const int descriptor = ::open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0)
    return nullptr;
  std::FILE* file = fstat(descriptor, &status) == 0 ? fdopen(descriptor, "rb") : nullptr;
  if (file == nullptr)
    close(descriptor);
  return file;
}

#endif

} // namespace

std::vector<uint8_t> read_whole(const char* path) {
  struct stat status{};
  if (stat(path, &status) != 0)
    refuse_to_read();
  // opening another type of file may have side effects
  check_regular(status);
  const std::unique_ptr<std::FILE, Closer> file(opened(path, status));
  if (file == nullptr)
    refuse_to_read();
  check_regular(status);
  if (uint64_t(status.st_size) > kMaxFileBytes)
    throw CallError(HDLIF_ERROR_ARTEFACT, "has " + std::to_string(status.st_size) +
                                              " bytes; a model file has at most " +
                                              std::to_string(kMaxFileBytes));
  std::vector<uint8_t> content(size_t(status.st_size) + 1);
  content.resize(std::fread(content.data(), 1, content.size(), file.get()));
  if (std::ferror(file.get()) != 0)
    throw CallError(HDLIF_ERROR_FILE, "cannot be read to its end");
  return content;
}

#endif

} // namespace hdlif
