#include "text/tokenizer.hpp"
#include "text/utf8.hpp"

namespace stagformer::internal {

std::string Utf8Stream::push(std::string_view bytes) {
  pending_ += bytes;  // at most three bytes were held back
  std::string_view rest = pending_;
  std::string out;
  while (!rest.empty()) {
    const Utf8Scan scan = scan_utf8(rest);
    if (scan.kind == Utf8Scan::Kind::incomplete) break;
    out += scan.kind == Utf8Scan::Kind::valid ? rest.substr(0, scan.bytes) : kReplacementCharacter;
    rest.remove_prefix(scan.bytes);
  }
  pending_.erase(0, pending_.size() - rest.size());
  return out;
}

std::string Utf8Stream::finish() {
  const bool unfinished = !pending_.empty();
  pending_.clear();
  return unfinished ? std::string(kReplacementCharacter) : std::string();
}

}  // namespace stagformer::internal
