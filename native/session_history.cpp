// Frames before a chunk's first one, which layers read in time; see Timeline.
#include <algorithm>
#include <cstring>

#include "session.h"

namespace hdlif {

// Returns the address of a value's frame at a chunk's first step.
uint8_t* Session::slot_at(int32_t value, const Chunk& chunk, Workspace& workspace) const {
  const Value& type = graph().values[value];
  return workspace.slots[workspace.placement.slot[value]].data() +
         frames_before(plan_, workspace, chunk, value) * type.size() * type.entry_bytes();
}

// Sets the frames before the first one: to the states of the delays if the caller gave them, else to 0.
void Session::begin_history(bool is_held, Workspace& workspace) const {
  for (size_t value = 0; value < graph().values.size(); ++value)
    if (const int64_t history = plan_.timeline.history[value]; history > 0) {
      const Value& type = graph().values[value];
      uint8_t* slot = workspace.slots[workspace.placement.slot[value]].data();
      std::memset(slot, 0, size_t(history * type.size() * type.entry_bytes()));
    }
  for (size_t i = 0; is_held && i < plan_.timeline.held.size(); ++i) {
    const Timeline::Held& held = plan_.timeline.held[i];
    const Value& type = graph().values[held.value];
    const float* state = workspace.potentials[plan_.potential_of[held.delay]];
    uint8_t* slot = workspace.slots[workspace.placement.slot[held.value]].data();
    const int64_t first = (plan_.timeline.history[held.value] - held.lag) * type.size();
    if (type.max_code == 0)
      std::copy_n(state, type.size(), floats(slot) + first);
    else
      codes_of_state(state, slot + first, type);
  }
}

// Copies the last frames to the states of the delays, after the last chunk; `place` is where the next chunk
// would begin.
void Session::give_history(int64_t place, const Workspace& workspace) const {
  for (const Timeline::Held& held : plan_.timeline.held) {
    const Value& type = graph().values[held.value];
    float* state = workspace.potentials[plan_.potential_of[held.delay]];
    const uint8_t* slot = workspace.slots[workspace.placement.slot[held.value]].data();
    const int64_t first = (plan_.timeline.history[held.value] + place - held.lag) * type.size();
    if (type.max_code == 0)
      std::copy_n(floats(slot) + first, type.size(), state);
    else
      std::copy_n(slot + first, type.size(), state);
  }
}

} // namespace hdlif
