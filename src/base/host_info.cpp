#include "base/host_info.hpp"

#include <sched.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <limits>
#include <sstream>
#include <thread>

#include "base/hash.hpp"

namespace stagformer::internal {
namespace {

constexpr std::int64_t kUnknown = std::numeric_limits<std::int64_t>::max();

std::int64_t first_number(const char* path) {
  std::ifstream in(path);
  std::int64_t value = 0;
  return in >> value && value > 0 ? value : kUnknown;
}

/// What is left of the control group's memory limit, version 2 or 1.
std::int64_t control_group_room() {
  std::int64_t limit = first_number("/sys/fs/cgroup/memory.max");
  std::int64_t used = first_number("/sys/fs/cgroup/memory.current");
  if (limit == kUnknown) {
    limit = first_number("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    used = first_number("/sys/fs/cgroup/memory/memory.usage_in_bytes");
  }
  if (limit == kUnknown || used == kUnknown) return kUnknown;
  return std::max<std::int64_t>(0, limit - used);
}

}  // namespace

std::vector<int> usable_cores() {
  std::vector<int> cores;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int core = 0; core < CPU_SETSIZE; ++core)
      if (CPU_ISSET(core, &set)) cores.push_back(core);
  if (cores.empty())
    for (unsigned core = 0; core < std::max(1U, std::thread::hardware_concurrency()); ++core)
      cores.push_back(static_cast<int>(core));
  return cores;
}

std::string core_list(const std::vector<int>& cores) {
  std::string text;
  for (std::size_t i = 0; i < cores.size();) {
    std::size_t end = i;
    while (end + 1 < cores.size() && cores[end + 1] == cores[end] + 1) ++end;
    if (!text.empty()) text += ',';
    text += std::to_string(cores[i]);
    if (end > i) text += '-' + std::to_string(cores[end]);
    i = end + 1;
  }
  return text;
}

std::int64_t available_memory() {
  std::ifstream in("/proc/meminfo");
  std::string line;
  std::int64_t available = kUnknown;
  while (std::getline(in, line)) {
    std::istringstream words(line);
    std::string key;
    std::int64_t kib = 0;
    if (words >> key >> kib && key == "MemAvailable:") available = kib * 1024;
  }
  return std::min(available, control_group_room());
}

std::string format_bytes(std::int64_t bytes) {
  static constexpr std::array<const char*, 6> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), value < 10 && unit > 0 ? "%.1f %s" : "%.0f %s", value,
                kUnits[unit]);
  return text.data();
}

std::string hexadecimal(std::uint64_t value) {
  std::array<char, 20> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(value));
  return text.data();
}

std::uint64_t file_fingerprint(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return 0;
  std::uint64_t hash = kHashStart;
  std::vector<char> block(1 << 16);
  while (in.read(block.data(), static_cast<std::streamsize>(block.size())) || in.gcount() > 0)
    for (std::streamsize i = 0; i < in.gcount(); ++i)
      hash = hash_step(hash, static_cast<unsigned char>(block[static_cast<std::size_t>(i)]));
  return hash;
}

}  // namespace stagformer::internal
