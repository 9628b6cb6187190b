// Models are trained here by the library's own trainer, on a few sentences.
#include <gtest/gtest.h>
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <cstdio>
#include <random>

#include "stagformer/error.hpp"
#include "text/tokenizer.hpp"

namespace stagformer::internal {
namespace {

using Settings = std::unordered_map<std::string, std::string>;

class Sentences : public sentencepiece::SentenceIterator {
 public:
  bool done() const override { return at_ >= lines_.size(); }
  void Next() override { ++at_; }
  const std::string& value() const override { return lines_[at_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::size_t at_ = 0;
  std::vector<std::string> lines_{"the cat sat on the mat",
                                  "the dog sat on the log",
                                  "a cat and a dog",
                                  "hello world, hello cat",
                                  "\xC3\xA9t\xC3\xA9 caf\xC3\xA9 the end",
                                  "counting 1 2 3 and 4"};
};

std::string train(const Settings& more) {
  Settings settings{{"model_type", "bpe"}, {"vocab_size", "320"},       {"byte_fallback", "true"},
                    {"minloglevel", "4"},  {"character_coverage", "1"}, {"hard_vocab_limit", "false"},
                    {"num_threads", "1"},  {"model_prefix", ""},        {"user_defined_symbols", "<sep>"},
                    {"pad_id", "3"}};
  for (const auto& [key, value] : more) settings[key] = value;
  Sentences sentences;
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(settings, &sentences, &model);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return model;
}

std::unique_ptr<Tokenizer> tokenizer_of(const std::string& model) {
  return make_tokenizer("sentencepiece", std::as_bytes(std::span(model)));
}

std::int32_t id_of(const Tokenizer& tokenizer, const std::string& bytes) {
  for (std::int32_t id = 0; id < tokenizer.vocab_size(); ++id)
    if (tokenizer.token_bytes(id) == bytes) return id;
  return -1;
}

TEST(SentencePiece, RoundTripsText) {
  const auto tokenizer = tokenizer_of(train({}));
  for (const std::string text :
       {"the cat", "hello world, a dog", "\xC3\xA9t\xC3\xA9", "\xF0\x9F\x99\x82 smile \xE4\xB8\x96", ""})
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
}

TEST(SentencePiece, AddsNeitherBosNorEos) {
  const auto tokenizer = tokenizer_of(train({}));
  for (const std::int32_t id : tokenizer->encode("the cat sat")) EXPECT_GT(id, 3);
}

TEST(SentencePiece, TokenBytesKeepTheLeadingSpace) {
  const auto tokenizer = tokenizer_of(train({}));
  const auto ids = tokenizer->encode("the cat");
  std::string running;
  for (const std::int32_t id : ids) running += tokenizer->token_bytes(id);
  EXPECT_EQ(running, " the cat");
  EXPECT_EQ(tokenizer->decode(ids), "the cat");
}

TEST(SentencePiece, BytePiecesAreBytes) {
  const auto tokenizer = tokenizer_of(train({}));
  const auto ids = tokenizer->encode("\xF0\x9F\x99\x82");
  std::string running;
  for (const std::int32_t id : ids) running += tokenizer->token_bytes(id);
  EXPECT_EQ(running, " \xF0\x9F\x99\x82");
  ASSERT_GE(ids.size(), 4U);
  EXPECT_EQ(tokenizer->token_bytes(ids.back()), "\x82");
}

TEST(SentencePiece, ControlTokensAndIdsBeyondHaveNoText) {
  const auto tokenizer = tokenizer_of(train({}));
  const auto size = static_cast<std::int32_t>(tokenizer->vocab_size());
  for (const std::int32_t id : {1, 2, 3, -1, size, size + 1000})
    EXPECT_EQ(tokenizer->token_bytes(id), "") << id;
  EXPECT_EQ(tokenizer->token_bytes(0), " \xE2\x81\x87 ");
  const std::int32_t sep = id_of(*tokenizer, "<sep>");
  ASSERT_GE(sep, 0);
  EXPECT_EQ(tokenizer->decode(std::vector<std::int32_t>{1, sep, size + 5, 2}), "<sep>");
}

// All sequences of up to three pieces of interest, against the library's decoder, for every treatment of
// leading spaces.
TEST(SentencePiece, DecodesAsTheLibraryDoes) {
  for (const char* prefix : {"true", "false"})
    for (const char* remove : {"true", "false"}) {
      const std::string model = train({{"add_dummy_prefix", prefix}, {"remove_extra_whitespaces", remove}});
      const auto tokenizer = tokenizer_of(model);
      sentencepiece::SentencePieceProcessor library;
      ASSERT_TRUE(library.LoadFromSerializedProto(model).ok());
      const std::vector<std::int32_t> pieces{0,
                                             1,
                                             3,
                                             id_of(*tokenizer, " "),
                                             id_of(*tokenizer, " the"),
                                             id_of(*tokenizer, "a"),
                                             id_of(*tokenizer, "<sep>"),
                                             library.PieceToId("<0x20>")};
      for (const auto a : pieces)
        for (const auto b : pieces)
          for (const auto c : pieces) {
            ASSERT_GE(std::min({a, b, c}), 0);
            const std::vector<std::int32_t> ids{a, b, c};
            EXPECT_EQ(tokenizer->decode(ids), library.DecodeIds(ids))
                << prefix << remove << ' ' << a << ' ' << b << ' ' << c;
          }
    }
}

TEST(SentencePiece, UnigramModelsWorkToo) {
  const auto tokenizer = tokenizer_of(train({{"model_type", "unigram"}}));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("the dog and the cat")), "the dog and the cat");
}

TEST(SentencePiece, RefusesDamagedModelsInSilence) {
  const std::string model = train({});
  testing::internal::CaptureStderr();
  EXPECT_THROW(tokenizer_of(""), CheckpointError);
  EXPECT_THROW(tokenizer_of("not a model at all"), CheckpointError);
  EXPECT_THROW(tokenizer_of(model.substr(0, model.size() / 2)), CheckpointError);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(SentencePiece, RefusesABytePieceThatIsNone) {
  std::string model = train({});
  const std::size_t at = model.find("<0x41>");
  ASSERT_NE(at, std::string::npos);
  model.replace(at, 6, "<0xZZ>");
  EXPECT_THROW(tokenizer_of(model), CheckpointError);
}

}  // namespace
}  // namespace stagformer::internal
