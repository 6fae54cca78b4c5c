// Quantises latent weights to 1.5 bits, for training.
#pragma once

#include <cstdint>

#include "../kernels/kernels.h"

namespace hdlif {

// to = scale * sign(w) if |w|, at most 1, is above 0.7 of its mean, else 0; the scale is the mean of those
// |w| (0 if there are none). Sums are in float64, in an order that does not depend on the threads. Returns
// whether every |w| is below 1, so nothing was clipped.
bool ternarize(const float* weights, int64_t count, float* to, const Kernels& kernels, int threads);

} // namespace hdlif
