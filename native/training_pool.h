// The threads of all that trains.
#pragma once

#include "thread_pool.h"

namespace hdlif {

// Of them at most.
constexpr int kTrainingThreads = 16;

// This process's, made when it is first asked for, as many as the machine has cores.
ThreadPool& training_pool();

} // namespace hdlif
