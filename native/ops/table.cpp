#include "op.h"

#include "../graph.h"

namespace hdlif {
namespace {

#define HDLIF_FORM(name) &k##name##Form,
constexpr const OpForm* kForms[] = {HDLIF_OPS(HDLIF_FORM)};
#undef HDLIF_FORM
static_assert(sizeof(kForms) / sizeof(kForms[0]) == size_t(Op::kCount));

} // namespace

const OpForm& form_of(Op op) {
  return *kForms[size_t(op)];
}

RowWork entry_work(const Node&, const Value&, const Value& out) {
  return {0, kEntryWork * double(out.width) * out.channels, 0};
}

} // namespace hdlif
