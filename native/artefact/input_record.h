// The input of a network, and the meaning of its outputs.
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
  std::vector<float> mean, std;   // per channel
  float whole = 1;                // the value that is scaled to 1; 255 for pixels
};

// Checks every field; throws `ArtefactError`.
InputRecord read_input(const Json& record, int32_t time_steps);
struct TaskRecord {
  bool classifies = true;       // predicts one class per sample
  bool has_maps = false;        // the output is a map with one channel per label
  bool has_objects = false;     // the labels are background, boundary and inside of objects
  bool has_boxes = false;       // the network is a detector
  bool takes_mean = true;       // the prediction uses the mean output of all steps so far
  std::vector<int32_t> strides; // for a detector: distance between positions of each level, in input pixels

  // Return the number of output channels for this number of labels and this input shape: one per label; for a
  // detector, one score per label and four distances at each position of all levels.
  int64_t outputs(size_t labels, const std::array<int32_t, 3>& input) const;
};

// Checks every field; throws `ArtefactError`.
TaskRecord read_task(const Json& record, int32_t time_steps, size_t outputs);

} // namespace hdlif
