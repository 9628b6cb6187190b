#include "import/sentencepiece_model.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace stagformer::internal {
namespace {

/// Field numbers of sentencepiece_model.proto, which are part of the format.
enum ModelField { kPieces = 1, kTrainer = 2, kNormalizer = 3 };
enum PieceField { kText = 1, kScore = 2, kKind = 3 };
enum TrainerField {
  kModelType = 3,
  kVocabSize = 4,
  kByteFallback = 35,
  kUnknownId = 40,
  kBosId = 41,
  kEosId = 42,
  kPadId = 43
};
enum NormalizerField { kName = 1, kAddDummyPrefix = 3, kRemoveExtraWhitespaces = 4, kEscapeWhitespaces = 5 };
constexpr int kBytePairModel = 2;

/// A protocol-buffer message.
class Message {
 public:
  void integer(int field, std::int64_t value) {
    varint(static_cast<std::uint64_t>(field) << 3);
    varint(static_cast<std::uint64_t>(value));  // negative numbers take ten bytes, as int32 fields do
  }
  void number(int field, float value) {
    varint(static_cast<std::uint64_t>(field) << 3 | 5);
    append(&value, sizeof value);
  }
  void bytes(int field, std::string_view value) {
    varint(static_cast<std::uint64_t>(field) << 3 | 2);
    varint(value.size());
    append(value.data(), value.size());
  }
  void message(int field, const Message& value) {
    bytes(field, {reinterpret_cast<const char*>(value.out_.data()), value.out_.size()});
  }
  std::vector<std::byte> take() { return std::move(out_); }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_.push_back(static_cast<std::byte>(value | 0x80));
    out_.push_back(static_cast<std::byte>(value));
  }
  void append(const void* data, std::size_t size) {
    const auto* first = static_cast<const std::byte*>(data);
    out_.insert(out_.end(), first, first + size);
  }
  std::vector<std::byte> out_;
};

}  // namespace

std::vector<std::byte> sentencepiece_model(const GgufVocabulary& vocabulary,
                                           const SentencePieceOptions& options) {
  Message model;
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    Message piece;
    piece.bytes(kText, vocabulary.tokens[id]);
    piece.number(kScore, vocabulary.scores[id]);
    piece.integer(kKind, static_cast<int>(vocabulary.kinds[id]));  // the two formats number the kinds alike
    model.message(kPieces, piece);
  }
  Message trainer;
  trainer.integer(kModelType, kBytePairModel);
  trainer.integer(kVocabSize, static_cast<std::int64_t>(vocabulary.tokens.size()));
  const bool has_bytes = std::ranges::find(vocabulary.kinds, TokenKind::byte) != vocabulary.kinds.end();
  trainer.integer(kByteFallback, has_bytes);
  trainer.integer(kUnknownId, options.unknown_id);
  trainer.integer(kBosId, options.bos_id);
  trainer.integer(kEosId, options.eos_id);
  trainer.integer(kPadId, -1);
  model.message(kTrainer, trainer);
  Message normalizer;
  normalizer.bytes(kName, "identity");
  normalizer.integer(kAddDummyPrefix, options.add_dummy_prefix);
  normalizer.integer(kRemoveExtraWhitespaces, options.remove_extra_whitespaces);
  normalizer.integer(kEscapeWhitespaces, 1);
  model.message(kNormalizer, normalizer);
  return model.take();
}

}  // namespace stagformer::internal
