#include "text/regex.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "stagformer/error.hpp"
#include "text/utf8.hpp"

namespace stagformer::internal {
namespace {

std::string message_of(int error) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(error, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

struct MatchData {
  explicit MatchData(const pcre2_code* code) : data(pcre2_match_data_create_from_pattern(code, nullptr)) {
    if (data == nullptr) throw std::bad_alloc();
  }
  ~MatchData() { pcre2_match_data_free(data); }
  MatchData(const MatchData&) = delete;
  MatchData& operator=(const MatchData&) = delete;
  pcre2_match_data* data;
};

/// False where nothing matches from `start` on.
bool search(const pcre2_code* code, std::string_view text, std::size_t start, pcre2_match_data* data) {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  int result = pcre2_match(code, subject, text.size(), start, PCRE2_NO_UTF_CHECK, data, nullptr);
  if (result == PCRE2_ERROR_JIT_STACKLIMIT)
    result = pcre2_match(code, subject, text.size(), start, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, nullptr);
  if (result == PCRE2_ERROR_NOMATCH) return false;
  if (result < 0)
    throw InputError("the tokenizer's pattern cannot be searched for in the text: " + message_of(result));
  return true;
}

}  // namespace

void Regex::Free::operator()(pcre2_real_code_8* code) const {
  pcre2_code_free(code);
}

Regex::Regex(const std::string& pattern, bool literal, const std::string& where) {
  const std::string translated = literal ? pattern : pattern_for_pcre2(pattern, where);
  if (translated.empty()) throw CheckpointError("tokenizer/model: " + where + ": the pattern is empty");
  // Oniguruma's ^ and $ always mean lines.
  const std::uint32_t options = literal ? PCRE2_UTF | PCRE2_LITERAL : PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE;
  int error = 0;
  PCRE2_SIZE offset = 0;
  code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(), options,
                            &error, &offset, nullptr));
  if (!code_)
    throw CheckpointError("tokenizer/model: " + where + ": the pattern '" + quotable(pattern) +
                          "' is not supported: " + message_of(error) + " at byte " + std::to_string(offset));
  pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);  // without it the search is slower, nothing else
}

// An empty match right behind the last match is passed over, as the original's iterator does.
std::vector<TextRange> Regex::matches(std::string_view text) const {
  const MatchData match(code_.get());
  std::vector<TextRange> found;
  std::size_t start = 0;
  while (start <= text.size() && search(code_.get(), text, start, match.data)) {
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(match.data);
    const TextRange range{bounds[0], bounds[1]};
    const bool empty = range.begin >= range.end;
    if (empty && !found.empty() && found.back().end == range.end) {
      start += start < text.size() ? scan_utf8(text.substr(start)).bytes : 1;
      continue;
    }
    found.push_back(range);
    start = range.end;
  }
  return found;
}

}  // namespace stagformer::internal
