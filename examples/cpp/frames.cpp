#include "frames.h"

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string_view>

namespace {

constexpr std::string_view kMagic = "\x93NUMPY";

// Returns the value of `key` in the header of an array, up to the next comma that separates keys.
std::string_view after(std::string_view header, std::string_view key) {
  const std::size_t place = header.find(key);
  if (place == std::string_view::npos)
    throw std::runtime_error("its header has no " + std::string(key));
  return header.substr(place + key.size());
}

std::vector<float> of_array(const std::vector<char>& content) {
  const auto byte = [&](std::size_t i) {
    return i < content.size() ? std::uint8_t(content[i]) : std::uint8_t(0);
  };
  // version 1 stores the length in 2 bytes, later versions in 4
  const std::size_t begin = byte(6) == 1 ? 10 : 12;
  std::size_t length = byte(8) | std::size_t(byte(9)) << 8;
  if (byte(6) > 1)
    length |= std::size_t(byte(10)) << 16 | std::size_t(byte(11)) << 24;
  if (content.size() < begin || content.size() - begin < length)
    throw std::runtime_error("its header is cut");
  const std::string_view header(content.data() + begin, length);
  if (after(header, "'fortran_order': ").substr(0, 5) != "False")
    throw std::runtime_error("its entries are in the order of Fortran; save it with numpy.ascontiguousarray");
  const std::string_view dtype = after(header, "'descr': ").substr(0, 5);
  const char* const from = content.data() + begin + length;
  const std::size_t bytes = content.size() - begin - length;
  if (dtype == "'|u1'") {
    const auto* pixels = reinterpret_cast<const std::uint8_t*>(from);
    return std::vector<float>(pixels, pixels + bytes);
  }
  if (dtype != "'<f4'" || bytes % sizeof(float) != 0)
    throw std::runtime_error("its dtype is not uint8 or float32");
  std::vector<float> values(bytes / sizeof(float));
  std::memcpy(values.data(), from, bytes);
  return values;
}

std::vector<float> of_numbers(const std::vector<char>& content) {
  if (content.size() % sizeof(float) != 0)
    throw std::runtime_error("it is neither an array of NumPy nor whole float32 numbers");
  std::vector<float> values(content.size() / sizeof(float));
  std::memcpy(values.data(), content.data(), content.size());
  return values;
}

} // namespace

std::vector<float> read_frames(const std::string& path, std::size_t frame_size) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> content{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file)
    throw std::runtime_error(path + ": cannot be read");
  const bool is_array = std::string_view(content.data(), content.size()).substr(0, kMagic.size()) == kMagic;
  try {
    std::vector<float> frames = is_array ? of_array(content) : of_numbers(content);
    if (frames.empty() || frames.size() % frame_size != 0)
      throw std::runtime_error("it holds " + std::to_string(frames.size()) + " numbers, and a frame has " +
                               std::to_string(frame_size));
    return frames;
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(path + ": " + error.what());
  }
}
