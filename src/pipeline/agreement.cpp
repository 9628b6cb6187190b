#include "pipeline/agreement.hpp"

#include <new>
#include <optional>

namespace stagformer::internal {
namespace {

struct Failure {
  ExitCode code;
  std::string message;
};

std::optional<Failure> run_guarded(const std::function<void()>& work) {
  try {
    work();
    return std::nullopt;
  } catch (const Error& error) {
    return Failure{error.code(), error.what()};
  } catch (const std::bad_alloc&) {
    return Failure{ExitCode::memory, "out of memory"};
  } catch (const std::exception& error) {
    return Failure{ExitCode::internal, std::string("internal error: ") + error.what()};
  }
}

std::string place_of(Transport& world, int rank, const std::string& host) {
  return world.size() == 1 ? std::string() : "rank " + std::to_string(rank) + " on " + host + ": ";
}

}  // namespace

void agree(Transport& world, const std::function<void()>& work) {
  const std::optional<Failure> mine = run_guarded(work);
  // code, host, message, parted by newlines; an empty entry means success
  std::string report;
  if (mine)
    report = std::to_string(static_cast<int>(mine->code)) + "\n" + world.host_name() + "\n" + mine->message;
  const std::vector<Bytes> all = world.all_gather(to_bytes(report));
  std::string first_message;
  int first_rank = -1, code = 0;
  std::string host;
  bool all_alike = true;
  for (int rank = 0; rank < world.size(); ++rank) {
    const std::string text = to_text(all[static_cast<std::size_t>(rank)]);
    const std::size_t line = text.find('\n'),
                      line2 = line == std::string::npos ? line : text.find('\n', line + 1);
    const std::string message = line2 == std::string::npos ? std::string() : text.substr(line2 + 1);
    if (!text.empty() && first_rank < 0) {
      first_rank = rank;
      code = std::stoi(text);
      host = text.substr(line + 1, line2 - line - 1);
      first_message = message;
    }
    all_alike &= !text.empty() && message == first_message;
  }
  if (first_rank < 0) return;
  throw AgreedError(static_cast<ExitCode>(code),
                    (all_alike ? "" : place_of(world, first_rank, host)) + first_message);
}

void agree_on(Transport& world, const std::string& what, std::uint64_t value, const std::string& detail) {
  const std::string mine = std::to_string(value) + "\n" + world.host_name() + "\n" + detail;
  const std::vector<Bytes> all = world.all_gather(to_bytes(mine));
  const auto parts = [&](int rank) {
    const std::string text = to_text(all[static_cast<std::size_t>(rank)]);
    const std::size_t line = text.find('\n'), line2 = text.find('\n', line + 1);
    return std::vector<std::string>{text.substr(0, line), text.substr(line + 1, line2 - line - 1),
                                    text.substr(line2 + 1)};
  };
  const std::vector<std::string> root = parts(0);
  for (int rank = 1; rank < world.size(); ++rank) {
    const std::vector<std::string> other = parts(rank);
    if (other[0] == root[0]) continue;
    throw AgreedError(ExitCode::communication, "rank " + std::to_string(rank) + " on " + other[1] +
                                                   " has another " + what + " than rank 0 on " + root[1] +
                                                   ": " + other[2] + " against " + root[2]);
  }
}

}  // namespace stagformer::internal
