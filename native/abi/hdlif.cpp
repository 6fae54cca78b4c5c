// The C interface; hdlif.h documents each function. No exception leaves it.
#include "hdlif.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

#include "../call_limits.h"
#include "calls.h"
#include "read_whole.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "artefacts are little-endian, and are read as they lie"
#endif

struct hdlif_stream {
  hdlif::DeployedStream stream;
};

namespace {

using hdlif::Deployed;

constexpr size_t kLongestText = 1000;
constexpr int64_t kDefaultBytes = int64_t(1) << 32, kDefaultOperations = int64_t(1) << 42;

thread_local char error_text[kLongestText + 1] = "";

void set_text(std::string_view text) noexcept {
  const size_t count = std::min(text.size(), kLongestText);
  std::memcpy(error_text, text.data(), count);
  error_text[count] = '\0';
}

// Sets the error text to the concatenated parts.
hdlif_status failed(hdlif_status status, std::initializer_list<const char*> parts) noexcept {
  try {
    std::string message;
    for (const char* part : parts)
      message += part;
    set_text(hdlif::printable(message, kLongestText));
  } catch (...) {
    set_text("not enough memory to describe the error");
  }
  return status;
}

} // namespace

namespace hdlif {

hdlif_status status_of_exception(const char* prefix) noexcept {
  try {
    throw;
  } catch (const CallError& error) {
    return failed(error.status, {prefix, error.what()});
  } catch (const hdlif::ArtefactError& error) {
    return failed(HDLIF_ERROR_ARTEFACT, {prefix, error.what()});
  } catch (const hdlif::TooLarge& error) {
    return failed(HDLIF_ERROR_LIMIT, {prefix, error.what(), "; raise max_bytes in the options"});
  } catch (const hdlif::TooManyBytes& error) {
    return failed(HDLIF_ERROR_LIMIT, {prefix, error.what(), "; raise max_bytes in the options"});
  } catch (const hdlif::Interrupted& error) {
    return failed(HDLIF_ERROR_INTERRUPTED, {prefix, error.what()});
  } catch (const std::bad_alloc&) {
    set_text("not enough memory for this call");
    return HDLIF_ERROR_MEMORY;
  } catch (const std::length_error&) {
    set_text("not enough memory for this call");
    return HDLIF_ERROR_MEMORY;
  } catch (const std::invalid_argument& error) {
    return failed(HDLIF_ERROR_ARGUMENT, {prefix, error.what()});
  } catch (const std::exception& error) {
    return failed(HDLIF_ERROR_INTERNAL, {prefix, "internal error of hdlif: ", error.what()});
  } catch (...) {
    set_text("internal error of hdlif");
    return HDLIF_ERROR_INTERNAL;
  }
}

void require(bool holds, const char* what) {
  if (!holds)
    throw CallError(HDLIF_ERROR_ARGUMENT, what);
}

namespace {

std::vector<const hdlif::Kernels*> all_kernels() {
  std::vector<const hdlif::Kernels*> tables(8);
  tables.resize(size_t(hdlif::available_kernels(tables.data(), int(tables.size()))));
  return tables;
}

const hdlif::Kernels& chosen_kernels(const char* name) {
  const std::vector<const hdlif::Kernels*> tables = all_kernels();
  if (name == nullptr)
    return *tables.back();
  std::string names;
  for (const hdlif::Kernels* table : tables) {
    if (std::strcmp(table->name, name) == 0)
      return *table;
    names += std::string(names.empty() ? "" : ", ") + table->name;
  }
  throw CallError(HDLIF_ERROR_ARGUMENT,
                  std::string("instructions = ") + hdlif::brief(name) + "; this machine supports " + names);
}

int32_t available_cores() {
#if defined(__linux__)
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof(cores), &cores) == 0)
    return CPU_COUNT(&cores);
#endif
  return std::max(1, int32_t(std::thread::hardware_concurrency()));
}

} // namespace

