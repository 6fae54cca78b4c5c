// What runs, for Python (chunk_bindings.cpp: what trains). Shapes of arrays are checked here, once; what is
// behind gets pointers.
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "call_limits.h"
#include "kernels/kernels.h"
#include "program.h"
#include "session.h"

namespace nb = nanobind;

namespace hdlif {
namespace {

using Words = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Scalars = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Bytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using OutFloats = nb::ndarray<float, nb::c_contig, nb::device::cpu>;
// where the run begins at zeros and nobody wants them: none
using Potentials = std::optional<std::vector<OutFloats>>;
using OutSeconds = nb::ndarray<double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

std::vector<const Kernels*> all_kernels() {
  std::vector<const Kernels*> tables(8);
  tables.resize(size_t(available_kernels(tables.data(), int(tables.size()))));
  return tables;
}

class Network {
public:
  Network(Words program, Scalars scalars, const std::vector<Bytes>& buffers, int threads,
          const std::string& instructions, int64_t max_bytes)
      : session_(read(program, scalars, buffers), checked_threads(threads), chosen_kernels(instructions),
                 max_bytes) {}

  void run(Floats x, int64_t steps, int64_t t, const Potentials& potentials, OutFloats logits,
           std::optional<OutSeconds> seconds) {
    const int64_t batch = check(x, steps, t, potentials, logits);
    Kept kept;
    if (seconds) {
      require(seconds->size() == session_.program().nodes.size(), "seconds: one entry for each node");
      kept.seconds = seconds->data();
    }
    run_watched(x, batch, steps, t, potentials, logits, kept);
  }

  std::string instructions() const { return session_.kernels().name; }
  std::vector<std::pair<std::string, std::vector<int32_t>>> passes() const {
    std::vector<std::pair<std::string, std::vector<int32_t>>> found;
    for (const Pass& pass : session_.passes())
      found.emplace_back(name_of(pass.fused.kernel), pass.nodes);
    return found;
  }
  int64_t weight_bytes() const { return session_.weight_bytes(); }
  int64_t working_bytes() { return session_.working_bytes(); }

  int64_t sequence_bytes() const { return session_.flow_bytes(); }
  int64_t run_bytes(int64_t batch, int64_t steps, bool is_static, bool keeps_all, bool owns_potentials) {
    check_counts(batch, steps);
    return session_.run_bytes(batch, steps, is_static, keeps_all, owns_potentials);
  }
  double operations(int64_t batch, int64_t steps, bool is_static, bool keeps_all) const {
    check_counts(batch, steps);
    return session_.operations(batch, steps, is_static, keeps_all);
  }

  void run_and_keep(Floats x, int64_t steps, int64_t t, const Potentials& potentials, OutFloats logits,
                    const std::vector<OutFloats>& values) {
    const int64_t batch = check(x, steps, t, potentials, logits);
    const std::vector<Value>& types = session_.program().values;
    require(values.size() == types.size(), "values: one array for each value");
    for (size_t i = 0; i < types.size(); ++i)
      require(int64_t(values[i].size()) == steps * batch * types[i].size(),
              "values: an array has another size");
    const std::vector<float*> kept = pointers_of(values);
    run_watched(x, batch, steps, t, potentials, logits, {kept.data(), nullptr});
  }

  hdlif::Session& session() { return session_; }

  static void require(bool holds, const char* message) {
    if (!holds)
      throw nb::value_error(message);
  }

  static bool signals_let_go_on(void*) {
    nb::gil_scoped_acquire acquire;
    return PyErr_CheckSignals() == 0;
  }

private:
  // Lets go of the interpreter; now and then takes it back to handle signals, whose handlers may raise.
  void run_watched(const Floats& x, int64_t batch, int64_t steps, int64_t t, const Potentials& potentials,
                   const OutFloats& logits, const Kept& kept) {
    const std::vector<float*> pointers = potentials ? pointers_of(*potentials) : std::vector<float*>();
    Watch watch(signals_let_go_on, nullptr);
    try {
      nb::gil_scoped_release release;
      session_.run(x.data(), x.shape(0), batch, steps, t, potentials ? pointers.data() : nullptr,
                   logits.data(), kept, watch);
    } catch (const Interrupted&) {
      if (PyErr_Occurred() != nullptr)
        throw nb::python_error();
      throw;
    }
  }

  static int checked_threads(int threads) {
    require(threads >= 1 && threads <= kMaxThreads, "threads: an integer in 1..256");
    return threads;
  }

  static const Kernels& chosen_kernels(const std::string& name) {
    std::string names;
    for (const Kernels* table : all_kernels()) {
      if (table->name == name)
        return *table;
      names += std::string(names.empty() ? "" : ", ") + table->name;
    }
    throw nb::value_error(("instructions: this machine has " + names).c_str());
  }

