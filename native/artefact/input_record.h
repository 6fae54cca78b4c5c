// What a network takes, and what its outputs mean.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "json.h"

namespace hdlif {

struct InputRecord {
  std::string kind, frames = "constant";
  std::array<int32_t, 3> shape{}; // C, H, W
  std::vector<float> mean, std;   // of each channel
  float whole = 1;                // what counts as 1: of pixels 255
};

// Checks every field; throws `ArtefactError`.
InputRecord read_input(const Json& record, int32_t time_steps);
struct TaskRecord {
  bool classifies = true;       // one class of a sample
  bool has_maps = false;        // the output is a map, with a channel for each label
  bool has_objects = false;     // these are background, boundary and inside of objects
  bool has_boxes = false;       // it is a detector's
  bool takes_mean = true;       // the answer is read off the mean of the outputs of all steps so far
  std::vector<int32_t> strides; // of a detector: input pixels from one place of each level to the next

  // The channels of the output, from the number of labels and the input's shape: one for each label; of a
  // detector, a score for each label and four distances at each place of all levels.
  int64_t outputs(size_t labels, const std::array<int32_t, 3>& input) const;
};

// Checks every field; throws `ArtefactError`.
TaskRecord read_task(const Json& record, int32_t time_steps, size_t outputs);

} // namespace hdlif
