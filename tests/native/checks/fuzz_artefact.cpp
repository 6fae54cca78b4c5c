// A libFuzzer target: whatever the bytes are, opening them gives an error of one printable line, or a network
// that runs within its limits and gives the same bits with all instruction sets, as a whole and step by step,
// and with and without keeping every value. Also, of the same bytes as JSON: what is read is within the text,
// and each value's own text reads as the same value.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "artefact/json.h"
#include "artefact/sha256.h"
#include "artefact/utf8.h"
#include "drawn_input.h"
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

void require_equal(const std::vector<float>& a, const std::vector<float>& b, const char* what) {
  for (size_t i = 0; i < a.size(); ++i)
    require(std::memcmp(&a[i], &b[i], sizeof(float)) == 0 || (std::isnan(a[i]) && std::isnan(b[i])), what);
}

// What a state holds between its head and its digest (hdlif.h).
std::vector<float> floats_of(const std::vector<unsigned char>& state) {
  std::vector<float> floats((state.size() - 48 - 32) / sizeof(float));
  std::memcpy(floats.data(), state.data() + 48, floats.size() * sizeof(float));
  return floats;
}

// What is run, drawn from the bytes of the file.
struct Draw {
  explicit Draw(const std::string& content) {
    for (char byte : content)
      seed = (seed ^ uint8_t(byte)) * 16777619u;
    steps = seed % 18 + 1;
    batch = seed / 18 % 3 + 1;
    x_steps = seed / 54 % 2 == 0 ? 1 : steps;
    has_zeros = seed / 108 % 2 == 0;
    is_huge = seed / 216 % 8 == 0;
  }
  uint32_t seed = 2166136261u;
  int64_t steps, batch, x_steps;
  bool has_zeros, is_huge;
};

class Network {
public:
  // With the instruction set of this number, or the best one.
  Network(const std::string& content, int32_t instructions) {
    hdlif_options options = HDLIF_OPTIONS;
    options.threads = 1;
    options.instructions = hdlif_instruction_set(instructions);
    options.max_bytes = kMaxBytes;
    options.max_operations = kMaxOperations;
    status = hdlif_open(content.data(), content.size(), &options, &network);
    require((status == HDLIF_OK) == (network != nullptr),
            "a network without success, or the other way round");
  }
  ~Network() { hdlif_close(network); }
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  size_t frame() const {
    int32_t shape[3];
    hdlif_input_shape(network, shape);
    return size_t(shape[0]) * size_t(shape[1]) * size_t(shape[2]);
  }
  size_t outputs() const { return size_t(hdlif_outputs(network)); }

  // The logits of a run, or none where it takes more than it may.
  std::vector<float> run(const std::vector<float>& x, int64_t x_steps, int64_t batch, int64_t steps) {
    std::vector<float> logits(size_t(batch * steps) * outputs());
    if (hdlif_run(network, x.data(), x_steps, batch, steps, logits.data()) == HDLIF_OK)
      return logits;
    check_text(hdlif_error_text());
    return {};
  }

  // All values of a run, the last of which are the logits once more.
  std::vector<std::vector<float>> values(const std::vector<float>& x, const Draw& draw) {
    std::vector<std::vector<float>> values;
    std::vector<float*> pointers;
    size_t entries = 0;
    for (int32_t i = 0; i < hdlif_values(network); ++i) {
      int32_t shape[3];
      hdlif_value_shape(network, i, shape);
      entries += size_t(draw.batch * draw.steps) * size_t(shape[0]) * size_t(shape[1]) * size_t(shape[2]);
      if (entries > kMaxBytes / sizeof(float))
        return {};
      values.emplace_back(size_t(draw.batch * draw.steps) * size_t(shape[0]) * size_t(shape[1]) *
                          size_t(shape[2]));
    }
    for (std::vector<float>& value : values)
      pointers.push_back(value.data());
    values.emplace_back(size_t(draw.batch * draw.steps) * outputs());
    if (hdlif_run_values(network, x.data(), draw.x_steps, draw.batch, draw.steps, values.back().data(),
                         pointers.data()) != HDLIF_OK)
      return {};
    return values;
  }

  // The logits step by step, through a state that is saved and loaded; leaves the state behind the last one.
  std::vector<float> stream(const std::vector<float>& x, int64_t steps, std::vector<unsigned char>& state) {
    std::vector<float> logits(size_t(steps) * outputs());
    hdlif_stream* stream = nullptr;
    if (hdlif_stream_open(network, &stream) != HDLIF_OK)
      return {};
    state.resize(hdlif_state_size(network));
    const int64_t first = (steps + 1) / 2;
    bool holds = hdlif_stream_run(stream, x.data(), first, logits.data()) == HDLIF_OK;
    holds = holds && hdlif_stream_save(stream, state.data(), state.size()) == HDLIF_OK &&
            hdlif_stream_reset(stream) == HDLIF_OK &&
            hdlif_stream_load(stream, state.data(), state.size()) == HDLIF_OK;
    for (int64_t step = first; holds && step < steps; ++step)
      holds = hdlif_stream_step(stream, x.data() + size_t(step) * frame(),
                                logits.data() + size_t(step) * outputs()) == HDLIF_OK;
    require(holds && hdlif_stream_save(stream, state.data(), state.size()) == HDLIF_OK, "a stream");
    hdlif_stream_close(stream);
    return logits;
  }

  hdlif_network* network = nullptr;
  hdlif_status status;
};

void open(const std::string& content) {
  const Draw draw(content);
  int32_t sets = 0;
  while (hdlif_instruction_set(sets) != nullptr)
    ++sets;
  Network plain(content, 0);
  if (plain.status != HDLIF_OK) {
    require(plain.status == HDLIF_ERROR_ARTEFACT || plain.status == HDLIF_ERROR_LIMIT, "another status");
    return check_text(hdlif_error_text());
  }
  Network chosen(content, int32_t(draw.seed / 1728 % uint32_t(sets)));
  if (chosen.status != HDLIF_OK) // weights are laid out otherwise, and may take more
    return require(chosen.status == HDLIF_ERROR_LIMIT, "another status");
  const size_t size = size_t(draw.x_steps * draw.batch) * plain.frame();
  if (size > 1 << 20 || size_t(draw.steps * draw.batch) * plain.outputs() > 1 << 20)
    return;
  const std::vector<float> x = drawn_input(size, draw.seed, draw.has_zeros, draw.is_huge);
  const std::vector<float> logits = plain.run(x, draw.x_steps, draw.batch, draw.steps),
                           other = chosen.run(x, draw.x_steps, draw.batch, draw.steps);
  if (logits.empty() || other.empty())
    return;
  require_equal(logits, other, "another instruction set gives other bits");
  if (const auto values = chosen.values(x, draw); !values.empty())
    require_equal(logits, values.back(), "where values are kept, logits have other bits");
  // another plan in the same memory, and the steps of a stream
  const int64_t steps = draw.batch == 1 ? draw.x_steps : 1;
  const std::vector<float> whole = plain.run(x, steps, 1, steps);
  std::vector<unsigned char> state, state_of_other;
  const std::vector<float> stepped = plain.stream(x, steps, state),
                           of_other = chosen.stream(x, steps, state_of_other);
  if (whole.empty() || stepped.empty() || of_other.empty())
    return;
  require_equal(whole, stepped, "steps give other bits");
  require_equal(whole, of_other, "steps give other bits with another instruction set");
  require_equal(floats_of(state), floats_of(state_of_other), "another instruction set leaves another state");
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
