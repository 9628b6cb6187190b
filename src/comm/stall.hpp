// What a wait that took too long says: for what, from whom, on which host, at which step, and which ranks
// keep silent while all others wait.
#pragma once

#include <string>

#include "comm/transport.hpp"

namespace stagformer::internal {

/// "rank 2 on host n3", named as in the whole job; the host only where it is known.
std::string place_text(const Transport& transport, int rank);

/// "waited 20 s for the memory of section 1 from rank 2 on host n3 at step 17 (--stall-timeout)"
std::string stall_text(const Transport& transport, const WaitSubject& subject, double timeout_s);

/// Every rank that is stuck tells the others so, and listens for a while. Where one waits for another in a
/// row the silent rank is the cause: "; no sign of rank 2 on host n3". Empty where nothing is learned beyond
/// `subject`. Never throws.
std::string silent_ranks_text(Transport& transport, const WaitSubject& subject, double timeout_s);

}  // namespace stagformer::internal
