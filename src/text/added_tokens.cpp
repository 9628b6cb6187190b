#include "text/added_tokens.hpp"

#include <utf8proc.h>

#include <algorithm>

#include "text/byte_pair_model.hpp"
#include "text/utf8.hpp"

namespace stagformer::internal {
namespace {

bool is_white_space(char32_t c) {
  return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_word_character(char32_t c) {
  if (c == 0x200C || c == 0x200D) return true;  // joiners
  const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) ||
         category == UTF8PROC_CATEGORY_PC;
}

/// The character that ends at `end`; end > 0, valid UTF-8.
Utf8Scan character_before(std::string_view text, std::size_t end) {
  std::size_t begin = end - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return scan_utf8(text.substr(begin));
}

bool stands_alone(std::string_view text, std::size_t begin, std::size_t end) {
  const bool before = begin > 0 && is_word_character(character_before(text, begin).code_point);
  const bool after = end < text.size() && is_word_character(scan_utf8(text.substr(end)).code_point);
  return !before && !after;
}

std::size_t white_space_begin(std::string_view text, std::size_t end) {
  while (end > 0) {
    const Utf8Scan scan = character_before(text, end);
    if (!is_white_space(scan.code_point)) break;
    end -= scan.bytes;
  }
  return end;
}

std::size_t white_space_end(std::string_view text, std::size_t begin) {
  while (begin < text.size()) {
    const Utf8Scan scan = scan_utf8(text.substr(begin));
    if (!is_white_space(scan.code_point)) break;
    begin += scan.bytes;
  }
  return begin;
}

}  // namespace

std::vector<AddedToken> read_added_tokens(const JsonNode& list) {
  std::vector<AddedToken> tokens;
  for (std::size_t i = 0; i < list.array().size(); ++i) {
    const JsonNode node = list.element(i);
    AddedToken token;
    token.content = node.at("content").string();
    token.id = token_id(node.at("id"));
    token.special = node.flag("special", false);
    token.single_word = node.flag("single_word", false);
    token.lstrip = node.flag("lstrip", false);
    token.rstrip = node.flag("rstrip", false);
    token.normalized = node.flag("normalized", !token.special);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

void AddedTokenMatcher::add(const AddedToken& token) {
  if (token.content.empty()) return;
  std::size_t at = 0;
  for (const char c : token.content) {
    const auto [child, inserted] = nodes_[at].children.try_emplace(c, nodes_.size());
    at = child->second;
    if (inserted) nodes_.emplace_back();
  }
  nodes_[at].token = static_cast<std::ptrdiff_t>(tokens_.size());
  tokens_.push_back(token);
}

const AddedToken* AddedTokenMatcher::longest_at(std::string_view text, std::size_t begin,
                                                const std::vector<bool>& foreign) const {
  std::ptrdiff_t longest = -1;
  bool any_foreign = false;
  std::size_t node = 0;
  for (std::size_t i = begin; i < text.size(); ++i) {
    const auto child = nodes_[node].children.find(text[i]);
    if (child == nodes_[node].children.end()) break;
    node = child->second;
    any_foreign = any_foreign || (!foreign.empty() && foreign[i]);
    const std::ptrdiff_t token = nodes_[node].token;
    if (token >= 0 && !(any_foreign && tokens_[static_cast<std::size_t>(token)].special)) longest = token;
  }
  return longest < 0 ? nullptr : &tokens_[static_cast<std::size_t>(longest)];
}

std::vector<TextSegment> AddedTokenMatcher::split(std::string_view text,
                                                  const std::vector<bool>& foreign) const {
  std::vector<TextSegment> segments;
  std::size_t done = 0;  // all before is in a segment
  for (std::size_t at = 0; at < text.size();) {
    const AddedToken* token = longest_at(text, at, foreign);
    if (token == nullptr) {
      ++at;
      continue;
    }
    const std::size_t found = at;
    at += token->content.size();
    if (token->single_word && !stands_alone(text, found, at)) continue;
    const std::size_t begin = token->lstrip ? std::max(white_space_begin(text, found), done) : found;
    if (begin > done) segments.push_back({text.substr(done, begin - done)});
    done = token->rstrip ? white_space_end(text, at) : at;
    segments.push_back({text.substr(begin, done - begin), token->id});
    at = std::max(at, done);
  }
  if (done < text.size()) segments.push_back({text.substr(done)});
  return segments;
}

}  // namespace stagformer::internal
