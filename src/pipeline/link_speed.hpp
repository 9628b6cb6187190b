// What messages between two ranks cost, measured through the transport as the engine uses it.
#pragma once

#include <cstddef>

#include "comm/transport.hpp"
#include "pipeline/link_model.hpp"

namespace stagformer::internal {

/// Collective. Between ranks 0 and 1, for sizes from 8 bytes to `largest`: half a round trip, and the time from
/// one send to the next of several; medians. The other ranks wait. With a single rank: messages that cost
/// nothing.
LinkModel measure_link(Transport& world, std::size_t largest = std::size_t{4} << 20);

}  // namespace stagformer::internal
