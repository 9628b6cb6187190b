// Sleeping as exactly as the system allows.
#pragma once

namespace stagformer::internal {

/// Sleeps to within some microseconds where a core is free.
void sleep_precisely(double seconds);

}  // namespace stagformer::internal
