#include "text/pre_tokenizer.hpp"

#include <algorithm>

namespace stagformer::internal {
namespace {

constexpr int kDeepestSequence = 16;
constexpr const char* kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

SplitBehavior behavior_from(const JsonNode& node) {
  const std::string& name = node.string();
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  node.refuse("'" + name + "' is not supported");
}

struct Piece {
  TextRange range;
  bool match;
};

/// Matches and what lies between them, covering the whole text.
std::vector<Piece> cover(const std::vector<TextRange>& matches, std::size_t size, bool invert) {
  std::vector<Piece> pieces;
  std::size_t end = 0;
  for (const TextRange& match : matches) {
    if (match.begin > end) pieces.push_back({{end, match.begin}, invert});
    pieces.push_back({match, !invert});
    end = match.end;
  }
  if (end < size) pieces.push_back({{end, size}, invert});
  return pieces;
}

/// Appends every match that does not follow another match to the piece before it (in the order given).
void merge_matches(std::vector<Piece>& pieces) {
  std::vector<Piece> merged;
  bool previous_match = false;
  for (const Piece& piece : pieces) {
    if (piece.match && !previous_match && !merged.empty()) {
      TextRange& range = merged.back().range;
      range = {std::min(range.begin, piece.range.begin), std::max(range.end, piece.range.end)};
    } else {
      merged.push_back(piece);
    }
    previous_match = piece.match;
  }
  pieces = std::move(merged);
}

void join_equal(std::vector<Piece>& pieces) {
  std::vector<Piece> joined;
  for (const Piece& piece : pieces) {
    if (!joined.empty() && joined.back().match == piece.match) {
      joined.back().range.end = piece.range.end;
    } else {
      joined.push_back(piece);
    }
  }
  pieces = std::move(joined);
}

}  // namespace

std::vector<TextRange> split_at_matches(const std::vector<TextRange>& matches, std::size_t size,
                                        SplitBehavior behavior, bool invert) {
  std::vector<Piece> pieces = cover(matches, size, invert);
  if (behavior == SplitBehavior::removed)
    std::erase_if(pieces, [](const Piece& piece) { return piece.match; });
  if (behavior == SplitBehavior::contiguous) join_equal(pieces);
  if (behavior == SplitBehavior::merged_with_previous) merge_matches(pieces);
  if (behavior == SplitBehavior::merged_with_next) {
    std::reverse(pieces.begin(), pieces.end());
    merge_matches(pieces);
    std::reverse(pieces.begin(), pieces.end());
  }
  std::vector<TextRange> ranges;
  for (const Piece& piece : pieces)
    if (piece.range.end > piece.range.begin) ranges.push_back(piece.range);
  return ranges;
}

PreTokenizer::PreTokenizer(const JsonNode& node) {
  add(node, 0);
  if (!byte_level_) node.refuse("ends without ByteLevel, which is not supported");
}

void PreTokenizer::add(const JsonNode& node, int depth) {
  const std::string& type = node.at("type").string();
  if (byte_level_) node.refuse("'" + type + "' behind ByteLevel is not supported");
  if (depth > kDeepestSequence) node.refuse("sequences are nested too deeply");
  if (type == "ByteLevel") return add_byte_level(node);
  if (type == "Split") return add_split(node);
  if (type == "Digits") return add_digits(node);
  if (type != "Sequence") node.refuse_type();
  const JsonNode members = node.at("pretokenizers");
  for (std::size_t i = 0; i < members.array().size(); ++i) add(members.element(i), depth + 1);
}

void PreTokenizer::add_byte_level(const JsonNode& node) {
  Step step;
  step.add_prefix_space = node.flag("add_prefix_space", true);
  if (node.flag("use_regex", true)) step.pattern.emplace(kGpt2Pattern, false, node.path());
  steps_.push_back(std::move(step));
  byte_level_ = true;
}

void PreTokenizer::add_split(const JsonNode& node) {
  Step step;
  const JsonNode pattern = node.at("pattern");
  const auto regex = pattern.find("Regex");
  step.pattern.emplace(regex ? regex->string() : pattern.at("String").string(), !regex, pattern.path());
  step.behavior = behavior_from(node.at("behavior"));
  step.invert = node.flag("invert", false);
  steps_.push_back(std::move(step));
}

void PreTokenizer::add_digits(const JsonNode& node) {
  Step step;
  step.pattern.emplace(R"(\p{N})", false, node.path());
  step.behavior = node.flag("individual_digits", false) ? SplitBehavior::isolated : SplitBehavior::contiguous;
  steps_.push_back(std::move(step));
}

void PreTokenizer::Step::apply(std::string word, std::vector<std::string>& out) const {
  if (word.empty()) return;
  if (add_prefix_space && word.front() != ' ') word.insert(word.begin(), ' ');
  if (!pattern) return out.push_back(std::move(word));
  for (const TextRange& range : split_at_matches(pattern->matches(word), word.size(), behavior, invert))
    out.push_back(word.substr(range.begin, range.end - range.begin));
}

std::vector<std::string> PreTokenizer::split(std::string_view text) const {
  std::vector<std::string> words{std::string(text)};
  for (const Step& step : steps_) {
    std::vector<std::string> cut;
    for (std::string& word : words) step.apply(std::move(word), cut);
    words = std::move(cut);
  }
  return words;
}

}  // namespace stagformer::internal
