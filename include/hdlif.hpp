// hdlif in C++17: RAII classes and exceptions for the C interface in hdlif.h. This header needs only the C
// library.
//
//   const auto network = hdlif::Network::open_file("digits.hdlif.safetensors");
//   std::vector<float> logits = network.run(x, 1);  // [time][batch][output]
//   hdlif::Stream stream(network);
//   stream.step(frame.data(), logits.data());
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "hdlif.h"

namespace hdlif {
inline namespace v0 { // avoids name clashes with the library

// A failed call; `status` is one of HDLIF_ERROR_...
class Error : public std::runtime_error {
public:
  explicit Error(hdlif_status status) : std::runtime_error(hdlif_error_text()), status(status) {}
  hdlif_status status;
};

inline void check(hdlif_status status) {
  if (status != HDLIF_OK)
    throw Error(status);
}

// See hdlif_network. Throws `Error`, and std::invalid_argument if an array has the wrong size.
class Network {
public:
  static Network open(const void* bytes, std::size_t size, const hdlif_options* options = nullptr) {
    hdlif_network* network = nullptr;
    check(hdlif_open(bytes, size, options, &network));
    return Network(network);
  }
  static Network open_file(const std::string& path, const hdlif_options* options = nullptr) {
    hdlif_network* network = nullptr;
    check(hdlif_open_file(path.c_str(), options, &network));
    return Network(network);
  }

  hdlif_network* get() const { return network_.get(); }
  int time_steps() const { return hdlif_time_steps(get()); }
  std::size_t outputs() const { return std::size_t(hdlif_outputs(get())); }
  std::string label(std::size_t output) const {
    const char* found = hdlif_label(get(), std::int32_t(output));
    return found == nullptr ? "" : found;
  }
  // [C, H, W] of the outputs of a step, or [C, 1, 1] for a vector
  std::array<std::int32_t, 3> output_shape() const {
    std::array<std::int32_t, 3> shape{};
    hdlif_output_shape(get(), shape.data());
    return shape;
  }
  // [C, H, W]
  std::array<std::int32_t, 3> input_shape() const {
    std::array<std::int32_t, 3> shape{};
    hdlif_input_shape(get(), shape.data());
    return shape;
  }
  std::size_t frame_size() const {
    const std::array<std::int32_t, 3> shape = input_shape();
    return std::size_t(shape[0]) * std::size_t(shape[1]) * std::size_t(shape[2]);
  }

  // Returns raw frames [frames][C][H][W] normalised for the network.
  std::vector<float> normalised(std::vector<float> raw) const {
    check(hdlif_normalise(get(), raw.data(), std::int64_t(frames_of(raw.size())), raw.data()));
    return raw;
  }

  // Returns logits [steps][batch][outputs] for x [1 or steps][batch][C][H][W]. If `steps` is 0, it is
  // x_steps, or the network's time steps if x_steps is 1.
  std::vector<float> run(const std::vector<float>& x, std::size_t batch, std::size_t x_steps = 1,
                         std::size_t steps = 0) const {
    if (batch == 0 || x_steps == 0 || frames_of(x.size()) != batch * x_steps)
      throw std::invalid_argument("x must have x_steps * batch frames");
    if (steps == 0)
      steps = x_steps == 1 ? std::size_t(time_steps()) : x_steps;
    // the product could overflow if addresses have 32 bits
    if (steps > std::vector<float>().max_size() / batch / outputs())
      throw std::invalid_argument("the logits do not fit into a vector; reduce the batch or the steps");
    std::vector<float> logits(steps * batch * outputs());
    check(hdlif_run(get(), x.data(), std::int64_t(x_steps), std::int64_t(batch), std::int64_t(steps),
                    logits.data()));
    return logits;
  }

private:
  struct Closer {
    void operator()(hdlif_network* network) const { hdlif_close(network); }
  };

  explicit Network(hdlif_network* network) : network_(network, Closer()) {}

  std::size_t frames_of(std::size_t entries) const {
    if (entries % frame_size() != 0)
      throw std::invalid_argument("the size of the array must be a multiple of the frame size");
    return entries / frame_size();
  }

  std::shared_ptr<hdlif_network> network_;
};

// See hdlif_stream.
class Stream {
public:
  explicit Stream(const Network& network) : state_size_(hdlif_state_size(network.get())) {
    hdlif_stream* stream = nullptr;
    check(hdlif_stream_open(network.get(), &stream));
    stream_.reset(stream);
  }

  // Computes logits [outputs] for a frame [C][H][W]; allocates nothing after the first call.
  void step(const float* x, float* logits) { check(hdlif_stream_step(stream_.get(), x, logits)); }
  void run(const float* x, std::int64_t steps, float* logits) {
    check(hdlif_stream_run(stream_.get(), x, steps, logits));
  }
  void reset() { check(hdlif_stream_reset(stream_.get())); }
  std::int64_t steps() const { return hdlif_stream_steps(stream_.get()); }

  std::vector<unsigned char> save() const {
    std::vector<unsigned char> bytes(state_size_);
    check(hdlif_stream_save(stream_.get(), bytes.data(), bytes.size()));
    return bytes;
  }
  void load(const std::vector<unsigned char>& bytes) {
    check(hdlif_stream_load(stream_.get(), bytes.data(), bytes.size()));
  }

private:
  struct Closer {
    void operator()(hdlif_stream* stream) const { hdlif_stream_close(stream); }
  };

  std::unique_ptr<hdlif_stream, Closer> stream_;
  std::size_t state_size_;
};

} // namespace v0
} // namespace hdlif
