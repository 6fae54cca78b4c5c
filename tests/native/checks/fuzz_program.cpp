// A libFuzzer target: whatever the words, scalars and buffers are, the reader refuses them, or a session of
// them runs inside its bounds and gives the same bits with all instruction sets, with and without keeping
// every value.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "encoded_program.h"
#include "session.h"

using namespace hdlif;

namespace {

// What a session says that it takes: so that no input that is run takes long.
constexpr double kMaxOperations = 4e6;
constexpr int64_t kMaxBytes = 16 << 20;

void require_equal(const std::vector<float>& a, const std::vector<float>& b, const char* what) {
  for (size_t i = 0; i < a.size(); ++i)
    if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0 && !(std::isnan(a[i]) && std::isnan(b[i]))) {
      std::fprintf(stderr, "%s: entry %zu is %g, not %g\n", what, i, double(a[i]), double(b[i]));
      std::abort();
    }
}

void require(bool holds, const char* what) {
  if (!holds) {
    std::fprintf(stderr, "%s\n", what);
    std::abort();
  }
}

// Of one image and step, all values as float32.
int64_t value_bytes(const Program& program) {
  int64_t bytes = 0;
  for (const Value& value : program.values)
    bytes += value.size() * int64_t(sizeof(float));
  return bytes;
}

struct Run {
  std::vector<float> logits;
  std::vector<std::vector<float>> potentials;
};

Run run(Session& session, const EncodedProgram& p, int64_t batch, int64_t steps, bool keeps_values) {
  const Program& program = session.program();
  const bool is_static = p.mode & kIsStatic;
  const std::vector<float> x =
      drawn_input(size_t((is_static ? 1 : steps) * batch * program.values[0].size()), p.mode, p.t);
  Run result;
  std::vector<float*> potentials;
  result.potentials.reserve(program.stateful.size());
  for (int32_t n : program.stateful) {
    result.potentials.emplace_back(size_t(batch * program.values[n + 1].size()));
    potentials.push_back(result.potentials.back().data());
  }
  result.logits.resize(size_t(steps * batch * program.values[program.output].size()));
  std::vector<std::vector<float>> values;
  std::vector<float*> kept;
  for (size_t v = 0; keeps_values && v < program.values.size(); ++v) {
    values.emplace_back(size_t(steps * batch * program.values[v].size()));
    kept.push_back(values.back().data());
  }
  Kept keeps;
  if (keeps_values)
    keeps.values = kept.data();
  session.run(x.data(), is_static ? 1 : steps, batch, steps, p.t, potentials.data(), result.logits.data(),
              keeps);
  if (keeps_values)
    require_equal(result.logits, values[size_t(program.output)], "logits and the output value");
  return result;
}

void require_equal(const Run& a, const Run& b, const char* what) {
  require_equal(a.logits, b.logits, what);
  for (size_t i = 0; i < a.potentials.size(); ++i)
    require_equal(a.potentials[i], b.potentials[i], what);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const EncodedProgram p = EncodedProgram::decode(data, size);
  const int64_t steps = p.steps % 18 + 1, batch = p.batch % 3 + 1;
  try {
    const Kernels* tables[8];
    const int count = available_kernels(tables, 8);
    const Kernels& chosen = *tables[(p.mode >> kTableShift) % count];
    Session scalar(p.read(), 1, *tables[0], kMaxBytes), session(p.read(), 1, chosen, kMaxBytes);
    const int64_t result_bytes = value_bytes(session.program()) * steps * batch;
    if (session.operations(batch, steps, false, true) > kMaxOperations || result_bytes > kMaxBytes)
      return 0;
    for (bool is_static : {false, true})
      for (bool keeps_all : {false, true})
        for (Session* each : {&scalar, &session})
          if (each->run_bytes(batch, steps, is_static, keeps_all, false) > kMaxBytes)
            return 0;
    const Run expected = run(scalar, p, batch, steps, true);
    require_equal(run(session, p, batch, steps, false), expected, chosen.name);
    // another plan in the same memory
    const Run shorter = run(session, p, 1, 1, false);
    require_equal(shorter, run(scalar, p, 1, 1, false), chosen.name);
    require(session.weight_bytes() + session.working_bytes() <= kMaxBytes, "more bytes than were granted");
  } catch (const ProgramError&) {
  } catch (const TooManyBytes&) {
  } catch (const TooLong&) {
  }
  return 0;
}

#if defined(HDLIF_FUZZ)

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

// Changes that keep most of a program as it is: so the next fields are reached.
class Mutator {
public:
  Mutator(EncodedProgram& program, uint32_t seed) : p_(program), random_(seed) {}

