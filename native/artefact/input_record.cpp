#include "input_record.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "../graph.h"
#include "fields.h"
#include "utf8.h"

namespace hdlif {
namespace {

constexpr int64_t kMostSide = 1 << 16; // pixels of a sensor
constexpr int64_t kLargestStride = 1024;
constexpr size_t kMostLevels = 8;
constexpr int64_t kMostRate = 100'000;  // samples per second of sensors
constexpr size_t kLongestColumn = 1000; // characters in the name of a column

[[noreturn]] void refuse_input(const std::string& what) {
  throw ArtefactError("input." + what + kDamaged);
}

void require(bool holds, const std::string& what) {
  if (!holds)
    refuse_input(what);
}

std::vector<float> channels_of(const std::string& key, const Json& value, int32_t channels, bool positive) {
  const std::vector<double> numbers = floats_of("input." + key, value);
  const bool fits = numbers.size() == size_t(channels) &&
                    std::all_of(numbers.begin(), numbers.end(), [&](double v) { return !positive || v > 0; });
  if (!fits)
    refuse("input." + key, value,
           std::to_string(channels) + " finite numbers" + (positive ? " above 0" : ""));
  return {numbers.begin(), numbers.end()};
}

void check_columns(const Json& value, const InputRecord& record) {
  check_list("input.columns", value);
  std::set<std::string> names;
  value.entries([&](const Json& entry) {
    const std::string name = string_of("input.columns", entry);
    require(is_printable_name(name, kLongestColumn),
            "columns: " + brief(name) + " is not a printable name of 1 to 1000 characters");
    names.insert(name);
  });
  if (value.count() == 0)
    return;
  require((record.kind == "series" || record.kind == "table") && value.count() == size_t(record.shape[0]) &&
              names.size() == value.count(),
          "columns must be " + std::to_string(record.shape[0]) +
              " different names, and kind must be \"series\" or \"table\"");
}

// Checks a pair of integers that only a time series may have; returns false if the list is empty.
bool check_pair(const std::string& key, const Json& value, const InputRecord& record, int64_t most) {
  const std::vector<int64_t> numbers = integers_of("input." + key, value);
  if (numbers.empty())
    return false;
  const bool fits =
      numbers.size() == 2 && record.kind == "series" &&
      std::all_of(numbers.begin(), numbers.end(), [&](int64_t v) { return v >= 1 && v <= most; });
  if (!fits)
    refuse("input." + key, value,
           "two integers in 1.." + std::to_string(most) + ", and input.kind must be \"series\"");
  return true;
}

void check_events(const std::optional<Json>& sensor, const std::string& binning, const std::string& resize,
                  const InputRecord& record) {
  if (record.kind != "events") {
    require(binning == "none" && !sensor && resize != "pool",
            "binning, sensor and resize \"pool\" apply only to events; this input is of kind " + record.kind);
    return;
  }
  if (!sensor) {
    require(resize != "pool", "resize = \"pool\" requires input.sensor");
    return;
  }
  const std::vector<int64_t> sides = integers_of("input.sensor", *sensor);
  if (sides.size() != 2 ||
      std::any_of(sides.begin(), sides.end(), [](int64_t v) { return v < 1 || v > kMostSide; }))
    refuse("input.sensor", *sensor, "[H, W], integers in 1..65536");
  require(sides[0] * sides[1] <= kMaxElements && record.shape[0] == 2 && binning != "none",
          "sensor requires 2 channels, a binning and at most 2^30 pixels");
  require(resize != "none" || (sides[0] == record.shape[1] && sides[1] == record.shape[2]),
          "resize = \"none\" requires H and W of input.shape to equal input.sensor");
}

void check_sound(const Json& value, const InputRecord& record, int32_t time_steps, bool has_more) {
  const std::string where = "input.sound";
  check_object(where, value,
               {"clips", "every", "frame", "highest_hz", "hop", "lowest_hz", "mels", "rate", "samples"});
  const auto integer = [&](std::string_view key, int64_t least, int64_t most) {
    return integer_of(where + "." + std::string(key), member(value, key), least, most);
  };
  const int64_t rate = integer("rate", 1000, 384'000), samples = integer("samples", 1, 1 << 24),
                mels = integer("mels", 1, 256), hop = integer("hop", 1, 1 << 14);
  integer("every", 1, 1 << 24);
  integer("frame", 2, 1 << 14);
  word_of(where + ".clips", member(value, "clips"), {"first", "centre", "windows"});
  const double lowest = float_of(where + ".lowest_hz", member(value, "lowest_hz")),
               highest = float_of(where + ".highest_hz", member(value, "highest_hz"));
  require(samples >= hop, "sound: samples must be at least hop");
  require(lowest >= 0 && lowest < highest && highest <= double(rate) / 2,
          "sound: lowest_hz and highest_hz must ascend in 0..rate / 2");
  require(record.kind == "series" && mels == record.shape[0] && !has_more,
          "sound requires kind = \"series\" with " + std::to_string(mels) +
              " channels, and no columns, rates, windows or shortest");
  require(samples / hop == time_steps, "sound gives " + std::to_string(samples / hop) +
                                           " frames, but time_steps = " + std::to_string(time_steps) +
                                           "; they must be equal");
}

// Reads the strides of a detector's levels, and checks the IoU from which boxes are dropped (1: none).
void read_levels(const Json& value, TaskRecord& record) {
  if (const std::optional<Json> strides = value.find("strides")) {
    check_list("task.strides", *strides);
    strides->entries([&](const Json& entry) {
      const int64_t least = record.strides.empty() ? 1 : record.strides.back() + 1;
      record.strides.push_back(int32_t(integer_of("task.strides", entry, least, kLargestStride)));
    });
  }
  const std::optional<Json> overlap = value.find("overlap");
  const double least = overlap ? float_of("task.overlap", *overlap) : 1;
  const size_t levels = record.strides.size();
  if (record.has_boxes ? levels < 1 || levels > kMostLevels || !(least > 0 && least <= 1)
                       : levels > 0 || least != 1)
    throw ArtefactError(
        std::string(
            "task.strides and task.overlap apply only to task.kind \"detect\": 1 to 8 ascending integers in "
            "1..1024, and a number above 0 and at most 1") +
        kDamaged);
}

} // namespace

int64_t TaskRecord::outputs(size_t labels, const std::array<int32_t, 3>& input) const {
  if (!has_boxes)
    return int64_t(labels);
  int64_t places = 0;
  for (const int32_t stride : strides)
    places += int64_t((input[1] - 1) / stride + 1) * ((input[2] - 1) / stride + 1);
  return int64_t(labels + 4) * places; // fits in 64 bits: a header holds fewer than 2^29 labels
}

InputRecord read_input(const Json& value, int32_t time_steps) {
  check_object("input", value, {"kind", "mean", "resize", "shape", "std"},
               {"binning", "columns", "fit", "frames", "rates", "sensor", "shortest", "sound", "windows"});
  InputRecord record;
  const std::vector<int64_t> shape = integers_of("input.shape", member(value, "shape"));
  if (shape.size() != 3 || !is_shape(shape) || entries_of(shape) < 1)
    refuse("input.shape", member(value, "shape"), "[C, H, W], integers of at least 1");
  std::copy(shape.begin(), shape.end(), record.shape.begin());
  record.mean = channels_of("mean", member(value, "mean"), record.shape[0], false);
  record.std = channels_of("std", member(value, "std"), record.shape[0], true);
  record.kind = word_of("input.kind", member(value, "kind"), {"image", "events", "series", "table"});
  record.whole = record.kind == "image" ? 255.0f : 1.0f;
  const std::string resize =
      word_of("input.resize", member(value, "resize"), {"none", "nearest", "bilinear", "bicubic", "pool"});
  const auto word = [&](std::string_view key, const char* otherwise, Names accepted) {
    const std::optional<Json> found = value.find(key);
    return found ? word_of("input." + std::string(key), *found, accepted) : std::string(otherwise);
  };
  word("fit", "squash", {"squash", "crop", "letterbox"});
  const std::string binning = word("binning", "none", {"none", "by_number", "by_time"});
  record.frames = word("frames", "constant", {"constant", "rows", "pixels"});
  const bool is_pixel = record.shape[1] == 1 && record.shape[2] == 1;
  require(record.frames != "rows" || (record.kind != "events" && record.shape[1] == 1),
          "frames = \"rows\" requires H = 1 and a kind other than \"events\"");
  require(record.frames != "pixels" || (record.kind == "image" && is_pixel),
          "frames = \"pixels\" requires kind = \"image\", H = 1 and W = 1");
  const auto side = int32_t(std::lround(std::sqrt(double(time_steps))));
  require(record.frames != "pixels" || side * side == time_steps,
          "frames = \"pixels\" requires time_steps to be a square number");
  require(record.kind != "series" || (record.shape[2] == 1 && resize == "none"),
          "kind = \"series\" requires a shape with W = 1, and resize = \"none\"");
  require(record.kind != "table" || (is_pixel && resize == "none" && record.frames == "constant"),
          "kind = \"table\" requires a shape [C, 1, 1], frames = \"constant\" and resize = \"none\"");
  check_events(value.find("sensor"), binning, resize, record);
  bool has_more = false;
  if (const std::optional<Json> columns = value.find("columns")) {
    check_columns(*columns, record);
    has_more |= columns->count() > 0;
  }
  if (const std::optional<Json> rates = value.find("rates"))
    has_more |= check_pair("rates", *rates, record, kMostRate);
  if (const std::optional<Json> windows = value.find("windows"))
    has_more |= check_pair("windows", *windows, record, INT32_MAX);
  if (const std::optional<Json> shortest = value.find("shortest")) {
    // The minimum number of steps of time series with different lengths, which are not cut into windows; 0 if
    // all lengths are equal.
    const int64_t fewest = integer_of("input.shortest", *shortest, 0, time_steps);
    const std::optional<Json> windows = value.find("windows");
    require(fewest == 0 || (record.kind == "series" && !(windows && windows->count() > 0)),
            "shortest applies only to time series that are not cut into windows");
    has_more |= fewest > 0;
  }
  if (const std::optional<Json> sound = value.find("sound"))
    check_sound(*sound, record, time_steps, has_more);
  return record;
}

TaskRecord read_task(const Json& value, int32_t time_steps, size_t outputs) {
  check_object("task", value, {"ahead", "combine", "delay", "kind", "mean", "std", "threshold"},
               {"overlap", "strides"});
  const std::string kind =
      word_of("task.kind", member(value, "kind"),
              {"classify", "sequence", "regress", "multilabel", "segment", "instances", "detect"});
  const std::string combine = word_of("task.combine", member(value, "combine"), {"mean", "last", "each"});
  const bool is_each = combine == "each";
  if (is_each != (kind == "sequence") && kind != "regress" && kind != "detect")
    throw ArtefactError(
        std::string("task.combine does not go with task.kind; \"sequence\" requires \"each\", which only "
                    "\"sequence\", \"regress\" and \"detect\" accept") +
        kDamaged);
  integer_of("task.delay", member(value, "delay"), 0, is_each ? time_steps - 1 : 0);
  integer_of("task.ahead", member(value, "ahead"), 0, is_each && kind == "regress" ? INT32_MAX : 0);
  for (const char* key : {"mean", "std"}) {
    const std::vector<double> numbers = floats_of(std::string("task.") + key, member(value, key));
    const bool is_std = key[0] == 's';
    const bool fits =
        numbers.size() == (kind == "regress" ? outputs : 0) &&
        std::all_of(numbers.begin(), numbers.end(), [&](double v) { return !is_std || v >= kLeastNormal; });
    if (!fits)
      refuse(std::string("task.") + key, member(value, key),
             std::string("for \"regress\" a list with one finite number") + (is_std ? " above 0" : "") +
                 " per output, otherwise empty");
  }
  const double threshold = float_of("task.threshold", member(value, "threshold"));
  if (!(threshold > 0 && threshold < 1))
    refuse("task.threshold", member(value, "threshold"), "between 0 and 1");
  TaskRecord record;
  record.classifies = kind == "classify";
  record.has_objects = kind == "instances";
  record.has_maps = record.has_objects || kind == "segment";
  record.has_boxes = kind == "detect";
  record.takes_mean = combine == "mean";
  read_levels(value, record);
  return record;
}

} // namespace hdlif
