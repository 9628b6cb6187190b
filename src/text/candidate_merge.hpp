// The candidates of all records as one list in descending order, as far down as that order is certain.
#pragma once

#include <optional>
#include <vector>

#include "text/sampling_record.hpp"

namespace stagformer::internal {

class CandidateMerge {
 public:
  /// Starts over with the records of another row; keeps its memory.
  void reset(const Records& records);

  enum class Reach {
    have,     ///< there are at least n candidates and the first n are known
    end,      ///< the vocabulary has fewer, all are known
    unknown,  ///< a row that was not sent might come before the n-th
  };
  Reach ensure(std::size_t n);

  const std::vector<Candidate>& list() const { return list_; }

 private:
  struct Head {
    Candidate candidate;
    int part;
    std::int32_t next;  ///< index of the following candidate in the part's record
    std::int32_t end;
  };
  static bool later(const Head& a, const Head& b) { return better(b.candidate, a.candidate); }

  const Records* records_ = nullptr;
  std::vector<Head> heap_;          ///< the best unread candidate of every part, the best of all on top
  std::optional<Candidate> floor_;  ///< best of the last candidates sent by truncated slices
  std::vector<Candidate> list_;
};

}  // namespace stagformer::internal
