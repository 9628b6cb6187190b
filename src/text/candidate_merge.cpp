#include "text/candidate_merge.hpp"

#include <algorithm>

namespace stagformer::internal {

void CandidateMerge::reset(const Records& records) {
  records_ = &records;
  heap_.clear();
  list_.clear();
  floor_.reset();
  for (int part = 0; part < records.parts(); ++part) {
    const RecordHeader header = records.header(part);
    if (header.candidates == 0) continue;
    heap_.push_back({records.candidate(part, 0), part, 1, header.candidates});
    const Candidate last = records.candidate(part, header.candidates - 1);
    if (header.truncated != 0 && (!floor_ || better(last, *floor_))) floor_ = last;
  }
  std::make_heap(heap_.begin(), heap_.end(), later);
}

CandidateMerge::Reach CandidateMerge::ensure(std::size_t n) {
  while (list_.size() < n) {
    // Rows that were not sent are worse than the floor; what is below it may have one of them before it.
    if (heap_.empty()) return floor_ ? Reach::unknown : Reach::end;
    if (floor_ && better(*floor_, heap_.front().candidate)) return Reach::unknown;
    std::pop_heap(heap_.begin(), heap_.end(), later);
    Head& head = heap_.back();
    list_.push_back(head.candidate);
    if (head.next == head.end) {
      heap_.pop_back();
      continue;
    }
    head.candidate = records_->candidate(head.part, head.next++);
    std::push_heap(heap_.begin(), heap_.end(), later);
  }
  return Reach::have;
}

}  // namespace stagformer::internal
