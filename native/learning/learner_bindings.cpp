// Python bindings of a network that continues to learn. hdlif.runtime.learning has checked the arrays.
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "../artefact/artefact.h"
#include "../kernels_by_name.h"
#include "learner.h"

namespace nb = nanobind;

namespace hdlif {
namespace {

using Floats = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using OutFloats = nb::ndarray<float, nb::c_contig, nb::device::cpu>;
using Classes = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Place = std::tuple<int32_t, int32_t, bool>; // node; row, or -1 for weights; whether these are binary
using Rate = std::tuple<double, double, double>;  // rates of floats and of latents, momentum

void require(bool holds, const char* message) {
  if (!holds)
    throw nb::value_error(message);
}

// A learner that several Python threads use one after another.
struct Shared {
  Learner learner;
  std::mutex mutex;

  Shared(Graph graph, std::vector<Trained> trained, std::vector<bool> needed, LearningRate rate, int threads,
         const Kernels& kernels)
      : learner(std::move(graph), std::move(trained), std::move(needed), rate, threads, kernels) {}
};

void make(Shared* shared, nb::bytes content, const std::vector<Place>& places,
          const std::vector<bool>& needed, const Rate& rate, int threads, const std::string& instructions) {
  Artefact artefact =
      read_artefact(static_cast<const uint8_t*>(content.data()), content.size(), Session::kNoLimit);
  std::vector<Trained> trained;
  for (const auto& [node, row, is_binary] : places)
    trained.push_back({node, row, is_binary});
  const auto [floats, latents, momentum] = rate;
  new (shared)
      Shared(std::move(artefact.graph), std::move(trained), needed,
             {float(floats), float(latents), float(momentum)}, threads, kernels_by_name(instructions));
}

// Runs the steps from t on. Each entry of `learns` states whether that step is trained on the targets.
void run(Shared& shared, const Floats& x, int64_t t, const std::vector<bool>& learns,
         const std::vector<OutFloats>& potentials, const std::optional<Classes>& targets,
         const OutFloats& logits) {
  const Graph& graph = shared.learner.graph();
  const auto size = [&](int32_t value) { return graph.values[size_t(value)].size(); };
  const auto steps = int64_t(learns.size());
  require(x.ndim() == 5 && (x.shape(0) == 1 || int64_t(x.shape(0)) == steps) && x.shape(1) > 0 &&
              int64_t(x.size()) == int64_t(x.shape(0) * x.shape(1)) * size(0),
          "x must be [T or 1, B, C, H, W]");
  const auto batch = int64_t(x.shape(1));
  const int64_t apart = x.shape(0) == 1 ? 0 : batch * size(0), of_step = batch * size(graph.output);
  require(int64_t(logits.size()) == steps * of_step, "logits: the array has the wrong size");
  require(potentials.size() == graph.stateful.size() && t >= 0, "potentials must have one array per state");
  std::vector<float*> pointers;
  for (size_t i = 0; i < potentials.size(); ++i) {
    require(int64_t(potentials[i].size()) == batch * size(graph.stateful[i] + 1),
            "potentials: an array has the wrong size");
    pointers.push_back(potentials[i].data());
  }
  require(!targets || int64_t(targets->size()) == batch, "targets must have one class per sample");
  nb::gil_scoped_release release;
  const std::lock_guard<std::mutex> lock(shared.mutex);
  Watch watch;
  for (int64_t k = 0; k < steps; ++k)
    shared.learner.step(x.data() + k * apart, batch, t + k, pointers.data(),
                        targets && learns[size_t(k)] ? targets->data() : nullptr, logits.data() + k * of_step,
                        watch);
}

// Calls `read` or `write` of a learner with arrays of the values, latents and velocities of a tensor; absent
// ones are empty.
template <auto kCall, typename Array>
void exchange(Shared& shared, int64_t which, const Array& values, const Array& latents,
              const Array& velocities) {
  const Learner& learner = shared.learner;
  require(which >= 0 && which < learner.trained(), "which is not the index of a trained tensor");
  const auto fits = [&](const Array& array, bool has) {
    return int64_t(array.size()) == (has ? learner.size(which) : 0);
  };
  require(fits(values, true) && fits(latents, learner.is_latent(which)) &&
              fits(velocities, learner.has_velocities()),
          "values, latents, velocities: an array has the wrong size");
  nb::gil_scoped_release release;
  const std::lock_guard<std::mutex> lock(shared.mutex);
  (shared.learner.*kCall)(which, values.data(), latents.data(), velocities.data());
}

} // namespace

void bind_learner(nb::module_& module) {
  nb::class_<Shared>(module, "Learner")
      .def("__init__", make, nb::arg("content"), nb::arg("places"), nb::arg("needed"), nb::arg("rate"),
           nb::arg("threads"), nb::arg("instructions"))
      .def("run", run, nb::arg("x").noconvert(), nb::arg("t"), nb::arg("learns"),
           nb::arg("potentials").noconvert(), nb::arg("targets").noconvert().none(),
           nb::arg("logits").noconvert())
      .def("update",
           [](Shared& shared) {
             nb::gil_scoped_release release;
             const std::lock_guard<std::mutex> lock(shared.mutex);
             return shared.learner.update();
           })
      .def("read", exchange<&Learner::read, OutFloats>, nb::arg("which"), nb::arg("values").noconvert(),
           nb::arg("latents").noconvert(), nb::arg("velocities").noconvert())
      .def("write", exchange<&Learner::write, Floats>, nb::arg("which"), nb::arg("values").noconvert(),
           nb::arg("latents").noconvert(), nb::arg("velocities").noconvert());
}

} // namespace hdlif
