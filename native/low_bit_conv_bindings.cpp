// Convolutions of codes for Python. Addresses of tensors are taken as they are:
// hdlif.kernels.code_conv.native has checked the tensors.
#include <cstdint>
#include <string>
#include <tuple>

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include "kernels_by_name.h"
#include "low_bit_conv.h"
#include "low_bit_weights.h"
#include "spike_codes.h"
#include "training_pool.h"

namespace nb = nanobind;

namespace hdlif {
namespace {

using Pair = std::tuple<int32_t, int32_t>;

template <typename T> T* at(uint64_t address) {
  return reinterpret_cast<T*>(address);
}

} // namespace

void bind_low_bit_conv(nb::module_& module) {
  module.def(
      "quantise_surpluses",
      [](uint64_t surplus, int64_t count, float inverse_step, float offset, float largest, float step,
         uint64_t codes, uint64_t spikes, uint64_t live, int threads) {
        return quantise_surpluses(
            at<const float>(surplus), count,
            {inverse_step, offset, largest, step, at<uint8_t>(codes), at<float>(spikes), at<uint8_t>(live)},
            threads);
      },
      nb::arg("surplus"), nb::arg("count"), nb::arg("inverse_step"), nb::arg("offset"), nb::arg("largest"),
      nb::arg("step"), nb::arg("codes"), nb::arg("spikes"), nb::arg("live"), nb::arg("threads"),
      nb::call_guard<nb::gil_scoped_release>());
  module.def(
      "ternarize",
      [](uint64_t weights, int64_t count, uint64_t to, int threads, const std::string& instruction_set) {
        ternarize(at<const float>(weights), count, at<float>(to), kernels_by_name(instruction_set), threads);
      },
      nb::arg("weights"), nb::arg("count"), nb::arg("to"), nb::arg("threads"),
      nb::arg("instruction_set") = "", nb::call_guard<nb::gil_scoped_release>());
  module.def(
      "set_parallel",
      [](uint64_t function) { set_parallel(at<void(void (*)(void*), void*, unsigned, unsigned)>(function)); },
      nb::arg("function"));
  nb::class_<LowBitConv>(module, "LowBitConv")
      .def(
          "__init__",
          [](LowBitConv* conv, uint64_t weights, uint64_t scale, Pair in, Pair out, Pair channels,
             Pair kernel, Pair stride, Pair padding, int32_t max_code, int threads,
             const std::string& instruction_set) {
            const auto [in_height, in_width] = in;
            const auto [out_height, out_width] = out;
            const auto [in_channels, out_channels] = channels;
            const auto [kernel_y, kernel_x] = kernel;
            const auto [stride_y, stride_x] = stride;
            const auto [pad_y, pad_x] = padding;
            const ConvShape shape{in_height,    in_width, in_channels, out_height, out_width,
                                  out_channels, kernel_y, kernel_x,    stride_y,   stride_x,
                                  pad_y,        pad_x,    max_code,    1};
            new (conv) LowBitConv(shape, at<const float>(weights), at<float>(scale),
                                  kernels_by_name(instruction_set), threads);
          },
          nb::arg("weights"), nb::arg("scale"), nb::arg("in_size"), nb::arg("out_size"), nb::arg("channels"),
          nb::arg("kernel"), nb::arg("stride"), nb::arg("padding"), nb::arg("max_code"), nb::arg("threads"),
          nb::arg("instruction_set") = "", nb::call_guard<nb::gil_scoped_release>())
      .def(
          "forward",
          [](const LowBitConv& conv, uint64_t codes, int64_t images, uint64_t scale, uint64_t y,
             int threads) {
            conv.forward(at<const uint8_t>(codes), images, at<const float>(scale), at<float>(y), threads);
          },
          nb::arg("codes"), nb::arg("images"), nb::arg("scale"), nb::arg("y"), nb::arg("threads"),
          nb::call_guard<nb::gil_scoped_release>())
      .def(
          "backward",
          [](const LowBitConv& conv, uint64_t dy, int64_t images, uint64_t codes, float step,
             uint64_t weight_gradient, uint64_t live, uint64_t scale, uint64_t input_gradient, int threads) {
            const LowBitConv::ToWeights weights{at<const uint8_t>(codes), step, at<float>(weight_gradient)};
            const LowBitConv::ToInput input{at<const uint8_t>(live), at<const float>(scale),
                                            at<float>(input_gradient)};
            conv.backward(at<const float>(dy), images, weight_gradient == 0 ? nullptr : &weights,
                          input_gradient == 0 ? nullptr : &input, threads);
          },
          nb::arg("dy"), nb::arg("images"), nb::arg("codes"), nb::arg("step"), nb::arg("weight_gradient"),
          nb::arg("live"), nb::arg("scale"), nb::arg("input_gradient"), nb::arg("threads"),
          nb::call_guard<nb::gil_scoped_release>());
}

} // namespace hdlif
