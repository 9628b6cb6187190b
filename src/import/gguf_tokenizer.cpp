#include "import/gguf_tokenizer.hpp"

#include <algorithm>
#include <set>

#include "import/pre_tokenizers.hpp"
#include "import/sentencepiece_model.hpp"
#include "kernels/number_bits.hpp"
#include "text/utf8.hpp"

namespace stagformer::internal {
namespace {

using nlohmann::json;

constexpr const char* kModel = "tokenizer.ggml.model";
constexpr const char* kPre = "tokenizer.ggml.pre";
constexpr const char* kTokens = "tokenizer.ggml.tokens";
constexpr const char* kKinds = "tokenizer.ggml.token_type";
constexpr const char* kScores = "tokenizer.ggml.scores";
constexpr const char* kMerges = "tokenizer.ggml.merges";

bool is_bytes(const GgufHeader& header) {
  return header.find_text(kModel) == "gpt2";
}

const PreTokenizerRule& rule_of(const GgufHeader& header) {
  const std::string name = header.find_text(kPre).value_or("default");
  if (const PreTokenizerRule* rule = find_pre_tokenizer(name)) return *rule;
  header.refuse_key(kPre, "is '" + name + "', which is not supported (" + known_pre_tokenizers() +
                              " are; --no-tokenizer imports the weights alone)");
}

void check_text(const GgufHeader& header, const char* key, std::size_t index, std::string_view text) {
  if (valid_utf8(text) != text) header.refuse_key(key, "is not valid UTF-8 at " + std::to_string(index));
}

/// Kinds and scores are optional; where they are there they are as many as the tokens.
GgufVocabulary read_vocabulary(const GgufHeader& header) {
  GgufVocabulary vocabulary;
  auto tokens = header.find_texts(kTokens);
  if (!tokens) header.refuse_key(kTokens, "is missing");
  vocabulary.tokens = std::move(*tokens);
  std::set<std::string_view> seen;
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    check_text(header, kTokens, id, vocabulary.tokens[id]);
    if (!seen.insert(vocabulary.tokens[id]).second)
      header.refuse_key(kTokens, "has '" + std::string(vocabulary.tokens[id]) + "' twice");
  }
  vocabulary.kinds.assign(vocabulary.tokens.size(), TokenKind::normal);
  if (const auto kinds = header.find_numbers(kKinds, vocabulary.tokens.size()))
    for (std::size_t id = 0; id < kinds->size(); ++id) {
      if (!((*kinds)[id] >= 1 && (*kinds)[id] <= 6))
        header.refuse_key(kKinds, "has an unknown kind of token at " + std::to_string(id));
      vocabulary.kinds[id] = static_cast<TokenKind>(static_cast<int>((*kinds)[id]));
    }
  if (const auto scores = header.find_numbers(kScores, vocabulary.tokens.size()))
    for (const double score : *scores) {
      if (!f32_is_finite(static_cast<float>(score)))
        header.refuse_key(kScores, "has a value that is not finite");
      vocabulary.scores.push_back(static_cast<float>(score));
    }
  return vocabulary;
}

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto* first = reinterpret_cast<const std::byte*>(text.data());
  return {first, first + text.size()};
}

/// Cuts by the rule's patterns, then nothing but the alphabet of bytes.
json pre_tokenizer_json(const PreTokenizerRule& rule) {
  json steps = json::array();
  for (const char* pattern : rule.patterns)
    steps.push_back(
        {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}});
  steps.push_back(
      {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}});
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

/// Tokens that are found in the text as they are written, before it is cut into words.
json added_tokens_json(const GgufVocabulary& vocabulary) {
  json added = json::array();
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const bool special =
        vocabulary.kinds[id] == TokenKind::control || vocabulary.kinds[id] == TokenKind::unknown;
    if (special || vocabulary.kinds[id] == TokenKind::user_defined)
      added.push_back({{"id", id},
                       {"content", vocabulary.tokens[id]},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", special}});
  }
  return added;
}

SourceTokenizer byte_level_tokenizer(const GgufHeader& header) {
  const GgufVocabulary vocabulary = read_vocabulary(header);
  const PreTokenizerRule& rule = rule_of(header);
  json vocab = json::object(), merges = json::array();
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id)
    vocab[std::string(vocabulary.tokens[id])] = id;
  const auto pairs = header.find_texts(kMerges);
  if (!pairs) header.refuse_key(kMerges, "is missing");
  for (const std::string_view pair : *pairs) {
    check_text(header, kMerges, merges.size(), pair);
    merges.push_back(pair);
  }
  const json model = {
      {"type", "BPE"}, {"ignore_merges", rule.ignore_merges}, {"vocab", vocab}, {"merges", merges}};
  const json file = {
      {"version", "1.0"},
      {"added_tokens", added_tokens_json(vocabulary)},
      {"normalizer", rule.composes ? json{{"type", "NFC"}} : json(nullptr)},
      {"pre_tokenizer", pre_tokenizer_json(rule)},
      {"decoder",
       {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}}},
      {"model", model}};
  return {"huggingface", bytes_of(file.dump()), header.file};
}

