#include "file.h"

#include <algorithm>
#include <optional>

#include "error.h"
#include "fields.h"
#include "json.h"

namespace hdlif {
namespace {

constexpr const char* kMend = "; give a file made by `hdlif export --to artefact`";
constexpr size_t kDigestDigits = 64;

uint64_t little_endian(const uint8_t* bytes) {
  uint64_t found = 0;
  for (int i = 7; i >= 0; --i)
    found = found << 8 | bytes[i];
  return found;
}

StoredTensor read_entry(const std::string& key, const Json& entry, const uint8_t* tensors, int64_t room) {
  const std::string where = "header." + brief(key);
  check_object(where, entry, {"data_offsets", "dtype", "shape"});
  const std::vector<int64_t> shape = integers_of(where + ".shape", member(entry, "shape")),
                             offsets = integers_of(where + ".data_offsets", member(entry, "data_offsets"));
  const Json dtype = member(entry, "dtype");
  const std::string type = dtype.is(JsonKind::kString) ? dtype.string() : "";
  if (type != "F32" && type != "U8")
    refuse(where + ".dtype", dtype, "F32 or U8");
  if (!is_shape(shape))
    refuse(where + ".shape", member(entry, "shape"), "a shape with at most 2^30 entries");
  const int64_t bytes = entries_of(shape) * (type == "F32" ? 4 : 1);
  if (offsets.size() != 2 || offsets[0] > room || offsets[1] > room || offsets[1] - offsets[0] != bytes)
    refuse(where + ".data_offsets", member(entry, "data_offsets"),
           "two offsets within the file that are " + std::to_string(bytes) + " bytes apart");
  return {type == "F32", shape, {tensors + offsets[0], size_t(bytes)}};
}

// Checks that the tensors follow one another without gaps and fill the rest of the file.
void check_places(const std::map<std::string, StoredTensor>& tensors, const uint8_t* begin, size_t room) {
  std::vector<Buffer> extents;
  for (const auto& [key, tensor] : tensors)
    extents.push_back(tensor.bytes);
  std::sort(extents.begin(), extents.end(), [](const Buffer& a, const Buffer& b) {
    return a.data != b.data ? a.data < b.data : a.bytes < b.bytes;
  });
  const uint8_t* next = begin;
  for (const Buffer& extent : extents) {
    if (extent.data != next)
      throw ArtefactError("a tensor begins at byte " + std::to_string(extent.data - begin) +
                          " after the header; it must begin at byte " + std::to_string(next - begin) +
                          kDamaged);
    next += extent.bytes;
  }
  if (next != begin + room)
    throw ArtefactError("the tensors take " + std::to_string(next - begin) + " of " + std::to_string(room) +
                        " bytes after the header" + kDamaged);
}

// Checks and returns the digest of the bytes, computed with the 64 digits of the stored digest set to 0.
Digest check_digest(const uint8_t* bytes, size_t size, size_t header_end, const Json& record) {
  const std::optional<Json> stated = record.find("digest");
  const std::string digits = stated && stated->is(JsonKind::kString) ? stated->string() : "";
  const uint8_t* const end = bytes + header_end;
  const uint8_t* const place =
      digits.size() == kDigestDigits ? std::search(bytes + 8, end, digits.begin(), digits.end()) : end;
  if (place != end) {
    const size_t before = size_t(place - bytes);
    Sha256 hash;
    hash.add(bytes, before);
    hash.add(std::string(kDigestDigits, '0').data(), kDigestDigits);
    hash.add(place + kDigestDigits, size - before - kDigestDigits);
    const Digest found = hash.digest();
    if (hexadecimal(found) == digits)
      return found;
  }
  throw ArtefactError("digest = " + (stated ? brief(stated->text()) : "none") +
                      " does not match the file's bytes" + kDamaged);
}

void check_format(const Json& record) {
  if (!record.is(JsonKind::kObject))
    refuse("hdlif", record, "an object");
  const std::optional<Json> format = record.find("format");
  // checkpoints have the same metadata key
  if (!format && !record.find("nodes"))
    throw ArtefactError(std::string("is not a model file (its metadata contain no graph)") + kMend);
  const std::optional<int64_t> version = format ? format->integer() : std::nullopt;
  if (version != 5)
    throw ArtefactError("format = " + (format ? brief(format->text()) : "none") +
                        "; this version of hdlif reads format 5; export it again");
}

} // namespace

File read_file(const uint8_t* bytes, size_t size, int64_t max_bytes) {
  if (size > kMaxFileBytes)
    throw ArtefactError("has " + std::to_string(size) + " bytes; a model file has at most " +
                        std::to_string(kMaxFileBytes));
  // JSON allows leading spaces, but safetensors does not
  if (size < 9 || bytes[8] != '{')
    throw ArtefactError(std::string("is not a model file (it has no safetensors header)") + kMend);
  const uint64_t length = little_endian(bytes);
  if (length > std::min<uint64_t>(kMaxHeaderBytes, size - 8))
    throw ArtefactError("header length = " + std::to_string(length) + " in a file of " +
                        std::to_string(size) + " bytes; it must fit in the file and be at most " +
                        std::to_string(kMaxHeaderBytes) + kDamaged);
  const size_t header_end = 8 + size_t(length), room = size - header_end;
  JsonLimits limits;
  limits.bytes = max_bytes;
  std::string what = "header";
  try {
    File file;
    const JsonDocument header({reinterpret_cast<const char*>(bytes) + 8, size_t(length)}, limits);
    const std::optional<Json> metadata = header.root().find("__metadata__");
    if (!metadata || !metadata->is(JsonKind::kObject) || metadata->count() != 1 || !metadata->find("hdlif"))
      throw ArtefactError(std::string("its metadata must contain exactly one key, \"hdlif\"") + kMend);
    file.record = string_of("header.__metadata__.hdlif", member(*metadata, "hdlif"));
    what = "hdlif";
    {
      const JsonDocument record(file.record, limits);
      check_format(record.root());
      file.digest = check_digest(bytes, size, header_end, record.root());
    }
    header.root().members([&](const std::string& key, const Json& entry) {
      if (key != "__metadata__")
        file.tensors.emplace(key, read_entry(key, entry, bytes + header_end, int64_t(room)));
    });
    check_places(file.tensors, bytes + header_end, room);
    return file;
  } catch (const JsonError& error) {
    throw ArtefactError(what + " is not valid JSON: " + error.what() + kDamaged);
  } catch (const JsonTooLarge&) {
    throw TooLarge("the values of its " + what + " take more than " + std::to_string(max_bytes) + " bytes");
  }
}

} // namespace hdlif
