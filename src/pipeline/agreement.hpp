// Start-up steps that may fail on any rank and must end the same way on all of them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "comm/transport.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {

/// An error that every rank knows about: rank 0 reports it, all exit with its code, nobody needs to be
/// killed.
class AgreedError : public Error {
 public:
  using Error::Error;
};

/// Collective: runs `work` on every rank; if it throws anywhere, throws the same AgreedError everywhere: that
/// of the lowest rank that failed, with its rank and host in front unless all ranks failed alike.
void agree(Transport& world, const std::function<void()>& work);

/// Collective: throws AgreedError (communication) naming the first rank whose value differs from rank 0's.
/// what: "build", "checkpoint", ...; detail: shown for both ranks.
void agree_on(Transport& world, const std::string& what, std::uint64_t value, const std::string& detail);

}  // namespace stagformer::internal
