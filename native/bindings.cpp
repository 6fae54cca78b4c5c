// Python bindings of the runtime; see training/chunk_bindings.cpp for training. Array shapes are checked
// here, and the code below gets pointers.
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "abi/deployed.h"
#include "call_limits.h"
#include "hdlif.h"
#include "kernels/kernels.h"

namespace nb = nanobind;

namespace hdlif {
namespace {

using Floats = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using OutFloats = nb::ndarray<float, nb::c_contig, nb::device::cpu>;
// none if the run begins at zeros and needs no final state
using Potentials = std::optional<std::vector<OutFloats>>;
using OutSeconds = nb::ndarray<double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

std::vector<const Kernels*> all_kernels() {
  std::vector<const Kernels*> tables(8);
  tables.resize(size_t(available_kernels(tables.data(), int(tables.size()))));
  return tables;
}

void require(bool holds, const char* message) {
  if (!holds)
    throw nb::value_error(message);
}

bool signals_let_go_on(void*) {
  nb::gil_scoped_acquire acquire;
  return PyErr_CheckSignals() == 0;
}

// Calls body(watch) without the GIL. At intervals, takes the GIL to handle signals, whose handlers may raise.
template <typename Body> void watched(const Body& body) {
  Watch watch(signals_let_go_on, nullptr);
  try {
    nb::gil_scoped_release release;
    body(watch);
  } catch (const Interrupted&) {
    if (PyErr_Occurred() != nullptr)
      throw nb::python_error();
    throw;
  }
}

std::vector<float*> pointers_of(const std::vector<OutFloats>& arrays) {
  std::vector<float*> pointers;
  for (const OutFloats& array : arrays)
    pointers.push_back(array.data());
  return pointers;
}

class Network {
public:
  Network(nb::bytes content, int threads, const std::string& instructions, int64_t max_bytes,
          int64_t max_operations) {
    require(threads >= 1 && threads <= kMaxThreads, "threads must be an integer in 1..256");
    OpenOptions options;
    options.threads = threads;
    options.kernels = &chosen_kernels(instructions);
    options.max_bytes = max_bytes;
    options.max_operations = max_operations;
    const auto* bytes = static_cast<const uint8_t*>(content.data());
    const size_t size = content.size();
    nb::gil_scoped_release release;
    deployed = Deployed::open(bytes, size, options);
  }

  // Name, shape without batch, largest code or 0, and whether the value is constant if the input is.
  using ValueType = std::tuple<std::string, std::vector<int32_t>, int32_t, bool>;
  std::vector<ValueType> values() const {
    std::vector<ValueType> found;
    for (size_t i = 0; i < deployed->values.size(); ++i) {
      const Value& type = graph().values[i];
      std::vector<int32_t> shape{type.channels};
      if (type.is_map)
        shape.insert(shape.end(), {type.height, type.width});
      found.emplace_back(deployed->values[i], std::move(shape), type.max_code, type.constant);
    }
    return found;
  }
  // Returns the name of each state, and the index of the value with the same shape.
  std::vector<std::pair<std::string, int32_t>> states() const {
    std::vector<std::pair<std::string, int32_t>> found;
    for (size_t i = 0; i < deployed->states.size(); ++i)
      found.emplace_back(deployed->states[i], graph().stateful[i] + 1);
    return found;
  }
  std::vector<std::pair<std::string, std::vector<int32_t>>> passes() const {
    std::vector<std::pair<std::string, std::vector<int32_t>>> found;
    for (const Pass& pass : deployed->session().passes())
      found.emplace_back(name_of(pass.fused.kernel), pass.nodes);
    return found;
  }

  std::pair<int64_t, double> cost(int64_t batch, int64_t steps, bool is_static, bool keeps_all,
                                  bool owns_potentials) {
    const Deployed::Cost cost =
        deployed->cost(is_static ? 1 : steps, batch, steps, keeps_all, owns_potentials);
    return {cost.bytes, cost.operations};
  }

