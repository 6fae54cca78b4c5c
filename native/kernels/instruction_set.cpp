// The kernels for one instruction set. This file is compiled once for each, with its flags, and its name in
// HDLIF_INSTRUCTION_SET. Nothing here may be shared with another compilation, or the linker could choose code
// that a machine cannot run. Everything is therefore in an anonymous namespace, without functions of the
// standard library.
#include "exponential.h"
#include "kernels.h"
#include "vectors.h"

namespace hdlif {

#include "conv.inl"

#include "conv_lookup.inl"

#include "dense_codes.inl"

#include "grouped.inl"

#include "pointwise.inl"

#include "firing.inl"

#include "pool.inl"

#if !defined(HDLIF_WITHOUT_TRAINING)

#include "gradients.inl"

#include "weights.inl"

#include "norm.inl"

#include "winograd.inl"

#include "chunk.inl"

#endif

#define HDLIF_JOIN(a, b) a##b
#define HDLIF_TABLE(name) HDLIF_JOIN(kKernels_, name)
#define HDLIF_TEXT(name) #name
#define HDLIF_NAME(name) HDLIF_TEXT(name)

extern const Kernels HDLIF_TABLE(HDLIF_INSTRUCTION_SET);
const Kernels HDLIF_TABLE(HDLIF_INSTRUCTION_SET) = {
    HDLIF_NAME(HDLIF_INSTRUCTION_SET),
    gather<uint8_t, CodeEvent>,
    gather<uint8_t, FloatEvent>,
    gather<float, FloatEvent>,
    gather_units,
    excess_of_changes,
    live_codes,
    event_row<CodeEvent, int8_t>,
#if defined(HDLIF_HAS_LOOKUP)
    unit_row,
#else
    nullptr,
#endif
#if defined(HDLIF_HAS_DENSE_CODES)
    dense_codes<Pairs>,
    kDenseCodeLanes,
#else
    nullptr,
    0,
#endif
#if defined(HDLIF_HAS_DENSE_CODES) && defined(__AVX512BW__)
    dense_codes<Whole>,
#else
    nullptr,
#endif
    nullptr,
    nullptr,
    event_row<FloatEvent, float>,
    event_row<FloatEvent, int8_t>,
    dense_row,
    dense_row,
    grouped_row<float, float, float>,
    grouped_row<float, int8_t, float>,
    grouped_row<uint8_t, float, float>,
    grouped_row<uint8_t, int8_t, int32_t>,
    affine,
    hd_lif,
    parallel,
    lif,
    quantise,
    fire,
    hd_lif_over_time,
    lif_over_time,
    fire_over_time,
    equation,
    add,
    widen,
    seca,
    pool_row<Sum<float>, float, float>,
    pool_row<Sum<uint8_t>, uint8_t, uint8_t>,
    pool_row<Sum<float>, uint8_t, float>,
    pool_row<Max<float>, float, float>,
    pool_row<Max<uint8_t>, uint8_t, uint8_t>,
#if !defined(HDLIF_WITHOUT_TRAINING)
    list_codes,
    list_places,
    weight_gradient,
    input_gradient,
    sum_magnitudes,
    write_ternary,
    write_signs,
    add_moments,
    plane_moments,
    normalise,
    add_row_sums,
    maps_gradient,
    winograd_spread,
    winograd_spread_sums,
    winograd_spread_kernels,
    winograd_collect,
    winograd_collect_kernels,
    winograd_multiply,
    kWinogradPanel,
    chunk<float>,
    chunk<double>,
#endif
};

} // namespace hdlif
