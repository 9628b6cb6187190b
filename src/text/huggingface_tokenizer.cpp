#include "text/huggingface_tokenizer.hpp"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "text/added_tokens.hpp"
#include "text/byte_level.hpp"
#include "text/byte_pair_model.hpp"
#include "text/normalizer.hpp"
#include "text/pre_tokenizer.hpp"
#include "text/utf8.hpp"

namespace stagformer::internal {
namespace {

constexpr std::size_t kLongestCachedWord = 64;
constexpr std::size_t kMostCachedWords = 1 << 16;

class HuggingFaceTokenizer final : public Tokenizer {
 public:
  explicit HuggingFaceTokenizer(const JsonNode& root)
      : normalizer_(root.find("normalizer")),
        pre_tokenizer_(root.at("pre_tokenizer")),
        model_(root.at("model")) {
    check_decoder(root.at("decoder"));
    for (const auto& [token, id] : model_.vocabulary())
      set_bytes(root, id, bytes_of_symbols(token).value_or(token));
    if (const auto list = root.find("added_tokens")) add_tokens(*list);
  }

  std::vector<std::int32_t> encode(std::string_view text) const override {
    return encode_chat(valid_utf8(text), {});
  }
  std::vector<std::int32_t> encode_chat(std::string_view text,
                                        const std::vector<bool>& foreign) const override;
  std::string token_name(std::int32_t id) const override {
    const auto name = names_.find(id);
    return name == names_.end() ? token_bytes(id) : name->second;
  }
  std::string token_bytes(std::int32_t id) const override {
    return id >= 0 && id < vocab_size() ? bytes_[static_cast<std::size_t>(id)] : std::string();
  }
  std::string decode(std::span<const std::int32_t> ids) const override {
    std::string text;
    for (const std::int32_t id : ids) text += token_bytes(id);
    return text;
  }
  std::int64_t vocab_size() const override { return static_cast<std::int64_t>(bytes_.size()); }
  const char* type() const override { return "huggingface"; }

 private:
  /// Ids of words met before in the same call.
  using Cache = std::unordered_map<std::string, std::vector<std::int32_t>>;