  // Includes the arrays of results, which hold codes as floats and as bytes.
  void check(int64_t batch, int64_t steps, bool is_static, bool keeps_all, bool gives_state) {
    const std::vector<Value>& types = graph().values;
    double entries = double(steps) * double(types[size_t(graph().output)].size()), codes = 0;
    for (int32_t n : graph().stateful)
      entries += gives_state ? double(types[size_t(n) + 1].size()) : 0;
    for (const Value& type : types)
      codes += keeps_all ? 5 * double(steps) * double(type.size()) : 0;
    deployed->check(is_static ? 1 : steps, batch, steps, keeps_all, !gives_state,
                    double(batch) * (4 * entries + codes));
  }

  void run(Floats x, int64_t steps, int64_t t, const Potentials& potentials, OutFloats logits,
           std::optional<OutSeconds> seconds) {
    Kept kept;
    if (seconds) {
      require(seconds->size() == graph().nodes.size(), "seconds must have one entry per node");
      kept.seconds = seconds->data();
    }
    run_and_keep(x, steps, t, potentials, logits, kept);
  }

  void run_values(Floats x, int64_t steps, OutFloats logits, const std::vector<OutFloats>& values) {
    const std::vector<Value>& types = graph().values;
    require(values.size() == types.size() && x.ndim() == 5,
            "values must have one array per value of the graph");
    for (size_t i = 0; i < types.size(); ++i)
      require(int64_t(values[i].size()) == steps * int64_t(x.shape(1)) * types[i].size(),
              "values: an array has the wrong size");
    const std::vector<float*> kept = pointers_of(values);
    run_and_keep(x, steps, 0, {}, logits, {kept.data(), nullptr});
  }

  const Graph& graph() const { return deployed->graph(); }

  std::shared_ptr<Deployed> deployed;

private:
  static const Kernels& chosen_kernels(const std::string& name) {
    std::string names;
    for (const Kernels* table : all_kernels()) {
      if (table->name == name)
        return *table;
      names += std::string(names.empty() ? "" : ", ") + table->name;
    }
    throw nb::value_error(("instructions: this machine supports " + names).c_str());
  }

  void run_and_keep(const Floats& x, int64_t steps, int64_t t, const Potentials& potentials,
                    const OutFloats& logits, const Kept& kept) {
    const std::vector<Value>& types = graph().values;
    const Value& in = types[0];
    require(x.ndim() == 5 && int64_t(x.shape(2)) == in.channels && int64_t(x.shape(3)) == in.height &&
                int64_t(x.shape(4)) == in.width,
            "x must be [K, B, C, H, W] with the network's input shape");
    const int64_t x_steps = x.shape(0), batch = x.shape(1);
    require(batch >= 1 && batch <= kMaxBatch, "x: the batch must have 1..2^20 inputs");
    require(steps >= 1 && steps <= kMaxSteps, "steps must be at least 1 and below 2^31");
    require(steps <= kMaxFrames / batch, "steps: a batch takes at most 2^32 steps in total");
    require(x_steps == 1 || x_steps == steps, "x must have 1 time step or `steps` time steps");
    require(t >= 0 && t < (int64_t(1) << 62), "t must be in 0..2^62");
    require(!potentials || potentials->size() == graph().stateful.size(),
            "potentials must have one array per state");
    for (size_t i = 0; potentials && i < potentials->size(); ++i)
      require(int64_t((*potentials)[i].size()) == batch * deployed->state(i).size(),
              "potentials: an array has the wrong size");
    require(int64_t(logits.size()) == steps * batch * types[size_t(graph().output)].size(),
            "logits: the array has the wrong size");
    const std::vector<float*> pointers = potentials ? pointers_of(*potentials) : std::vector<float*>();
    watched([&](Watch& watch) {
      deployed->session().run(x.data(), x_steps, batch, steps, t, potentials ? pointers.data() : nullptr,
                              logits.data(), kept, watch);
    });
  }
};

// An aligned, C-contiguous float32 array, read through the buffer protocol, which takes a third of the time
// of DLPack. Other arrays raise TypeError.
class PlainFloats {
public:
  PlainFloats(nb::handle array, int flags) {
    if (PyObject_GetBuffer(array.ptr(), &view_, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | flags) != 0) {
      PyErr_Clear();
      throw nb::type_error("the array must be a buffer in C order");
    }
    const std::string_view format = view_.format == nullptr ? "B" : view_.format;
    if (format != "f" || reinterpret_cast<uintptr_t>(view_.buf) % alignof(float) != 0) {
      PyBuffer_Release(&view_);
      throw nb::type_error("the array must be float32");
    }
  }
  ~PlainFloats() { PyBuffer_Release(&view_); }
  PlainFloats(const PlainFloats&) = delete;
  PlainFloats& operator=(const PlainFloats&) = delete;

