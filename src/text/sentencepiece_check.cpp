#include "text/sentencepiece_check.hpp"

#include <cstdint>
#include <string>

#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

constexpr std::uint64_t kPieces = 1, kPiece = 1;  // numbers of the fields
constexpr std::uint64_t kVarint = 0, kEightBytes = 1, kBytes = 2, kFourBytes = 5;

[[noreturn]] void refuse(const std::string& problem) {
  throw CheckpointError("tokenizer/model: sentencepiece: " + problem);
}

struct Field {
  std::uint64_t number = 0;
  std::string_view bytes;  // of a text or message; else empty
};

/// One message, field by field.
class Fields {
 public:
  explicit Fields(std::string_view message) : left_(message) {}
  bool at_end() const { return left_.empty(); }

  Field next() {
    const std::uint64_t tag = varint(), kind = tag & 7;
    Field field{tag >> 3, {}};
    if (kind == kVarint)
      varint();
    else if (kind == kBytes)
      field.bytes = take(varint());
    else if (kind == kEightBytes || kind == kFourBytes)
      take(kind == kEightBytes ? 8 : 4);
    else
      refuse("the model has a field of the unknown kind " + std::to_string(kind));
    return field;
  }

 private:
  std::string_view take(std::uint64_t count) {
    if (count > left_.size()) refuse("the model ends within a field");
    const std::string_view taken = left_.substr(0, count);
    left_.remove_prefix(count);
    return taken;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    refuse("the model has a number of more than 64 bits");
  }

  std::string_view left_;
};

}  // namespace

void check_sentencepiece_pieces(std::string_view model) {
  std::size_t count = 0;
  for (Fields fields(model); !fields.at_end();) {
    const Field entry = fields.next();
    if (entry.number != kPieces) continue;
    for (Fields inner(entry.bytes); !inner.at_end();) {
      const Field piece = inner.next();
      if (piece.number == kPiece && piece.bytes.find('\0') != std::string_view::npos)
        refuse("piece " + std::to_string(count) + " holds the byte 0");
    }
    ++count;
  }
}

}  // namespace stagformer::internal