  static Program read(const Words& program, const Scalars& scalars, const std::vector<Bytes>& buffers) {
    std::vector<Buffer> views;
    for (const Bytes& buffer : buffers)
      views.push_back({buffer.data(), buffer.size()});
    return read_program(program.data(), program.size(), scalars.data(), scalars.size(), views);
  }

  static std::vector<float*> pointers_of(const std::vector<OutFloats>& arrays) {
    std::vector<float*> pointers;
    for (const OutFloats& array : arrays)
      pointers.push_back(array.data());
    return pointers;
  }

  static void check_counts(int64_t batch, int64_t steps) {
    require(batch >= 1 && batch <= kMaxBatch, "x: a batch of 1..2^20");
    require(steps >= 1 && steps <= kMaxSteps, "steps: at least 1, below 2^31");
    require(steps <= kMaxFrames / batch, "steps: a batch takes at most 2^32 in all");
  }

  // Returns the batch size.
  int64_t check(const Floats& x, int64_t steps, int64_t t, const Potentials& potentials,
                const OutFloats& logits) const {
    const Program& program = session_.program();
    const Value& in = program.values[0];
    require(x.ndim() == 5 && int64_t(x.shape(2)) == in.channels && int64_t(x.shape(3)) == in.height &&
                int64_t(x.shape(4)) == in.width,
            "x: [K, B, C, H, W] of the network's input shape");
    const int64_t x_steps = x.shape(0), batch = x.shape(1);
    check_counts(batch, steps);
    require(x_steps == 1 || x_steps == steps, "x: 1 time step or as many as `steps`");
    require(t >= 0 && t < (int64_t(1) << 62), "t: 0..2^62");
    require(!potentials || potentials->size() == program.stateful.size(),
            "potentials: one array for each neuron");
    for (size_t i = 0; potentials && i < potentials->size(); ++i)
      require(int64_t((*potentials)[i].size()) == batch * program.values[program.stateful[i] + 1].size(),
              "potentials: an array has another size");
    require(int64_t(logits.size()) == steps * batch * program.values[program.output].size(),
            "logits: the array has another size");
    return batch;
  }

