// What the functions of the C interface share: checks, and exceptions as statuses.
#pragma once

#include <memory>

#include "deployed.h"
#include "hdlif.h"

struct hdlif_network {
  std::shared_ptr<hdlif::Deployed> deployed;
};

namespace hdlif {

// Of the exception that is being handled; the error text becomes its own, behind `prefix`.
hdlif_status status_of_exception(const char* prefix) noexcept;

// Calls `body`; an exception becomes a status and a text, which begins with `prefix`.
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

// Throws `CallError` of an argument unless it holds.
void require(bool holds, const char* what);

// The options of a caller, who may give NULL. Throws `CallError`.
OpenOptions checked(const hdlif_options* given);

} // namespace hdlif