OpenOptions checked(const hdlif_options* given) {
  hdlif_options options = HDLIF_OPTIONS;
  if (given != nullptr) {
    require(given->size >= sizeof(size_t) && given->size <= sizeof(options),
            "options.size does not match struct hdlif_options of this library; initialise options with "
            "HDLIF_OPTIONS");
    std::memcpy(&options, given, given->size);
  }
  require(options.threads >= 0 && options.threads <= hdlif::kMaxThreads, "options.threads must be in 0..256");
  require(options.max_bytes >= 0 && options.max_operations >= 0,
          "options.max_bytes and options.max_operations must be at least 0");
  OpenOptions found;
  found.threads = options.threads > 0 ? options.threads : std::min(available_cores(), hdlif::kMaxThreads);
  found.kernels = &chosen_kernels(options.instructions);
  // at most the memory that the process can address
  found.max_bytes = std::min<int64_t>(options.max_bytes > 0 ? options.max_bytes : kDefaultBytes, PTRDIFF_MAX);
  found.max_operations = options.max_operations > 0 ? options.max_operations : kDefaultOperations;
  found.go_on = options.go_on;
  found.context = options.context;
  return found;
}

} // namespace hdlif

namespace {

using hdlif::checked;
using hdlif::guarded;
using hdlif::require;

void open(const void* bytes, size_t size, const hdlif_options* options, hdlif_network** network) {
  auto opened = std::make_unique<hdlif_network>();
  opened->deployed = Deployed::open(static_cast<const uint8_t*>(bytes), size, checked(options));
  *network = opened.release();
}

void give_shape(const hdlif::Value* type, int32_t shape[3]) {
  shape[0] = type == nullptr ? 0 : type->channels;
  shape[1] = type == nullptr ? 0 : type->height;
  shape[2] = type == nullptr ? 0 : type->width;
}

template <typename List> bool is_in(int32_t index, const List& list) {
  return index >= 0 && size_t(index) < list.size();
}

const char* name_in(const std::vector<std::string>& names, int32_t index) {
  return is_in(index, names) ? names[size_t(index)].c_str() : nullptr;
}

} // namespace