/// SentencePiece calls a token that does not exist -1.
int id_or_none(const GgufHeader& header, const char* key, std::size_t tokens) {
  const std::int64_t id = header.find_integer(key).value_or(-1);
  return id >= 0 && id < static_cast<std::int64_t>(tokens) ? static_cast<int>(id) : -1;
}

SourceTokenizer sentencepiece_tokenizer(const GgufHeader& header) {
  const GgufVocabulary vocabulary = read_vocabulary(header);
  if (vocabulary.scores.empty()) header.refuse_key(kScores, "is missing");
  const auto unknown = std::ranges::find(vocabulary.kinds, TokenKind::unknown);
  if (unknown == vocabulary.kinds.end()) header.refuse_key(kKinds, "marks no token as the unknown one");
  SentencePieceOptions options;
  options.add_dummy_prefix = header.find_boolean("tokenizer.ggml.add_space_prefix").value_or(true);
  options.remove_extra_whitespaces =
      header.find_boolean("tokenizer.ggml.remove_extra_whitespaces").value_or(false);
  options.unknown_id = static_cast<int>(unknown - vocabulary.kinds.begin());
  options.bos_id = id_or_none(header, "tokenizer.ggml.bos_token_id", vocabulary.tokens.size());
  options.eos_id = id_or_none(header, "tokenizer.ggml.eos_token_id", vocabulary.tokens.size());
  return {"sentencepiece", sentencepiece_model(vocabulary, options), header.file};
}

/// The text of a token that the file numbers; empty where it does not.
std::string text_of_token(const GgufHeader& header, const char* key) {
  const auto tokens = header.find_texts(kTokens);
  const int id = id_or_none(header, key, tokens ? tokens->size() : 0);
  return id < 0 ? std::string() : std::string((*tokens)[static_cast<std::size_t>(id)]);
}

SourceTokenizer with_chat(SourceTokenizer tokenizer, const GgufHeader& header) {
  const auto chat = header.find_text("tokenizer.chat_template");
  if (chat)
    tokenizer.chat = {*chat, text_of_token(header, "tokenizer.ggml.bos_token_id"),
                      text_of_token(header, "tokenizer.ggml.eos_token_id")};
  return tokenizer;
}

}  // namespace

void add_gguf_tokens(const GgufHeader& header, json& config) {
  const auto bos = header.find_integer("tokenizer.ggml.bos_token_id");
  if (bos) config["bos_token_id"] = *bos;
  json ends = json::array();
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"})
    if (const auto id = header.find_integer(key); id && std::ranges::find(ends, json(*id)) == ends.end())
      ends.push_back(*id);
  if (!ends.empty()) config["eos_token_id"] = ends;
  const PreTokenizerRule* rule = find_pre_tokenizer(header.find_text(kPre).value_or("default"));
  const bool usual = is_bytes(header) ? rule && rule->add_bos : header.find_text(kModel) == "llama";
  config["add_bos"] = header.find_boolean("tokenizer.ggml.add_bos_token").value_or(usual && bos);
}

SourceTokenizer gguf_tokenizer(const GgufHeader& header, std::vector<std::string>& warnings) {
  const std::string model = header.find_text(kModel).value_or("none");
  if (model == "gpt2") {
    if (!header.metadata.contains(kPre))
      warnings.push_back(
          "the file does not say how text is cut into words (tokenizer.ggml.pre): 'default' is taken");
    return with_chat(byte_level_tokenizer(header), header);
  }
  if (model == "llama") return with_chat(sentencepiece_tokenizer(header), header);
  if (model != "none" && model != "no_vocab")
    header.refuse_key(kModel, "is '" + model +
                                  "', only 'llama' and 'gpt2' are supported (--no-tokenizer imports the "
                                  "weights alone)");
  warnings.push_back("the file has no tokenizer: the checkpoint can be measured, but not be given text");
  return {};
}

}  // namespace stagformer::internal
