#include "cli/machine_file.hpp"

#include <optional>
#include <utility>

#include "cli/files.hpp"
#include "pipeline/agreement.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

Machine machine_from(const std::string& text, const std::string& path) {
  try {
    return Machine::from_json(text);
  } catch (const ConfigError& error) {
    throw ConfigError(path + ": " + error.what());
  }
}

}  // namespace

Machine read_machine(const std::string& path) {
  return machine_from(read_file(path), path);
}

Machine read_machine(Transport& world, const std::string& path) {
  Bytes bytes;
  agree(world, [&] {
    if (world.rank() == 0) bytes = to_bytes(read_file(path));
  });
  bytes = world.broadcast(std::move(bytes), 0);
  std::optional<Machine> machine;
  agree(world, [&] { machine = machine_from(to_text(bytes), path); });
  return *machine;
}

}  // namespace stagformer::internal