  float* data() const { return static_cast<float*>(view_.buf); }
  size_t size() const { return size_t(view_.len) / sizeof(float); }

private:
  Py_buffer view_;
};

// A sequence that continues from call to call.
class Sequence {
public:
  explicit Sequence(const Network& network) : deployed_(network.deployed), stream_(network.deployed) {}

  int64_t t() const { return stream_.steps(); }
  // Returns the sums of the outputs, as float32 bytes.
  nb::bytes sums() const {
    const std::vector<float>& sums = stream_.sums();
    return nb::bytes(reinterpret_cast<const char*>(sums.data()), sums.size() * sizeof(float));
  }

  // x is [steps][C][H][W], or [C][H][W] for one step.
  void advance(nb::handle x_array, nb::handle logits_array) {
    const PlainFloats x(x_array, 0), logits(logits_array, PyBUF_WRITABLE);
    const Graph& graph = deployed_->graph();
    const size_t size = size_t(graph.values[0].size()),
                 classes = size_t(graph.values[size_t(graph.output)].size());
    require(x.size() > 0 && x.size() % size == 0 && logits.size() == x.size() / size * classes,
            "x must be [C, H, W] or [K, C, H, W] with the network's input shape");
    const auto steps = int64_t(x.size() / size);
    // very short runs neither handle signals nor release the GIL
    if (stream_.operations() * double(steps) < kShort) {
      Watch watch;
      return stream_.run(x.data(), steps, logits.data(), watch);
    }
    watched([&](Watch& watch) { stream_.run(x.data(), steps, logits.data(), watch); });
  }

  // Copies the state of each node, [H][W][C], to an array.
  void give(const std::vector<OutFloats>& to) {
    require_sizes(to);
    stream_.give(pointers_of(to).data());
  }
  void take(const std::vector<OutFloats>& from, int64_t t) {
    require_sizes(from);
    require(t >= 0 && t < (int64_t(1) << 62), "t must be in 0..2^62");
    stream_.take(pointers_of(from).data(), t);
  }

  // Returns the state in the byte format of hdlif.h.
  nb::bytes save() {
    std::string bytes(deployed_->state_size(), '\0');
    stream_.save(bytes.data(), bytes.size());
    return nb::bytes(bytes.data(), bytes.size());
  }
  void load(nb::bytes bytes) { stream_.load(bytes.data(), bytes.size()); }

private:
  static constexpr double kShort = 1 << 18;

  void require_sizes(const std::vector<OutFloats>& arrays) const {
    require(arrays.size() == deployed_->states.size(), "potentials must have one array per state");
    for (size_t i = 0; i < arrays.size(); ++i)
      require(int64_t(arrays[i].size()) == deployed_->state(i).size(),
              "potentials: an array has the wrong size");
  }

  const std::shared_ptr<Deployed> deployed_;
  DeployedStream stream_;
};

constexpr size_t kLongestText = 1000;

// Sets an exception of hdlif.errors.
void raise(const char* type, const char* text) {
  const nb::object error = nb::module_::import_("hdlif.errors").attr(type);
  PyErr_SetString(error.ptr(), printable(text, kLongestText).c_str());
}

void translate(const std::exception_ptr& thrown, void*) {
  try {
    std::rethrow_exception(thrown);
  } catch (const ArtefactError& error) {
    raise("ArtefactError", error.what());
  } catch (const TooLarge& error) {
    raise("LimitError", (std::string(error.what()) + ", the limit max_bytes").c_str());
  } catch (const TooManyBytes& error) {
    raise("LimitError", error.what());
  } catch (const CallError& error) {
    if (error.status == HDLIF_ERROR_ARGUMENT)
      PyErr_SetString(PyExc_ValueError, error.what());
    else
      raise(error.status == HDLIF_ERROR_LIMIT   ? "LimitError"
            : error.status == HDLIF_ERROR_STATE ? "StateError"
                                                : "HdlifError",
            error.what());
  } catch (const Interrupted&) {
    raise("HdlifError", "a signal handler forked this process within a run, which ends the run in the child; "
                        "start it again there");
  } catch (const std::length_error&) {
    PyErr_NoMemory();
  }
}

} // namespace

void bind_chunk(nb::module_& module);        // training/chunk_bindings.cpp
void bind_low_bit_conv(nb::module_& module); // training/low_bit_conv_bindings.cpp
void bind_learner(nb::module_& module);      // training/learner_bindings.cpp

} // namespace hdlif

