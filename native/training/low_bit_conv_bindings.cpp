// Python bindings of convolutions of codes. Addresses of tensors are not checked here:
// hdlif.nn.kernels.code_conv has checked the tensors.
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "../kernels_by_name.h"
#include "batch_norm.h"
#include "low_bit_conv.h"
#include "low_bit_weights.h"
#include "spike_codes.h"
#include "training_pool.h"
#include "winograd.h"

namespace nb = nanobind;

namespace hdlif {
namespace {

using Pair = std::tuple<int32_t, int32_t>;

template <typename T> T* at(uint64_t address) {
  return reinterpret_cast<T*>(address);
}

// One of the backward passes; a gradient at address 0 is not computed.
template <auto pass>
void back(const LowBitConv& conv, uint64_t dy, int64_t images, uint64_t codes, float step,
          uint64_t weight_gradient, uint64_t live, uint64_t scale, uint64_t input_gradient, int threads) {
  const LowBitConv::ToWeights weights{at<const uint8_t>(codes), step, at<float>(weight_gradient)};
  const LowBitConv::ToInput input{at<const uint8_t>(live), at<const float>(scale), at<float>(input_gradient)};
  (conv.*pass)(at<const float>(dy), images, weight_gradient == 0 ? nullptr : &weights,
               input_gradient == 0 ? nullptr : &input, threads);
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
      "count_events",
      [](uint64_t codes, int64_t count, int threads) {
        return count_events(at<const uint8_t>(codes), count, threads);
      },
      nb::arg("codes"), nb::arg("count"), nb::arg("threads"), nb::call_guard<nb::gil_scoped_release>());
  module.def(
      "pool_codes",
      [](uint64_t codes, int64_t images, Pair size, int64_t channels, Pair window, uint64_t sums,
         int threads) {
        const auto [height, width] = size;
        const auto [window_height, window_width] = window;
        pool_codes(at<const uint8_t>(codes), {images, height, width, channels}, window_height, window_width,
                   at<uint8_t>(sums), threads);
      },
      nb::arg("codes"), nb::arg("images"), nb::arg("size"), nb::arg("channels"), nb::arg("window"),
      nb::arg("sums"), nb::arg("threads"), nb::call_guard<nb::gil_scoped_release>());
  module.def(
      "ternarize",
      [](uint64_t weights, int64_t count, uint64_t to, int threads, const std::string& instruction_set) {
        return ternarize(at<const float>(weights), count, at<float>(to), kernels_by_name(instruction_set),
                         threads);
      },
      nb::arg("weights"), nb::arg("count"), nb::arg("to"), nb::arg("threads"),
      nb::arg("instruction_set") = "", nb::call_guard<nb::gil_scoped_release>());
  module.def(
      "set_parallel",
      [](uint64_t function) { set_parallel(at<void(void (*)(void*), void*, unsigned, unsigned)>(function)); },
      nb::arg("function"));
  module.def(
      "batch_moments",
      [](uint64_t maps, int64_t images, int64_t group, int64_t pixels, int32_t channels, bool channels_last,
         uint64_t totals, uint64_t squares, int threads, const std::string& instruction_set) {
        batch_moments(at<const float>(maps), {images, group, pixels, channels, channels_last},
                      at<double>(totals), at<double>(squares), kernels_by_name(instruction_set), threads);
      },
      nb::arg("maps"), nb::arg("images"), nb::arg("group"), nb::arg("pixels"), nb::arg("channels"),
      nb::arg("channels_last"), nb::arg("totals"), nb::arg("squares"), nb::arg("threads"),
      nb::arg("instruction_set") = "", nb::call_guard<nb::gil_scoped_release>());
  module.def(
      "batch_norm_rows",
      [](uint64_t weight, uint64_t bias, double eps, uint64_t running_mean, uint64_t running_var,
         const std::vector<int64_t>& steps, const std::vector<double>& momenta, uint64_t totals,
         uint64_t squares, int64_t count, uint64_t unit, bool are_units, int64_t channels, uint64_t mean,
         uint64_t scale, uint64_t shift, uint64_t slope) {
        const BatchNorm norm{at<const float>(weight), at<const float>(bias),  eps,
                             at<float>(running_mean), at<float>(running_var), steps.data(),
                             momenta.data()};
        const Moments moments{at<const double>(totals), at<const double>(squares), count,
                              at<const float>(unit)};
        const NormRows rows{at<float>(mean), at<float>(scale), at<float>(shift), at<float>(slope)};
        batch_norm_rows(norm, moments, are_units, int64_t(steps.size()), channels, rows);
      },
      nb::arg("weight"), nb::arg("bias"), nb::arg("eps"), nb::arg("running_mean"), nb::arg("running_var"),
      nb::arg("steps"), nb::arg("momenta"), nb::arg("totals"), nb::arg("squares"), nb::arg("count"),
      nb::arg("unit"), nb::arg("are_units"), nb::arg("channels"), nb::arg("mean"), nb::arg("scale"),
      nb::arg("shift"), nb::arg("slope"));
  module.def(
      "batch_norm_gradients",
      [](uint64_t mean, uint64_t scale, uint64_t slope, int64_t count, int64_t groups, int64_t channels,
         uint64_t of_scale, uint64_t of_shift, uint64_t of_weight, uint64_t of_bias, uint64_t x_shift,
         uint64_t x_slope) {
        const NormRows rows{at<float>(mean), at<float>(scale), nullptr, at<float>(slope)};
        const RowGradients gradients{at<const float>(of_scale), at<const float>(of_shift),
                                     at<float>(of_weight),      at<float>(of_bias),
                                     at<float>(x_shift),        at<float>(x_slope)};
        batch_norm_gradients(rows, count, groups, channels, gradients);
      },
      nb::arg("mean"), nb::arg("scale"), nb::arg("slope"), nb::arg("count"), nb::arg("groups"),
      nb::arg("channels"), nb::arg("of_scale"), nb::arg("of_shift"), nb::arg("of_weight"), nb::arg("of_bias"),
      nb::arg("x_shift"), nb::arg("x_slope"));
  module.def(
      "normalise",
      [](uint64_t x, uint64_t mean, uint64_t scale, uint64_t shift, uint64_t plus, int64_t plus_images,
         int64_t images, int64_t group, int64_t pixels, int32_t channels, bool channels_last, uint64_t y,
         int threads, const std::string& instruction_set) {
        const NormRows rows{at<float>(mean), at<float>(scale), at<float>(shift), nullptr};
        normalise(at<const float>(x), rows, at<const float>(plus), plus_images,
                  {images, group, pixels, channels, channels_last}, at<float>(y),
                  kernels_by_name(instruction_set), threads);
      },
      nb::arg("x"), nb::arg("mean"), nb::arg("scale"), nb::arg("shift"), nb::arg("plus"),
      nb::arg("plus_images"), nb::arg("images"), nb::arg("group"), nb::arg("pixels"), nb::arg("channels"),
      nb::arg("channels_last"), nb::arg("y"), nb::arg("threads"), nb::arg("instruction_set") = "",
      nb::call_guard<nb::gil_scoped_release>());
  module.def(
      "sum_row_gradients",
      [](uint64_t gradient, uint64_t x, uint64_t mean, int64_t images, int64_t group, int64_t pixels,
         int32_t channels, bool channels_last, uint64_t of_scale, uint64_t of_shift, int threads,
         const std::string& instruction_set) {
        sum_row_gradients(at<const float>(gradient), at<const float>(x), at<const float>(mean),
                          {images, group, pixels, channels, channels_last}, at<float>(of_scale),
                          at<float>(of_shift), kernels_by_name(instruction_set), threads);
      },
      nb::arg("gradient"), nb::arg("x"), nb::arg("mean"), nb::arg("images"), nb::arg("group"),
      nb::arg("pixels"), nb::arg("channels"), nb::arg("channels_last"), nb::arg("of_scale"),
      nb::arg("of_shift"), nb::arg("threads"), nb::arg("instruction_set") = "",
      nb::call_guard<nb::gil_scoped_release>());
  module.def(
      "maps_gradient",
      [](uint64_t gradient, uint64_t x, uint64_t scale, uint64_t shift, uint64_t slope, int64_t images,
         int64_t group, int64_t pixels, int32_t channels, bool channels_last, uint64_t to, int threads,
         const std::string& instruction_set) {
        maps_gradient(at<const float>(gradient), at<const float>(x), at<const float>(scale),
                      at<const float>(shift), at<const float>(slope),
                      {images, group, pixels, channels, channels_last}, at<float>(to),
                      kernels_by_name(instruction_set), threads);
      },
      nb::arg("gradient"), nb::arg("x"), nb::arg("scale"), nb::arg("shift"), nb::arg("slope"),
      nb::arg("images"), nb::arg("group"), nb::arg("pixels"), nb::arg("channels"), nb::arg("channels_last"),
      nb::arg("to"), nb::arg("threads"), nb::arg("instruction_set") = "",
      nb::call_guard<nb::gil_scoped_release>());
  module.def(
      "winograd_convolve",
      [](uint64_t weights, Pair channels, bool is_back, uint64_t x, int64_t images, Pair size, uint64_t y,
         int threads, const std::string& instruction_set) {
        const auto [out_channels, in_channels] = channels;
        const auto [height, width] = size;
        const WinogradKernels kernels(at<const float>(weights), out_channels, in_channels, is_back,
                                      kernels_by_name(instruction_set), threads);
        winograd_convolve(at<const float>(x), {images, height, width, kernels.rows(), kernels.columns()},
                          kernels, at<float>(y), threads);
      },
      nb::arg("weights"), nb::arg("channels"), nb::arg("is_back"), nb::arg("x"), nb::arg("images"),
      nb::arg("size"), nb::arg("y"), nb::arg("threads"), nb::arg("instruction_set") = "",
      nb::call_guard<nb::gil_scoped_release>());
  module.def(
      "winograd_kernel_gradient",
      [](uint64_t x, uint64_t dy, int64_t images, Pair size, Pair channels, uint64_t gradient, int threads,
         const std::string& instruction_set) {
        const auto [height, width] = size;
        const auto [out_channels, in_channels] = channels;
        winograd_kernel_gradient(at<const float>(x), at<const float>(dy),
                                 {images, height, width, in_channels, out_channels}, at<float>(gradient),
                                 kernels_by_name(instruction_set), threads);
      },
      nb::arg("x"), nb::arg("dy"), nb::arg("images"), nb::arg("size"), nb::arg("channels"),
      nb::arg("gradient"), nb::arg("threads"), nb::arg("instruction_set") = "",
      nb::call_guard<nb::gil_scoped_release>());
  nb::class_<LowBitConv>(module, "LowBitConv")
      .def(
          "__init__",
          [](LowBitConv* conv, uint64_t weights, uint64_t scale, Pair in, Pair out, Pair channels,
             Pair kernel, Pair stride, Pair padding, int32_t max_code, int threads,
             const std::string& instruction_set, float most_events) {
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
                                  kernels_by_name(instruction_set), threads, most_events);
          },
          nb::arg("weights"), nb::arg("scale"), nb::arg("in_size"), nb::arg("out_size"), nb::arg("channels"),
          nb::arg("kernel"), nb::arg("stride"), nb::arg("padding"), nb::arg("max_code"), nb::arg("threads"),
          nb::arg("instruction_set") = "", nb::arg("most_events") = -1.0f,
          nb::call_guard<nb::gil_scoped_release>())
      .def(
          "forward",
          [](const LowBitConv& conv, uint64_t codes, int64_t images, uint64_t scale, uint64_t y,
             int64_t group, uint64_t totals, uint64_t squares, int threads) {
            const LowBitConv::ToMoments moments{group, at<double>(totals), at<double>(squares)};
            conv.forward(at<const uint8_t>(codes), images, at<const float>(scale), at<float>(y),
                         totals == 0 ? nullptr : &moments, threads);
          },
          nb::arg("codes"), nb::arg("images"), nb::arg("scale"), nb::arg("y"), nb::arg("group"),
          nb::arg("totals"), nb::arg("squares"), nb::arg("threads"), nb::call_guard<nb::gil_scoped_release>())
      .def("sums_squares", &LowBitConv::sums_squares, nb::arg("group"))
      .def("multiplies_bfloat16", &LowBitConv::multiplies_bfloat16)
      .def("backward", back<&LowBitConv::backward>, nb::arg("dy"), nb::arg("images"), nb::arg("codes"),
           nb::arg("step"), nb::arg("weight_gradient"), nb::arg("live"), nb::arg("scale"),
           nb::arg("input_gradient"), nb::arg("threads"), nb::call_guard<nb::gil_scoped_release>())
      .def("backward_in_bfloat16", back<&LowBitConv::backward_in_bfloat16>, nb::arg("dy"), nb::arg("images"),
           nb::arg("codes"), nb::arg("step"), nb::arg("weight_gradient"), nb::arg("live"), nb::arg("scale"),
           nb::arg("input_gradient"), nb::arg("threads"), nb::call_guard<nb::gil_scoped_release>());
}

} // namespace hdlif
