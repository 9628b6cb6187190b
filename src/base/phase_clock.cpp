#include "base/phase_clock.hpp"

namespace stagformer::internal {

const char* name_of(Phase phase) {
  static constexpr std::array<const char*, kPhases> kNames = {"other",
                                                              "embedding",
                                                              "self_attention",
                                                              "cross_attention",
                                                              "memory_projection",
                                                              "feed_forward",
                                                              "head",
                                                              "sampling",
                                                              "wait_input",
                                                              "wait_memory",
                                                              "wait_z",
                                                              "wait_candidates",
                                                              "wait_send"};
  return kNames[static_cast<std::size_t>(phase)];
}

}  // namespace stagformer::internal