  void mutate() {
    const int32_t nodes = node_count();
    switch (below(nodes > 0 ? 12 : 3)) {
    case 0:
      for (uint8_t* field : {&p_.steps, &p_.batch, &p_.mode, &p_.t})
        if (below(3) == 0)
          *field = uint8_t(below(256));
      break;
    case 1:
      if (!p_.words.empty())
        change(p_.words[size_t(below(int32_t(p_.words.size())))]);
      break;
    case 2:
      if (p_.words.size() >= kHeaderWords)
        change(p_.words[size_t(below(kHeaderWords))]);
      break;
    case 3: // a node reads another value
      word(below(nodes), kInput0 + below(2)) = below(nodes + 1);
      break;
    case 4: // a window
      word(below(nodes), kKernelY + below(9)) = below(5);
      break;
    case 5: // one more node, like another
      append(below(nodes));
      break;
    case 6: // another op with the same tensors
      word(below(nodes), kOp) = below(int32_t(Op::kCount));
      break;
    case 7: // an output
      p_.words[6] = nodes - below(2);
      break;
    case 8:
      change_tensor();
      break;
    case 9: // the channels of a slice
      word(below(nodes), below(2) ? kOutChannels : kChoice) = below(6);
      break;
    case 10: // a word of an equation: a count, a register, a row or an operation
    case 11:
      if (const int32_t words = equation_words(); words > 0) {
        int32_t& word = p_.words[p_.words.size() - size_t(words) + size_t(below(words))];
        below(3) == 0 ? change(word) : void(word = below(14));
      }
      break;
    }
  }

private:
  int32_t below(int32_t n) { return int32_t(random_() % uint32_t(n)); }

  int32_t node_count() const {
    return p_.words.size() <= kHeaderWords
               ? 0
               : int32_t((p_.words.size() - kHeaderWords - size_t(equation_words())) / kNodeWords);
  }

  int32_t equation_words() const {
    if (p_.words.size() <= kHeaderWords)
      return 0;
    return std::clamp(p_.words[7], 0, int32_t(p_.words.size()) - kHeaderWords);
  }

  int32_t& word(int32_t node, int field) {
    return p_.words[size_t(kHeaderWords + node * kNodeWords + field)];
  }

  void change(int32_t& value) {
    static constexpr int32_t kFar[] = {-1,  0,   1,       2,       15,        16,       17,
                                       127, 255, 1 << 15, 1 << 24, INT32_MAX, INT32_MIN};
    switch (below(4)) {
    case 0:
      value = int32_t(uint32_t(value) + 1);
      break;
    case 1:
      value = int32_t(uint32_t(value) - 1);
      break;
    case 2:
      value = below(20);
      break;
    default:
      value = kFar[below(int32_t(sizeof(kFar) / sizeof(*kFar)))];
    }
  }

  void append(int32_t node) {
    if (p_.words.size() + kNodeWords > 2000)
      return;
    const std::vector<int32_t> record(p_.words.begin() + kHeaderWords + node * kNodeWords,
                                      p_.words.begin() + kHeaderWords + (node + 1) * kNodeWords);
    p_.words.insert(p_.words.end() - equation_words(), record.begin(), record.end());
    const int32_t nodes = node_count();
    p_.words[5] = nodes;
    word(nodes - 1, kInput0) = below(nodes);
    if (record[kInput1] >= 0)
      word(nodes - 1, kInput1) = below(nodes);
    if (below(2) == 0)
      p_.words[6] = nodes;
  }

  void change_tensor() {
    if (p_.buffers.empty())
      return;
    std::vector<uint8_t>& buffer = p_.buffers[size_t(below(int32_t(p_.buffers.size())))];
    if (below(8) == 0)
      buffer.resize(size_t(below(int32_t(buffer.size()) + 8)));
    else if (!buffer.empty() && below(2) == 0)
      buffer[size_t(below(int32_t(buffer.size())))] = uint8_t(below(256));
    else if (buffer.size() >= 4) {
      static constexpr float kOf[] = {0.0f, -0.0f, 1.0f, -1.0f, 0.5f, 1e30f, -1e30f, 1e-40f};
      const float value = kOf[below(8)];
      std::memcpy(buffer.data() + below(int32_t(buffer.size() / 4)) * 4, &value, sizeof(value));
    }
  }

  EncodedProgram& p_;
  std::mt19937 random_;
};

} // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned int seed) {
  if (seed % 16 == 0)
    return LLVMFuzzerMutate(data, size, max_size);
  EncodedProgram p = EncodedProgram::decode(data, size);
  Mutator mutator(p, seed);
  for (unsigned int i = 0; i <= seed / 16 % 3; ++i)
    mutator.mutate();
  const std::string bytes = p.encode();
  const size_t count = std::min(bytes.size(), max_size);
  std::memcpy(data, bytes.data(), count);
  return count;
}

#endif
