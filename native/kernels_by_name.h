// Looks up kernels by the name of their instruction set.
#pragma once

#include <stdexcept>
#include <string>

#include "kernels/kernels.h"

namespace hdlif {

// Return the kernels of an instruction set; "" selects the best one of this machine.
inline const Kernels& kernels_by_name(const std::string& name) {
  const Kernels* tables[8];
  const int count = available_kernels(tables, 8);
  for (int i = 0; i < count; ++i)
    if (name.empty() ? i == count - 1 : tables[i]->name == name)
      return *tables[i];
  throw std::invalid_argument("instruction_set: this machine does not support it");
}

} // namespace hdlif
