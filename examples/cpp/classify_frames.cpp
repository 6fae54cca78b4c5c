// Classifies each frame of a file with a deployed network.
//
//   classify_frames NAME.hdlif.safetensors FRAMES [--stream]
//
// FRAMES holds recorded frames [C][H][W], such as pixels in 0..255: consecutive float32 numbers, or a .npy
// array of uint8 or float32. The network runs each frame for all its time steps. With --stream, the frames
// are one sequence with one frame per step, and the current prediction is printed after each.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include <hdlif.hpp>

#include "frames.h"

namespace {

// Prints the class with the largest summed logit, and its probability: the softmax of the mean logits.
void print_answer(const hdlif::Network& network, std::size_t frame, const std::vector<float>& sums,
                  std::size_t steps) {
  const auto best = std::max_element(sums.begin(), sums.end());
  double total = 0;
  for (float sum : sums)
    total += std::exp(double(sum - *best) / double(steps));
  const std::string label = network.label(std::size_t(best - sums.begin()));
  std::printf("%zu: %s (%.1f%%)\n", frame, label.c_str(), 100 / total);
}

void add(std::vector<float>& sums, const float* logits) {
  for (std::size_t i = 0; i < sums.size(); ++i)
    sums[i] += logits[i];
}

void classify_each(const hdlif::Network& network, const std::vector<float>& frames) {
  const std::size_t size = network.frame_size(), outputs = network.outputs(),
                    steps = std::size_t(network.time_steps());
  for (std::size_t frame = 0; frame < frames.size() / size; ++frame) {
    const auto first = frames.begin() + std::ptrdiff_t(frame * size);
    const std::vector<float> logits = network.run({first, first + std::ptrdiff_t(size)}, 1);
    std::vector<float> sums(outputs, 0.0f);
    for (std::size_t t = 0; t < steps; ++t)
      add(sums, logits.data() + t * outputs);
    print_answer(network, frame, sums, steps);
  }
}

void classify_stream(const hdlif::Network& network, const std::vector<float>& frames) {
  const std::size_t size = network.frame_size();
  hdlif::Stream stream(network);
  std::vector<float> logits(network.outputs()), sums(network.outputs(), 0.0f);
  for (std::size_t frame = 0; frame < frames.size() / size; ++frame) {
    stream.step(frames.data() + frame * size, logits.data()); // allocates nothing after the first one
    add(sums, logits.data());
    print_answer(network, frame, sums, frame + 1);
  }
}

} // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4 || (argc == 4 && std::string_view(argv[3]) != "--stream")) {
    std::fprintf(stderr, "usage: classify_frames NAME.hdlif.safetensors FRAMES [--stream]\n");
    return 2;
  }
  try {
    const hdlif::Network network = hdlif::Network::open_file(argv[1]);
    const std::vector<float> frames = network.normalised(read_frames(argv[2], network.frame_size()));
    if (argc == 4)
      classify_stream(network, frames);
    else
      classify_each(network, frames);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
  return 0;
}