extern "C" {

const char* hdlif_error_text(void) {
  return error_text;
}

#define HDLIF_TEXT_OF(number) #number
#define HDLIF_TEXT(number) HDLIF_TEXT_OF(number)
const char* hdlif_version(void) {
  return HDLIF_TEXT(HDLIF_VERSION_MAJOR) "." HDLIF_TEXT(HDLIF_VERSION_MINOR) "." HDLIF_TEXT(
      HDLIF_VERSION_PATCH);
}

const char* hdlif_instruction_set(int32_t index) {
  const hdlif::Kernels* tables[8];
  const int count = hdlif::available_kernels(tables, 8);
  return index >= 0 && index < count ? tables[index]->name : nullptr;
}

hdlif_status hdlif_open(const void* bytes, size_t size, const hdlif_options* options,
                        hdlif_network** network) {
  return guarded([&] {
    require(network != nullptr, "network is NULL");
    *network = nullptr;
    require(bytes != nullptr, "bytes is NULL");
    open(bytes, size, options, network);
  });
}

hdlif_status hdlif_open_file(const char* path, const hdlif_options* options, hdlif_network** network) {
  std::string prefix;
  const hdlif_status status = guarded([&] {
    require(network != nullptr, "network is NULL");
    *network = nullptr;
    require(path != nullptr, "path is NULL");
    prefix = std::string(path) + ": ";
  });
  if (status != HDLIF_OK)
    return status;
  return guarded(prefix.c_str(), [&] {
    const std::vector<uint8_t> content = hdlif::read_whole(path);
    open(content.data(), content.size(), options, network);
  });
}

void hdlif_close(hdlif_network* network) {
  delete network;
}

int32_t hdlif_time_steps(const hdlif_network* network) {
  return network->deployed->graph().time_steps;
}

void hdlif_input_shape(const hdlif_network* network, int32_t shape[3]) {
  give_shape(&network->deployed->graph().values[0], shape);
}

const char* hdlif_input_kind(const hdlif_network* network) {
  return network->deployed->input.kind.c_str();
}

int32_t hdlif_outputs(const hdlif_network* network) {
  return int32_t(network->deployed->output().size());
}

void hdlif_output_shape(const hdlif_network* network, int32_t shape[3]) {
  give_shape(&network->deployed->output(), shape);
}

const char* hdlif_label(const hdlif_network* network, int32_t output) {
  return name_in(network->deployed->labels, output);
}

const char* hdlif_instructions(const hdlif_network* network) {
  return network->deployed->kernels().name;
}

int64_t hdlif_weight_bytes(const hdlif_network* network) {
  return network->deployed->weight_bytes();
}

const char* hdlif_graph(const hdlif_network* network, size_t* length) {
  const std::string& record = network->deployed->record;
  if (length != nullptr)
    *length = record.size();
  return record.c_str();
}

hdlif_status hdlif_normalise(const hdlif_network* network, const float* raw, int64_t frames, float* x) {
  return guarded([&] {
    require(network != nullptr && raw != nullptr && x != nullptr, "network, raw or x is NULL");
    require(frames >= 0, "frames must be at least 0");
    network->deployed->normalise(raw, frames, x);
  });
}

hdlif_status hdlif_run(hdlif_network* network, const float* x, int64_t x_steps, int64_t batch, int64_t steps,
                       float* logits) {
  return guarded([&] {
    require(network != nullptr && x != nullptr && logits != nullptr, "network, x or logits is NULL");
    network->deployed->run(x, x_steps, batch, steps, logits, nullptr);
  });
}

hdlif_status hdlif_cost(hdlif_network* network, int64_t x_steps, int64_t batch, int64_t steps, int64_t* bytes,
                        double* operations) {
  return guarded([&] {
    require(network != nullptr && bytes != nullptr && operations != nullptr,
            "network, bytes or operations is NULL");
    const Deployed::Cost cost = network->deployed->cost(x_steps, batch, steps, false, true);
    *bytes = cost.bytes;
    *operations = cost.operations;
  });
}

int32_t hdlif_values(const hdlif_network* network) {
  return int32_t(network->deployed->values.size());
}

const char* hdlif_value_name(const hdlif_network* network, int32_t value) {
  return name_in(network->deployed->values, value);
}

void hdlif_value_shape(const hdlif_network* network, int32_t value, int32_t shape[3]) {
  const std::vector<hdlif::Value>& types = network->deployed->graph().values;
  give_shape(is_in(value, types) ? &types[size_t(value)] : nullptr, shape);
}

hdlif_status hdlif_run_values(hdlif_network* network, const float* x, int64_t x_steps, int64_t batch,
                              int64_t steps, float* logits, float* const* values) {
  return guarded([&] {
    require(network != nullptr && x != nullptr && logits != nullptr && values != nullptr,
            "network, x, logits or values is NULL");
    network->deployed->run(x, x_steps, batch, steps, logits, values);
  });
}

hdlif_status hdlif_stream_open(hdlif_network* network, hdlif_stream** stream) {
  return guarded([&] {
    require(stream != nullptr, "stream is NULL");
    *stream = nullptr;
    require(network != nullptr, "network is NULL");
    *stream = new hdlif_stream{hdlif::DeployedStream(network->deployed)};
  });
}

void hdlif_stream_close(hdlif_stream* stream) {
  delete stream;
}

hdlif_status hdlif_stream_run(hdlif_stream* stream, const float* x, int64_t steps, float* logits) {
  return guarded([&] {
    require(stream != nullptr && x != nullptr && logits != nullptr, "stream, x or logits is NULL");
    stream->stream.run(x, steps, logits);
  });
}

hdlif_status hdlif_stream_step(hdlif_stream* stream, const float* x, float* logits) {
  return hdlif_stream_run(stream, x, 1, logits);
}

hdlif_status hdlif_stream_reset(hdlif_stream* stream) {
  return guarded([&] {
    require(stream != nullptr, "stream is NULL");
    stream->stream.reset();
  });
}

int64_t hdlif_stream_steps(const hdlif_stream* stream) {
  return stream->stream.steps();
}

size_t hdlif_state_size(const hdlif_network* network) {
  return network->deployed->state_size();
}

hdlif_status hdlif_stream_save(hdlif_stream* stream, void* bytes, size_t size) {
  return guarded([&] {
    require(stream != nullptr && bytes != nullptr, "stream or bytes is NULL");
    stream->stream.save(bytes, size);
  });
}

hdlif_status hdlif_stream_load(hdlif_stream* stream, const void* bytes, size_t size) {
  return guarded([&] {
    require(stream != nullptr && bytes != nullptr, "stream or bytes is NULL");
    stream->stream.load(bytes, size);
  });
}

const char* hdlif_state_name(const hdlif_network* network, int32_t index) {
  return name_in(network->deployed->states, index);
}

void hdlif_state_shape(const hdlif_network* network, int32_t index, int32_t shape[3]) {
  const Deployed& deployed = *network->deployed;
  give_shape(is_in(index, deployed.states) ? &deployed.state(size_t(index)) : nullptr, shape);
}

} // extern "C"
