#include "text/sentencepiece_tokenizer.hpp"

#include <sentencepiece_processor.h>

#include <charconv>

#include "stagformer/error.hpp"
#include "text/sentencepiece_check.hpp"

// Exported by the library, declared in its public headers only in later versions.
namespace sentencepiece::logging {
void SetMinLogLevel(int level);
}

namespace stagformer::internal {
namespace {

constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";  // U+2581
constexpr int kFatalOnly = 3;

[[noreturn]] void refuse(const std::string& problem) {
  throw CheckpointError("tokenizer/model: sentencepiece: " + problem);
}

std::string with_spaces(std::string_view piece) {
  std::string out;
  for (std::size_t at = 0; at < piece.size();) {
    const bool space = piece.substr(at).starts_with(kSpaceSymbol);
    out.push_back(space ? ' ' : piece[at]);
    at += space ? kSpaceSymbol.size() : 1;
  }
  return out;
}

/// The value of a byte piece "<0x0A>".
char byte_value(const std::string& piece) {
  unsigned value = 256;
  const char* digits = piece.data() + 3;
  if (piece.size() == 6 && piece.starts_with("<0x") && piece.back() == '>')
    if (std::from_chars(digits, digits + 2, value, 16).ptr != digits + 2) value = 256;
  if (value > 255) refuse("odd byte piece '" + piece + "'");
  return static_cast<char>(value);
}

}  // namespace

SentencePieceTokenizer::SentencePieceTokenizer(std::span<const std::byte> model)
    : processor_(std::make_unique<sentencepiece::SentencePieceProcessor>()) {
  sentencepiece::logging::SetMinLogLevel(kFatalOnly);  // errors come back as a status
  if (model.empty()) refuse("the model is empty");
  const std::string_view bytes(reinterpret_cast<const char*>(model.data()), model.size());
  check_sentencepiece_pieces(bytes);
  const auto status = processor_->LoadFromSerializedProto(bytes);
  if (!status.ok()) refuse("the library refuses the model: " + status.ToString());
  if (processor_->GetPieceSize() <= 0) refuse("the model has no pieces");
  for (int id = 0; id < processor_->GetPieceSize(); ++id) {
    bytes_.push_back(bytes_of_piece(id));
    if (processor_->IsControl(id))
      control_tokens_.add({.content = token_name(id), .id = id, .special = true});
  }
  leading_space_ = find_leading_space();
}

SentencePieceTokenizer::~SentencePieceTokenizer() = default;

std::string SentencePieceTokenizer::library_text(const std::vector<int>& ids) const {
  std::string text;
  const auto status = processor_->Decode(ids, &text);
  if (!status.ok()) refuse("the library cannot decode: " + status.ToString());
  return text;
}

std::string SentencePieceTokenizer::bytes_of_piece(int id) const {
  if (processor_->IsControl(id)) return "";
  if (processor_->IsByte(id)) return {byte_value(processor_->IdToPiece(id))};
  if (processor_->IsUnknown(id)) return library_text({id});
  return with_spaces(processor_->IdToPiece(id));
}

// The settings that decide this are not in the library's interface, so its decoder is asked by examples.
SentencePieceTokenizer::LeadingSpace SentencePieceTokenizer::find_leading_space() const {
  int lone_space = -1, word = -1;
  for (int id = 0; id < processor_->GetPieceSize() && (lone_space < 0 || word < 0); ++id) {
    const std::string& piece = processor_->IdToPiece(id);
    if (!piece.starts_with(kSpaceSymbol) || processor_->IsControl(id) || processor_->IsUnknown(id)) continue;
    (piece == kSpaceSymbol ? lone_space : word) = id;
  }
  const int first = lone_space >= 0 ? lone_space : word;
  if (first < 0 || library_text({first}) == token_bytes(first)) return LeadingSpace::kept;
  const int second = word >= 0 ? word : first;
  const bool again = library_text({first, second}) != token_bytes(first).substr(1) + token_bytes(second);
  return lone_space >= 0 && again ? LeadingSpace::all_removed : LeadingSpace::first_removed;
}

std::vector<std::int32_t> SentencePieceTokenizer::encode(std::string_view text) const {
  std::vector<int> ids;
  const auto status = processor_->Encode(text, &ids);
  if (!status.ok()) throw InputError("sentencepiece cannot encode the text: " + status.ToString());
  return ids;
}

/// Every stretch between control tokens is a text of its own, as in the models' own programs.
std::vector<std::int32_t> SentencePieceTokenizer::encode_chat(std::string_view text,
                                                              const std::vector<bool>& foreign) const {
  std::vector<std::int32_t> ids;
  for (const TextSegment& segment : control_tokens_.split(text, foreign)) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
      continue;
    }
    const std::vector<std::int32_t> pieces = encode(segment.text);
    ids.insert(ids.end(), pieces.begin(), pieces.end());
  }
  return ids;
}

std::string SentencePieceTokenizer::token_name(std::int32_t id) const {
  return id >= 0 && id < processor_->GetPieceSize() ? processor_->IdToPiece(id) : std::string();
}

std::string SentencePieceTokenizer::token_bytes(std::int32_t id) const {
  return id >= 0 && id < vocab_size() ? bytes_[static_cast<std::size_t>(id)] : std::string();
}

// Not the library's Decode(): it would replace the bytes of an unfinished character, which a stream still
// completes.
std::string SentencePieceTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  bool strip = leading_space_ != LeadingSpace::kept;
  for (const std::int32_t id : ids) {
    const std::string bytes = token_bytes(id);
    if (bytes.empty()) continue;
    const bool space = strip && bytes.front() == ' ' && !processor_->IsByte(id) && !processor_->IsUnknown(id);
    text += space ? bytes.substr(1) : bytes;
    strip = leading_space_ == LeadingSpace::all_removed && text.empty();
  }
  return text;
}

std::int64_t SentencePieceTokenizer::vocab_size() const {
  return static_cast<std::int64_t>(bytes_.size());
}

}  // namespace stagformer::internal
