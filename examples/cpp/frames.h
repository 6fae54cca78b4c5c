// Reads frames from a file: consecutive float32 numbers, or a NumPy array (.npy) of uint8 or float32.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

// Reads frames of `frame_size` numbers. Throws std::runtime_error, which describes the fault in the file.
std::vector<float> read_frames(const std::string& path, std::size_t frame_size);