  void check_decoder(const JsonNode& decoder) const;
  void set_bytes(const JsonNode& node, std::int32_t id, std::string bytes);
  void add_tokens(const JsonNode& list);
  void encode_between(std::string_view text, const std::vector<bool>& foreign, Cache& cache,
                      std::vector<std::int32_t>& ids) const;
  void encode_plain(std::string_view text, Cache& cache, std::vector<std::int32_t>& ids) const;
  void encode_word(const std::string& word, Cache& cache, std::vector<std::int32_t>& ids) const;

  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  BytePairModel model_;
  AddedTokenMatcher raw_tokens_, normalized_tokens_;
  std::unordered_map<std::int32_t, std::string> names_;  ///< of special tokens
  std::vector<std::string> bytes_;  ///< by id; empty for special tokens and ids that the file leaves out
};

void HuggingFaceTokenizer::check_decoder(const JsonNode& decoder) const {
  if (decoder.at("type").string() != "ByteLevel") decoder.refuse_type();
}

void HuggingFaceTokenizer::set_bytes(const JsonNode& node, std::int32_t id, std::string bytes) {
  const auto index = static_cast<std::size_t>(id);
  if (index >= bytes_.size()) bytes_.resize(index + 1);
  if (!bytes_[index].empty()) node.refuse("id " + std::to_string(id) + " belongs to two tokens");
  bytes_[index] = std::move(bytes);
}

void HuggingFaceTokenizer::add_tokens(const JsonNode& list) {
  for (AddedToken& token : read_added_tokens(list)) {
    const auto known = model_.vocabulary().find(token.content);
    if (known != model_.vocabulary().end()) {
      if (known->second != token.id) list.refuse("'" + token.content + "' has another id in the vocabulary");
      bytes_[static_cast<std::size_t>(token.id)].clear();
    }
    set_bytes(list, token.id, token.special ? std::string() : token.content);
    // What decodes to nothing is still written by templates: bos_token, eos_token.
    if (token.special) names_[token.id] = token.content;
    if (token.normalized) token.content = normalizer_.normalize(token.content);
    (token.normalized ? normalized_tokens_ : raw_tokens_).add(token);
  }
}

/// The marks of a part of a text.
std::vector<bool> marks_of(const std::vector<bool>& foreign, std::size_t begin, std::size_t bytes) {
  if (foreign.empty()) return {};
  const auto first = foreign.begin() + static_cast<std::ptrdiff_t>(begin);
  return {first, first + static_cast<std::ptrdiff_t>(bytes)};
}

/// `text` is valid UTF-8: encode() has made it so, since neither patterns nor normal forms are defined for
/// other bytes.
std::vector<std::int32_t> HuggingFaceTokenizer::encode_chat(std::string_view text,
                                                            const std::vector<bool>& foreign) const {
  std::vector<std::int32_t> ids;
  Cache cache;
  for (const TextSegment& raw : raw_tokens_.split(text, foreign)) {
    const auto begin = static_cast<std::size_t>(raw.text.data() - text.data());
    if (raw.id >= 0)
      ids.push_back(raw.id);
    else
      encode_between(raw.text, marks_of(foreign, begin, raw.text.size()), cache, ids);
  }
  return ids;
}

/// The marks of the normal form of a text: that of its foreign and own runs, each by itself. Where these do
/// not make the whole's (a user's accent behind the template's letter), all of it counts as foreign.
std::vector<bool> normal_marks(const Normalizer& normalizer, std::string_view text, const std::string& normal,
                               const std::vector<bool>& foreign) {
  std::string joined;
  std::vector<bool> marks;
  for (std::size_t begin = 0, end = 0; begin < text.size(); begin = end) {
    while (end < text.size() && foreign[end] == foreign[begin]) ++end;
    joined += normalizer.normalize(std::string(text.substr(begin, end - begin)));
    marks.resize(joined.size(), foreign[begin]);
  }
  return joined == normal ? marks : std::vector<bool>(normal.size(), true);
}

void HuggingFaceTokenizer::encode_between(std::string_view text, const std::vector<bool>& foreign,
                                          Cache& cache, std::vector<std::int32_t>& ids) const {
  const std::string normal = normalizer_.normalize(std::string(text));
  std::vector<bool> marks;
  if (std::ranges::find(foreign, true) != foreign.end())
    marks = normal == text ? foreign : normal_marks(normalizer_, text, normal, foreign);
  for (const TextSegment& segment : normalized_tokens_.split(normal, marks)) {
    if (segment.id >= 0)
      ids.push_back(segment.id);
    else
      encode_plain(segment.text, cache, ids);
  }
}

void HuggingFaceTokenizer::encode_plain(std::string_view text, Cache& cache,
                                        std::vector<std::int32_t>& ids) const {
  for (const std::string& word : pre_tokenizer_.split(text)) encode_word(word, cache, ids);
}

void HuggingFaceTokenizer::encode_word(const std::string& word, Cache& cache,
                                       std::vector<std::int32_t>& ids) const {
  if (word.size() > kLongestCachedWord || cache.size() >= kMostCachedWords) return model_.encode(word, ids);
  const auto [entry, inserted] = cache.try_emplace(word);
  if (inserted) model_.encode(word, entry->second);
  ids.insert(ids.end(), entry->second.begin(), entry->second.end());
}

}  // namespace

std::unique_ptr<Tokenizer> make_huggingface_tokenizer(std::span<const std::byte> model) {
  const nlohmann::json file = parse_tokenizer_json(model);
  return std::make_unique<HuggingFaceTokenizer>(JsonNode(file, ""));
}

}  // namespace stagformer::internal
