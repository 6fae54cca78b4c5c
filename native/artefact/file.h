// The model file: safetensors with a graph in its metadata (docs/contributing/model_format.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "sha256.h"

namespace hdlif {

constexpr size_t kMaxFileBytes = size_t(1) << 31;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

// A range of the file's bytes.
struct Buffer {
  const uint8_t* data;
  size_t bytes;
};

struct StoredTensor {
  bool is_float; // F32, else U8
  std::vector<int64_t> shape;
  Buffer bytes;
  bool is_used = false;
};

struct File {
  std::string record; // JSON
  Digest digest;
  std::map<std::string, StoredTensor> tensors; // not a hash table: untrusted names could be chosen to collide
};

// Checks the header, the digest and the table of tensors. `bytes` must outlive the tensors. Throws
// `ArtefactError`, and `TooLarge` if the values of the JSON take more than `max_bytes`.
File read_file(const uint8_t* bytes, size_t size, int64_t max_bytes);

} // namespace hdlif
