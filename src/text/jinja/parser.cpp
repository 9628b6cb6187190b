#include "text/jinja/parser.hpp"

#include <initializer_list>

#include "text/jinja/expression_parser.hpp"

namespace stagformer::internal::jinja {
namespace {

constexpr int kDeepest = 100;

class Parser {
 public:
  explicit Parser(std::string_view source) : tokens_(tokenize(source)), expressions_(tokens_) {}

  Block run() {
    Block block = body({});
    if (!tokens_.is(Token::Kind::end)) tokens_.refuse("unexpected block");
    return block;
  }

 private:
  using Kind = Statement::Kind;

  Statement make(Kind kind) const {
    Statement statement;
    statement.kind = kind;
    statement.line = tokens_.now().line;
    return statement;
  }

  /// Statements up to a block that begins with one of `ends`, which is left in place behind its opening sign.
  Block body(std::initializer_list<const char*> ends) {
    if (++depth_ > kDeepest) tokens_.refuse("blocks are nested too deep");
    Block block;
    while (!tokens_.is(Token::Kind::end)) {
      if (tokens_.is(Token::Kind::data)) {
        block.push_back(make(Kind::text));
        block.back().text = tokens_.take().text;
      } else if (tokens_.is(Token::Kind::print_begin)) {
        block.push_back(print());
      } else {
        tokens_.expect(Token::Kind::block_begin, "a block");
        if (is_one_of(ends)) break;
        statement(block);
      }
    }
    if (tokens_.is(Token::Kind::end) && ends.size() > 0)
      tokens_.refuse(std::string("{% ") + *(ends.end() - 1) + " %} is missing");
    --depth_;
    return block;
  }
  bool is_one_of(std::initializer_list<const char*> names) const {
    for (const char* name : names)
      if (tokens_.is_name(name)) return true;
    return false;
  }
  void end_of_block() { tokens_.expect(Token::Kind::block_end, "the end of the block"); }
  void expect_end(const char* name) {
    if (!tokens_.take_name(name)) tokens_.refuse(std::string("{% ") + name + " %} is expected");
    end_of_block();
  }

  Statement print() {
    tokens_.take();
    Statement statement = make(Kind::print);
    statement.expression = expressions_.expression_or_tuple();
    tokens_.expect(Token::Kind::print_end, "the end of the expression");
    return statement;
  }

  void statement(Block& block) {
    const std::string keyword = tokens_.is(Token::Kind::name) ? tokens_.now().text : "";
    if (keyword == "if") return block.push_back(condition());
    if (keyword == "for") return block.push_back(loop());
    if (keyword == "set") return block.push_back(set());
    if (keyword == "macro") return block.push_back(macro());
    if (keyword == "generation") return generation(block);
    if (keyword.starts_with("end") || keyword.starts_with("el")) tokens_.refuse("unexpected block");
    if (keyword != "break" && keyword != "continue") tokens_.refuse("this block is not supported");
    tokens_.take();
    block.push_back(make(keyword == "break" ? Kind::break_loop : Kind::continue_loop));
    end_of_block();
  }

  /// Marks what the model wrote, for training. Prints its body.
  void generation(Block& block) {
    tokens_.take();
    end_of_block();
    for (Statement& inner : body({"endgeneration"})) block.push_back(std::move(inner));
    expect_end("endgeneration");
  }

  /// From `if` or `elif` on, its end included.
  Statement condition() {
    Statement statement = make(Kind::condition);
    tokens_.take();
    statement.expression = expressions_.expression_or_tuple();
    end_of_block();
    statement.body = body({"elif", "else", "endif"});
    if (tokens_.is_name("elif")) {
      statement.otherwise.push_back(condition());
      return statement;
    }
    if (tokens_.take_name("else")) {
      end_of_block();
      statement.otherwise = body({"endif"});
    }
    expect_end("endif");
    return statement;
  }

  std::vector<std::string> target_names() {
    const bool parenthesis = tokens_.take_sign("(");
    std::vector<std::string> names = {tokens_.expect_name()};
    while (tokens_.take_sign(",")) names.push_back(tokens_.expect_name());
    if (parenthesis) tokens_.expect_sign(")");
    return names;
  }

  Statement loop() {
    Statement statement = make(Kind::loop);
    tokens_.take();
    statement.targets = target_names();
    if (!tokens_.take_name("in")) tokens_.refuse("'in' is expected");
    statement.expression = expressions_.without_condition();
    if (tokens_.take_name("if")) statement.filter = expressions_.expression();
    if (tokens_.is_name("recursive")) tokens_.refuse("a recursive loop is not supported");
    end_of_block();
    statement.body = body({"else", "endfor"});
    if (tokens_.take_name("else")) {
      end_of_block();
      statement.otherwise = body({"endfor"});
    }
    expect_end("endfor");
    return statement;
  }

  Statement set() {
    Statement statement = make(Kind::set);
    tokens_.take();
    statement.targets = target_names();
    if (statement.targets.size() == 1 && tokens_.take_sign(".")) {
      statement.kind = Kind::set_field;
      statement.targets.push_back(tokens_.expect_name());
    }
    if (tokens_.take_sign("=")) {
      statement.expression = expressions_.expression_or_tuple();
      end_of_block();
      return statement;
    }
    if (statement.kind == Kind::set_field || statement.targets.size() > 1) tokens_.refuse("'=' is expected");
    if (tokens_.is_sign("|")) tokens_.refuse("a filter on a {% set %} block is not supported");
    statement.kind = Kind::set_block;
    end_of_block();
    statement.body = body({"endset"});
    expect_end("endset");
    return statement;
  }

  Statement macro() {
    Statement statement = make(Kind::macro);
    tokens_.take();
    statement.targets.push_back(tokens_.expect_name());
    tokens_.expect_sign("(");
    while (!tokens_.take_sign(")")) {
      if (statement.targets.size() > 1) tokens_.expect_sign(",");
      statement.targets.push_back(tokens_.expect_name());
      statement.defaults.push_back(tokens_.take_sign("=") ? expressions_.expression() : nullptr);
    }
    end_of_block();
    statement.body = body({"endmacro"});
    expect_end("endmacro");
    return statement;
  }

  TokenStream tokens_;
  ExpressionParser expressions_;
  int depth_ = 0;
};

}  // namespace

Block parse(std::string_view source) {
  return Parser(source).run();
}

}  // namespace stagformer::internal::jinja
