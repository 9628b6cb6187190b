#include "pipeline/scoring_text.hpp"

#include <algorithm>
#include <string>

#include "stagformer/error.hpp"
#include "text/utf8.hpp"

namespace stagformer::internal {
namespace {

bool is_blank(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

}  // namespace

std::size_t trailing_blanks(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0) {
    std::size_t begin = end - 1;  // of the last character: back over its continuation bytes
    while (begin > 0 && end - begin < 4 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
    const std::string_view character = text.substr(begin, end - begin);
    const Utf8Scan scan = scan_utf8(character);
    if (scan.kind != Utf8Scan::Kind::valid || scan.bytes != character.size() || !is_blank(scan.code_point))
      break;
    end = begin;
  }
  return text.size() - end;
}

std::vector<std::int32_t> ScoringTexts::tokens_of(std::string_view text) const {
  std::vector<std::int32_t> tokens = tokenizer_.encode(text);
  for (const std::int32_t id : tokens)
    if (id < 0 || id >= config_.vocab_size)
      throw CheckpointError("the tokenizer gives id " + std::to_string(id) +
                            " but the model's vocabulary has " + std::to_string(config_.vocab_size) +
                            " entries");
  return tokens;
}

std::int32_t ScoringTexts::beginning() const {
  if (config_.bos_token_id) return static_cast<std::int32_t>(*config_.bos_token_id);
  if (!config_.eos_token_ids.empty()) return static_cast<std::int32_t>(config_.eos_token_ids.front());
  throw InputError("there is no context, and the model has neither a BOS nor an EOS token to begin with");
}

std::vector<std::int32_t> ScoringTexts::with_bos(std::string_view text) const {
  std::vector<std::int32_t> tokens = tokens_of(text);
  if (config_.add_bos && config_.bos_token_id)
    tokens.insert(tokens.begin(), static_cast<std::int32_t>(*config_.bos_token_id));
  return tokens;
}

ScoringSequence ScoringTexts::continuation(std::string_view context, std::string_view continuation) const {
  ScoringSequence sequence;
  if (context.empty()) {
    sequence.tokens = tokens_of(continuation);
    const std::int32_t first = beginning();
    if (sequence.tokens.empty() || sequence.tokens.front() != first)
      sequence.tokens.insert(sequence.tokens.begin(), first);
  } else {
    const std::string whole = std::string(context) + std::string(continuation);
    sequence.tokens = with_bos(whole);
    const std::string_view kept = context.substr(0, context.size() - trailing_blanks(context));
    sequence.first_scored = static_cast<std::int64_t>(with_bos(kept).size());
  }
  const auto count = static_cast<std::int64_t>(sequence.tokens.size());
  if (sequence.first_scored < 1)
    throw InputError("the context has no tokens, so that nothing stands in front of the continuation");
  if (sequence.first_scored >= count)
    throw InputError("the continuation adds no token to those of its context");
  const std::int64_t scored = count - sequence.first_scored, surplus = sequence.rows() - longest_;
  if (scored > longest_)
    throw InputError("the continuation has " + std::to_string(scored) + " tokens, more than the context of " +
                     std::to_string(longest_));
  if (surplus > 0) {
    sequence.tokens.erase(sequence.tokens.begin(), sequence.tokens.begin() + surplus);
    sequence.first_scored -= surplus;
  }
  return sequence;
}

std::vector<ScoringSequence> ScoringTexts::whole(std::string_view text) const {
  std::vector<std::int32_t> tokens = tokens_of(text);
  std::vector<ScoringSequence> windows;
  if (tokens.empty()) return windows;
  tokens.insert(tokens.begin(), beginning());
  const auto count = static_cast<std::int64_t>(tokens.size());
  for (std::int64_t predicted = 1; predicted < count;) {
    const std::int64_t end = std::min(predicted + longest_, count);
    const std::int64_t begin = std::max<std::int64_t>(0, end - longest_ - 1);
    ScoringSequence window;
    window.tokens.assign(tokens.begin() + begin, tokens.begin() + end);
    window.first_scored = predicted - begin;
    windows.push_back(std::move(window));
    predicted = end;
  }
  return windows;
}

}  // namespace stagformer::internal
