#include "text/byte_pair_model.hpp"

#include <algorithm>

#include "text/byte_level.hpp"

namespace stagformer::internal {

std::int32_t token_id(const JsonNode& node) {
  const std::int64_t id = node.integer();
  if (id < 0 || id >= kMostTokens)
    node.refuse("token id must be from 0 to " + std::to_string(kMostTokens - 1) + ", found " +
                node.value().dump());
  return static_cast<std::int32_t>(id);
}

BytePairModel::BytePairModel(const JsonNode& model) {
  refuse_unsupported(model);
  read_vocabulary(model.at("vocab"));
  for (int byte = 0; byte < 256; ++byte) {
    const auto found = vocabulary_.find(byte_symbol(static_cast<unsigned char>(byte)));
    byte_ids_[static_cast<std::size_t>(byte)] = found == vocabulary_.end() ? -1 : found->second;
  }
  if (const auto unknown = model.find("unk_token")) {
    const auto found = vocabulary_.find(unknown->string());
    if (found == vocabulary_.end()) unknown->refuse("'" + unknown->string() + "' is not in the vocabulary");
    unknown_id_ = found->second;
  }
  fuse_unknown_ = model.flag("fuse_unk", false);
  read_merges(model.at("merges"));
  if (!model.flag("ignore_merges", false)) return;
  for (const auto& [token, id] : vocabulary_)
    if (auto bytes = bytes_of_symbols(token)) whole_words_.emplace(std::move(*bytes), id);
}

void BytePairModel::refuse_unsupported(const JsonNode& model) const {
  // Files of before the field existed have no type.
  if (const auto type = model.find("type"); type && type->string() != "BPE") model.refuse_type();
  if (model.flag("byte_fallback", false)) model.at("byte_fallback").refuse("true is not supported");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (const auto affix = model.find(key); affix && !affix->string().empty())
      affix->refuse("'" + affix->string() + "' is not supported");
  const auto dropout = model.find("dropout");
  if (dropout && dropout->value() != 0) dropout->refuse(dropout->value().dump() + " is not supported");
}

void BytePairModel::read_vocabulary(const JsonNode& vocab) {
  vocabulary_.reserve(vocab.object().size());
  for (const auto& [token, id] : vocab.value().items())
    vocabulary_.emplace(token, token_id({id, vocab.path()}));
  if (vocabulary_.empty()) vocab.refuse("is empty");
}

// A merge is "left right" or, in newer files, ["left", "right"].
void BytePairModel::read_merges(const JsonNode& merges) {
  merges_.reserve(merges.array().size());
  std::int32_t rank = 0;
  for (const auto& entry : merges.value()) {
    const JsonNode node(entry, merges.path());
    if (entry.is_array()) {
      if (entry.size() != 2) node.refuse("a merge must have two parts, found " + entry.dump());
      add_merge(node, node.element(0).string(), node.element(1).string(), rank++);
      continue;
    }
    const std::string& text = node.string();
    if (text.starts_with("#version")) continue;
    const std::size_t blank = text.find(' ');
    if (blank == std::string::npos || text.find(' ', blank + 1) != std::string::npos)
      node.refuse("a merge must be two tokens with a blank between them, found '" + text + "'");
    add_merge(node, text.substr(0, blank), text.substr(blank + 1), rank++);
  }
}

void BytePairModel::add_merge(const JsonNode& node, const std::string& left, const std::string& right,
                              std::int32_t rank) {
  const auto id_of = [&](const std::string& token) {
    const auto found = vocabulary_.find(token);
    if (found == vocabulary_.end()) node.refuse("'" + token + "' is not in the vocabulary");
    return found->second;
  };
  const std::int32_t left_id = id_of(left), right_id = id_of(right);
  merges_.insert_or_assign(pair_key(left_id, right_id), Merge{rank, id_of(left + right)});
}

std::vector<BytePairModel::Symbol> BytePairModel::symbols_of(std::string_view word) const {
  std::vector<Symbol> symbols;
  symbols.reserve(word.size());
  bool after_unknown = false;
  for (const char c : word) {
    const std::int32_t known = byte_ids_[static_cast<unsigned char>(c)];
    const std::int32_t id = known >= 0 ? known : unknown_id_;
    const bool fused = known < 0 && after_unknown && fuse_unknown_;
    after_unknown = known < 0;
    if (id < 0 || fused) continue;
    const auto position = static_cast<std::int32_t>(symbols.size());
    symbols.push_back({id, position - 1, position + 1});
  }
  if (!symbols.empty()) symbols.back().next = -1;
  return symbols;
}

bool BytePairModel::later(const Candidate& a, const Candidate& b) {
  return a.merge.rank != b.merge.rank ? a.merge.rank > b.merge.rank : a.position > b.position;
}

void BytePairModel::push_candidate(const std::vector<Symbol>& symbols, std::int32_t position,
                                   std::vector<Candidate>& heap) const {
  const Symbol& left = symbols[static_cast<std::size_t>(position)];
  if (left.next < 0) return;
  const auto found = merges_.find(pair_key(left.id, symbols[static_cast<std::size_t>(left.next)].id));
  if (found == merges_.end()) return;
  heap.push_back({found->second, position});
  std::push_heap(heap.begin(), heap.end(), later);
}

// The lowest rank first, then the leftmost: a heap of candidates over a linked list, O(n log n). A candidate
// whose symbols have changed meanwhile is known by its pair no longer giving the same token.
void BytePairModel::merge_all(std::vector<Symbol>& symbols) const {
  std::vector<Candidate> heap;
  for (std::size_t i = 0; i + 1 < symbols.size(); ++i)
    push_candidate(symbols, static_cast<std::int32_t>(i), heap);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const Candidate candidate = heap.back();
    heap.pop_back();
    Symbol& left = symbols[static_cast<std::size_t>(candidate.position)];
    if (left.id < 0 || left.next < 0) continue;
    Symbol& right = symbols[static_cast<std::size_t>(left.next)];
    const auto found = merges_.find(pair_key(left.id, right.id));
    if (found == merges_.end() || found->second.id != candidate.merge.id) continue;
    left.id = candidate.merge.id;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) symbols[static_cast<std::size_t>(left.next)].previous = candidate.position;
    if (left.previous >= 0) push_candidate(symbols, left.previous, heap);
    push_candidate(symbols, candidate.position, heap);
  }
}

void BytePairModel::encode(std::string_view word, std::vector<std::int32_t>& ids) const {
  if (!whole_words_.empty()) {
    const auto found = whole_words_.find(std::string(word));
    if (found != whole_words_.end()) return ids.push_back(found->second);
  }
  std::vector<Symbol> symbols = symbols_of(word);
  merge_all(symbols);
  for (const Symbol& symbol : symbols)
    if (symbol.id >= 0) ids.push_back(symbol.id);
}

}  // namespace stagformer::internal
