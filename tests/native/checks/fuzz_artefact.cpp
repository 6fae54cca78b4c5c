// A libFuzzer target: whatever the bytes are, opening them gives an error of one printable line, or a network
// that runs within its limits and gives the same bits as a whole and step by step. Also, of the same bytes as
// JSON: what is read is within the text, and each value's own text reads as the same value.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "artefact/json.h"
#include "artefact/sha256.h"
#include "artefact/utf8.h"
#include "hdlif.h"

using namespace hdlif;

namespace {

constexpr int64_t kMaxBytes = 16 << 20, kMaxOperations = 2'000'000;

void require(bool holds, const char* what) {
  if (!holds) {
    std::fprintf(stderr, "%s (%s)\n", what, hdlif_error_text());
    std::abort();
  }
}

void check_text(const char* text) {
  const std::string_view line(text);
  require(!line.empty() && line.size() <= 1000, "an error without a text, or with a long one");
  for (size_t place = 0; place < line.size();)
    require(is_printable(next_code_point(line, place)), "an error's text is no printable line");
}

void run(hdlif_network* network) {
  int32_t shape[3];
  hdlif_input_shape(network, shape);
  const size_t frame = size_t(shape[0]) * size_t(shape[1]) * size_t(shape[2]),
               outputs = size_t(hdlif_outputs(network));
  if (frame > 1 << 18 || outputs > 1 << 18)
    return;
  std::vector<float> x(3 * frame), logits(3 * outputs), stepped(3 * outputs);
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = float(int(i * 2654435761u % 17) - 6) / 4;
  hdlif_stream* stream = nullptr;
  if (hdlif_run(network, x.data(), 3, 1, 3, logits.data()) != HDLIF_OK ||
      hdlif_stream_open(network, &stream) != HDLIF_OK)
    return check_text(hdlif_error_text());
  std::vector<unsigned char> state(hdlif_state_size(network));
  require(hdlif_stream_step(stream, x.data(), stepped.data()) == HDLIF_OK, "a step");
  require(hdlif_stream_save(stream, state.data(), state.size()) == HDLIF_OK, "a state");
  require(hdlif_stream_load(stream, state.data(), state.size()) == HDLIF_OK, "a state again");
  require(hdlif_stream_run(stream, x.data() + frame, 2, stepped.data() + outputs) == HDLIF_OK, "two steps");
  for (size_t i = 0; i < logits.size(); ++i)
    require(std::memcmp(&logits[i], &stepped[i], sizeof(float)) == 0 ||
                (std::isnan(logits[i]) && std::isnan(stepped[i])),
            "steps give other bits");
  hdlif_stream_close(stream);
  for (int32_t i = 0; i <= hdlif_values(network); ++i)
    hdlif_value_name(network, i);
}

void open(const std::string& content) {
  hdlif_options options = HDLIF_OPTIONS;
  options.threads = 1;
  options.max_bytes = kMaxBytes;
  options.max_operations = kMaxOperations;
  hdlif_network* network = nullptr;
  const hdlif_status status = hdlif_open(content.data(), content.size(), &options, &network);
  require((status == HDLIF_OK) == (network != nullptr), "a network without success, or the other way round");
  if (status != HDLIF_OK) {
    require(status == HDLIF_ERROR_ARTEFACT || status == HDLIF_ERROR_LIMIT, "another status");
    return check_text(hdlif_error_text());
  }
  run(network);
  hdlif_close(network);
}

// With the digest of its bytes, which mutations never have.
std::string with_digest(std::string content) {
  constexpr std::string_view kKey = "digest\\\":\\\"";
  const size_t place = content.find(kKey);
  if (place == std::string::npos || content.size() - place < kKey.size() + 64)
    return content;
  content.replace(place + kKey.size(), 64, 64, '0');
  Sha256 hash;
  hash.add(content.data(), content.size());
  content.replace(place + kKey.size(), 64, hexadecimal(hash.digest()));
  return content;
}

bool is_same(const Json& a, const Json& b) {
  if (a.kind() != b.kind() || a.count() != b.count())
    return false;
  if (a.is(JsonKind::kString))
    return a.string() == b.string() && is_utf8(a.string());
  if (a.is_number())
    return a.number() == b.number() && a.integer() == b.integer();
  bool holds = true;
  if (a.is(JsonKind::kObject))
    a.members([&](const std::string& key, const Json& value) {
      const std::optional<Json> other = b.find(key);
      holds = holds && other && is_same(value, *other);
    });
  return holds;
}

void check_json(std::string_view text) {
  try {
    const JsonDocument document(text);
    const JsonDocument again(document.root().text());
    require(is_same(document.root(), again.root()), "a value's text is another value");
    std::vector<Json> waiting{document.root()};
    while (!waiting.empty()) {
      const Json value = waiting.back();
      waiting.pop_back();
      require(value.text().data() >= text.data() &&
                  value.text().data() + value.text().size() <= text.data() + text.size(),
              "a value is beyond the text");
      if (value.is(JsonKind::kList))
        value.entries([&](const Json& entry) { waiting.push_back(entry); });
      if (value.is(JsonKind::kObject))
        value.members([&](const std::string&, const Json& entry) { waiting.push_back(entry); });
    }
  } catch (const JsonError&) {
  }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string content(reinterpret_cast<const char*>(data), size);
  open(content);
  open(with_digest(content));
  check_json(content);
  if (size > 8)
    check_json(std::string_view(content).substr(8));
  return 0;
}
