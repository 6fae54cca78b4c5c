// Checks and exception handling shared by the functions of the C interface.
#pragma once

#include <memory>

#include "deployed.h"
#include "hdlif.h"

struct hdlif_network {
  std::shared_ptr<hdlif::Deployed> deployed;
};

namespace hdlif {

// Returns the status of the current exception, and sets the error text to `prefix` and its message.
hdlif_status status_of_exception(const char* prefix) noexcept;

// Calls `body` and turns an exception into a status and an error text that begins with `prefix`.
template <typename Body> hdlif_status guarded(const char* prefix, const Body& body) noexcept {
  try {
    body();
    return HDLIF_OK;
  } catch (...) {
    return status_of_exception(prefix);
  }
}

template <typename Body> hdlif_status guarded(const Body& body) noexcept {
  return guarded("", body);
}

// Throws `CallError` with HDLIF_ERROR_ARGUMENT unless `holds`.
void require(bool holds, const char* what);

// Checks the caller's options, which may be NULL. Throws `CallError`.
OpenOptions checked(const hdlif_options* given);

} // namespace hdlif
