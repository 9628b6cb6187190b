// A template as a tree.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/value.hpp"

namespace stagformer::internal::jinja {

struct Expression;
using ExpressionPointer = std::unique_ptr<Expression>;

struct Expression {
  enum class Kind {
    literal,      ///< value
    name,         ///< name
    list,         ///< operands; also a tuple
    tuple,        //
    dict,         ///< operands: key, value, key, value, ...
    attribute,    ///< operands[0].name
    item,         ///< operands[0][operands[1]]
    slice,        ///< operands[0][operands[1]:operands[2]:operands[3]]; those may be null
    call,         ///< operands[0](operands[1..], named)
    filter,       ///< operands[0] | name(operands[1..], named)
    test,         ///< operands[0] is name(operands[1..], named)
    unary,        ///< name: - + not
    binary,       ///< name: an operator of numbers, texts or lists; ~ joins texts
    logic,        ///< name: and, or
    comparison,   ///< operands[0] names[0] operands[1] names[1] operands[2] ...
    conditional,  ///< operands[1] if operands[0] else operands[2], which may be null
  };
  Kind kind;
  int line = 0;
  std::string name;
  std::vector<std::string> names;
  Value value;
  std::vector<ExpressionPointer> operands;
  std::vector<std::pair<std::string, ExpressionPointer>> named;  ///< keyword arguments
};

struct Statement;
using Block = std::vector<Statement>;

struct Statement {
  enum class Kind {
    text,       ///< text
    print,      ///< expression
    set,        ///< targets = expression
    set_field,  ///< targets[0].targets[1] = expression, of a namespace
    set_block,  ///< targets[0] = what body prints
    condition,  ///< if expression: body, else: otherwise
    loop,       ///< for targets in expression if filter: body, else: otherwise
    macro,      ///< name targets[0], parameters targets[1..] with defaults (null: none)
    continue_loop,
    break_loop,
  };
  Kind kind;
  int line = 0;
  std::string text;
  std::vector<std::string> targets;
  ExpressionPointer expression, filter;
  std::vector<ExpressionPointer> defaults;
  Block body, otherwise;
};

}  // namespace stagformer::internal::jinja