NB_MODULE(_native, module) {
  using hdlif::Network;
  using hdlif::Sequence;
  nb::register_exception_translator(hdlif::translate);
  nb::set_leak_warnings(false); // a session may live until the interpreter exits
  module.def("instruction_sets", [] {
    std::vector<std::string> names;
    for (const hdlif::Kernels* table : hdlif::all_kernels())
      names.push_back(table->name);
    return names;
  });
  module.def(
      "check_artefact",
      [](nb::bytes content) {
        hdlif::read_artefact(static_cast<const uint8_t*>(content.data()), content.size(), INT64_MAX);
      },
      nb::arg("content"));
  nb::class_<Network>(module, "Network")
      .def(nb::init<nb::bytes, int, const std::string&, int64_t, int64_t>(), nb::arg("content"),
           nb::arg("threads"), nb::arg("instructions"), nb::arg("max_bytes") = INT64_MAX,
           nb::arg("max_operations") = INT64_MAX)
      .def_prop_ro("graph", [](const Network& n) { return n.deployed->record; })
      .def_prop_ro("digest", [](const Network& n) { return hdlif::hexadecimal(n.deployed->digest); })
      .def_prop_ro("values", &Network::values)
      .def_prop_ro("states", &Network::states)
      .def_prop_ro("instructions", [](const Network& n) { return std::string(n.deployed->kernels().name); })
      .def_prop_ro("passes", &Network::passes)
      .def_prop_ro("weight_bytes", [](const Network& n) { return n.deployed->weight_bytes(); })
      .def_prop_ro("working_bytes", [](Network& n) { return n.deployed->session().working_bytes(); })
      .def_prop_ro("sequence_bytes", [](const Network& n) { return n.deployed->session().flow_bytes(); })
      .def("cost", &Network::cost, nb::arg("batch"), nb::arg("steps"), nb::arg("is_static"),
           nb::arg("keeps_all"), nb::arg("owns_potentials"))
      .def("check", &Network::check, nb::arg("batch"), nb::arg("steps"), nb::arg("is_static"),
           nb::arg("keeps_all") = false, nb::arg("gives_state") = false)
      .def("run", &Network::run, nb::arg("x").noconvert(), nb::arg("steps"), nb::arg("t"),
           nb::arg("potentials").noconvert().none(), nb::arg("logits").noconvert(),
           nb::arg("seconds").noconvert() = nb::none())
      .def("run_values", &Network::run_values, nb::arg("x").noconvert(), nb::arg("steps"),
           nb::arg("logits").noconvert(), nb::arg("values").noconvert());
  nb::class_<Sequence>(module, "Sequence")
      .def(nb::init<const Network&>(), nb::arg("network"))
      .def_prop_ro("t", &Sequence::t)
      .def_prop_ro("sums", &Sequence::sums)
      .def("advance", &Sequence::advance, nb::arg("x"), nb::arg("logits"))
      .def("give", &Sequence::give, nb::arg("to").noconvert())
      .def("take", &Sequence::take, nb::arg("from").noconvert(), nb::arg("t"))
      .def("save", &Sequence::save)
      .def("load", &Sequence::load, nb::arg("state"));
  hdlif::bind_chunk(module);
  hdlif::bind_low_bit_conv(module);
  hdlif::bind_learner(module);
}
