#include "pipeline/trace.hpp"

namespace stagformer::internal {

const char* name_of(TraceSpan::Kind kind) {
  switch (kind) {
    case TraceSpan::Kind::section:
      return "section";
    case TraceSpan::Kind::wait_input:
      return "wait for input of section";
    case TraceSpan::Kind::wait_memory:
      return "wait for memory of section";
    case TraceSpan::Kind::absorb:
      return "project memory of section";
    case TraceSpan::Kind::send:
      return "send outputs of section";
    case TraceSpan::Kind::read_out:
      return "read-out";
    case TraceSpan::Kind::sum_outputs:
      return "sum outputs";
    case TraceSpan::Kind::make_z:
      return "make z";
    case TraceSpan::Kind::wait_z:
      return "wait for z";
    case TraceSpan::Kind::head:
      return "head";
    case TraceSpan::Kind::candidates:
      return "candidates";
    case TraceSpan::Kind::wait_candidates:
      return "wait for candidates";
    case TraceSpan::Kind::choose:
      return "choose token";
    case TraceSpan::Kind::tell_token:
      return "tell token";
    case TraceSpan::Kind::wait_token:
      return "wait for token";
  }
  return "";
}

const char* name_of(TraceMessage::Kind kind) {
  switch (kind) {
    case TraceMessage::Kind::states:
      return "hidden states";
    case TraceMessage::Kind::z:
      return "z";
    case TraceMessage::Kind::candidates:
      return "candidates";
    case TraceMessage::Kind::token:
      return "token";
  }
  return "";
}

}  // namespace stagformer::internal