  Session session_;
};

// Float32 in C order where float32 may lie, by the buffer protocol, which takes a third of the time of
// DLPack; what is something else is a TypeError.
class PlainFloats {
public:
  PlainFloats(nb::handle array, int flags) {
    if (PyObject_GetBuffer(array.ptr(), &view_, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | flags) != 0) {
      PyErr_Clear();
      throw nb::type_error("no buffer in C order");
    }
    const std::string_view format = view_.format == nullptr ? "B" : view_.format;
    if (format != "f" || reinterpret_cast<uintptr_t>(view_.buf) % alignof(float) != 0) {
      PyBuffer_Release(&view_);
      throw nb::type_error("not of float32");
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

// A sequence that goes on from call to call, of a network that outlives it.
class Sequence {
public:
  explicit Sequence(Network& network)
      : session_(network.session()), flow_(session_.begin()),
        operations_(session_.operations(1, 1, false, false)) {}

  int64_t t() const { return flow_.t; }

  // x is [steps][C][H][W] or, of one step, [C][H][W].
  void advance(nb::handle x_array, nb::handle logits_array) {
    const PlainFloats x(x_array, 0), logits(logits_array, PyBUF_WRITABLE);
    const Program& program = session_.program();
    const size_t size = size_t(program.values[0].size()),
                 classes = size_t(program.values[program.output].size());
    Network::require(x.size() > 0 && x.size() % size == 0 && logits.size() == x.size() / size * classes,
                     "x: [C, H, W] or [K, C, H, W] of the network's input shape");
    if (is_busy_)
      throw std::runtime_error("busy");
    Network::require(flow_.t >= 0, "interrupted");
    const auto steps = int64_t(x.size() / size);
    // what is over in no time neither looks at signals nor lets go of the interpreter
    if (operations_ * double(steps) < kShort) {
      Watch watch;
      return session_.advance(flow_, x.data(), steps, logits.data(), watch);
    }
    const Busy busy{is_busy_};
    Watch watch(Network::signals_let_go_on, nullptr);
    try {
      nb::gil_scoped_release release;
      session_.advance(flow_, x.data(), steps, logits.data(), watch);
    } catch (const Interrupted&) {
      flow_.t = -1;
      if (PyErr_Occurred() != nullptr)
        throw nb::python_error();
      throw;
    }
  }

  // Its potentials, [H][W][C] of each, are written to `to`.
  void give(const std::vector<OutFloats>& to) {
    require_sizes(to);
    session_.put_away(flow_);
    for (size_t i = 0; i < to.size(); ++i)
      std::copy(flow_.potentials[i].begin(), flow_.potentials[i].end(), to[i].data());
  }

  // The same read from `from`, as those before step t.
  void take(const std::vector<OutFloats>& from, int64_t t) {
    require_sizes(from);
    Network::require(t >= 0 && t < (int64_t(1) << 62), "t: 0..2^62");
    for (size_t i = 0; i < from.size(); ++i)
      std::copy_n(from[i].data(), from[i].size(), flow_.potentials[i].data());
    session_.take_up(flow_);
    flow_.t = t;
  }

private:
  static constexpr double kShort = 1 << 18;

  struct Busy {
    explicit Busy(bool& flag) : flag(flag) { flag = true; }
    ~Busy() { flag = false; }
    bool& flag;
  };

  void require_sizes(const std::vector<OutFloats>& arrays) const {
    if (is_busy_)
      throw std::runtime_error("busy");
    Network::require(arrays.size() == flow_.potentials.size(), "potentials: one array for each neuron");
    for (size_t i = 0; i < arrays.size(); ++i)
      Network::require(arrays[i].size() == flow_.potentials[i].size(),
                       "potentials: an array has another size");
  }

  Session& session_;
  Flow flow_;
  const double operations_; // of a step
  bool is_busy_ = false;    // read and written where the interpreter is held
};

} // namespace
} // namespace hdlif

namespace hdlif {
void bind_chunk(nb::module_& module);        // chunk_bindings.cpp
void bind_low_bit_conv(nb::module_& module); // low_bit_conv_bindings.cpp
} // namespace hdlif

NB_MODULE(_native, module) {
  using hdlif::Network;
  nb::exception<hdlif::TooManyBytes>(module, "TooManyBytesError");
  nb::exception<hdlif::TooLong>(module, "TooLongError");
  nb::exception<hdlif::Interrupted>(module, "InterruptedError");
  nb::set_leak_warnings(false); // a session that lives until the interpreter ends is no fault
  module.def("instruction_sets", [] {
    std::vector<std::string> names;
    for (const hdlif::Kernels* table : hdlif::all_kernels())
      names.push_back(table->name);
    return names;
  });
  module.def("op_names", [] {
    std::vector<std::string> names; // in the order of their numbers
    for (int32_t number = 0; hdlif::is_op(number); ++number)
      names.push_back(hdlif::form_of(hdlif::Op(number)).name);
    return names;
  });
  nb::class_<Network>(module, "Network")
      .def(nb::init<hdlif::Words, hdlif::Scalars, const std::vector<hdlif::Bytes>&, int, const std::string&,
                    int64_t>(),
           nb::arg("program"), nb::arg("scalars"), nb::arg("buffers"), nb::arg("threads"),
           nb::arg("instructions"), nb::arg("max_bytes") = hdlif::Session::kNoLimit)
      .def_prop_ro("instructions", &Network::instructions)
      .def_prop_ro("passes", &Network::passes)
      .def_prop_ro("weight_bytes", &Network::weight_bytes)
      .def_prop_ro("working_bytes", &Network::working_bytes)
      .def_prop_ro("sequence_bytes", &Network::sequence_bytes)
      .def("run_bytes", &Network::run_bytes, nb::arg("batch"), nb::arg("steps"), nb::arg("is_static"),
           nb::arg("keeps_all"), nb::arg("owns_potentials"))
      .def("operations", &Network::operations, nb::arg("batch"), nb::arg("steps"), nb::arg("is_static"),
           nb::arg("keeps_all"))
      .def("run", &Network::run, nb::arg("x").noconvert(), nb::arg("steps"), nb::arg("t"),
           nb::arg("potentials").noconvert().none(), nb::arg("logits").noconvert(),
           nb::arg("seconds").noconvert() = nb::none())
      .def("run_and_keep", &Network::run_and_keep, nb::arg("x").noconvert(), nb::arg("steps"), nb::arg("t"),
           nb::arg("potentials").noconvert().none(), nb::arg("logits").noconvert(),
           nb::arg("values").noconvert());
  nb::class_<hdlif::Sequence>(module, "Sequence")
      .def(nb::init<Network&>(), nb::arg("network"), nb::keep_alive<1, 2>())
      .def_prop_ro("t", &hdlif::Sequence::t)
      .def("advance", &hdlif::Sequence::advance, nb::arg("x"), nb::arg("logits"))
      .def("give", &hdlif::Sequence::give, nb::arg("to").noconvert())
      .def("take", &hdlif::Sequence::take, nb::arg("from").noconvert(), nb::arg("t"));
  hdlif::bind_chunk(module);
  hdlif::bind_low_bit_conv(module);
}
