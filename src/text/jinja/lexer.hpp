// A template's source cut into tokens, white space handled as transformers sets Jinja up: trim_blocks (the
// newline behind a block goes) and lstrip_blocks (so do blanks in front of one at a line's beginning).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace stagformer::internal::jinja {

struct Token {
  enum class Kind {
    data,
    block_begin,
    block_end,
    print_begin,
    print_end,
    name,
    integer,
    number,
    text,
    sign,
    end
  };
  Kind kind = Kind::end;
  std::string text;  ///< of a text literal: what it stands for
  int line = 0;
};

/// Throws Problem for what is no template, naming the line. The last token is `end`.
std::vector<Token> tokenize(std::string_view source);

}  // namespace stagformer::internal::jinja
