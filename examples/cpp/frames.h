// Frames of a file: float32 one after the other, or an array of NumPy (.npy) of uint8 or float32.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

// Whole frames of `frame_size` numbers. Throws std::runtime_error, which says what is wrong with the file.
std::vector<float> read_frames(const std::string& path, std::size_t frame_size);
