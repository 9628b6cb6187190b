// Deterministic damage: the same number, the same bytes on every machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace stagformer::fuzz {

/// One of the seeds after one to six edits: bits, bytes and integers overwritten, pieces removed, doubled,
/// moved or taken from another seed, ends cut off, numbers and words of JSON put in.
std::string mutation(const std::vector<std::string>& seeds, std::uint64_t number);

}  // namespace stagformer::fuzz
