#include "text/jinja/template.hpp"

#include <algorithm>

#include "stagformer/error.hpp"
#include "text/jinja/builtins.hpp"
#include "text/jinja/parser.hpp"

namespace stagformer::internal::jinja {
namespace {

constexpr int kDeepestCalls = 64;
constexpr std::int64_t kUnitBytes = 16;  // of a text, in a unit of work

/// Names of one level; loops and macros have one of their own.
struct Scope {
  explicit Scope(const Scope* outer) : parent(outer) {}
  void set(const std::string& name, Value value) { names.set(name, std::move(value)); }
  const Value* find(const std::string& name) const {
    const Value* found = names.find(name);
    return found || !parent ? found : parent->find(name);
  }
  const Scope* parent;
  Dict names;
};

/// What becomes of the loop around a statement.
enum class Flow { on, next, out };

class Interpreter {
 public:
  explicit Interpreter(const Variables& globals) : root_(nullptr) {
    for (const auto& [name, value] : globals) {
      root_.set(name, value);
      work_left_ += kWorkAUnitOfInput * extent_of(value).weight;
    }
  }

  Text run(const Block& block) {
    try {
      Text out;
      run(block, root_, out);
      return out;
    } catch (const Problem& problem) {
      throw InputError("chat template: line " + std::to_string(line_) + ": " + problem.what());
    }
  }

 private:
  void charge(std::int64_t work) {
    work_left_ -= work;
    if (work_left_ < 0) fail("the template takes too long");
  }
  static std::int64_t size_of(const Value& value) {
    if (const Text* text = value.text()) return static_cast<std::int64_t>(text->bytes().size() / kUnitBytes);
    return value.list() ? static_cast<std::int64_t>(value.list()->items.size()) : 0;
  }

  Flow run(const Block& block, Scope& scope, Text& out) {
    for (const Statement& statement : block) {
      charge(1 + static_cast<std::int64_t>(statement.text.size() / kUnitBytes));
      line_ = statement.line;
      const Flow flow = run(statement, scope, out);
      if (flow != Flow::on) return flow;
    }
    return Flow::on;
  }

  Flow run(const Statement& statement, Scope& scope, Text& out) {
    using Kind = Statement::Kind;
    switch (statement.kind) {
      case Kind::text:
        out += Text(statement.text);
        break;
      case Kind::print:
        out += to_text(evaluate(*statement.expression, scope));
        break;
      case Kind::set:
        assign(statement.targets, evaluate(*statement.expression, scope), scope);
        break;
      case Kind::set_field:
        set_field(statement, scope);
        break;
      case Kind::set_block:
        set_block(statement, scope);
        break;
      case Kind::condition:
        return run(truth(evaluate(*statement.expression, scope)) ? statement.body : statement.otherwise,
                   scope, out);
      case Kind::loop:
        return loop(statement, scope, out);
      case Kind::macro:
        define(statement, scope);
        break;
      case Kind::continue_loop:
        return Flow::next;
      case Kind::break_loop:
        return Flow::out;
    }
    return Flow::on;
  }

  /// One name takes the whole value, several take it apart.
  static void assign(const std::vector<std::string>& targets, const Value& value, Scope& scope) {
    if (targets.size() == 1) return scope.set(targets[0], value);
    const std::vector<Value> items = elements(value);
    if (items.size() != targets.size())
      fail(std::to_string(items.size()) + " values for " + std::to_string(targets.size()) + " names");
    for (std::size_t i = 0; i < items.size(); ++i) scope.set(targets[i], items[i]);
  }

  void set_field(const Statement& statement, Scope& scope) {
    const Value* owner = scope.find(statement.targets[0]);
    Namespace* fields = owner ? owner->name_space() : nullptr;
    if (!fields) fail("'" + statement.targets[0] + "' is no namespace: its fields cannot be set");
    const Value value = evaluate(*statement.expression, scope);
    check_held(value);
    fields->fields.set(statement.targets[1], value);
  }

  void set_block(const Statement& statement, Scope& scope) {
    Scope inner(&scope);
    Text text;
    run(statement.body, inner, text);
    scope.set(statement.targets[0], text);
  }

  Flow loop(const Statement& statement, Scope& scope, Text& out) {
    std::vector<Value> items = elements(evaluate(*statement.expression, scope));
    if (statement.filter)
      std::erase_if(items, [&](const Value& item) {
        Scope inner(&scope);
        assign(statement.targets, item, inner);
        return !truth(evaluate(*statement.filter, inner));
      });
    // An {% else %} is for loops without a turn; loop.* counts the items that the condition let through.
    if (items.empty()) return run(statement.otherwise, scope, out);
    for (std::size_t i = 0; i < items.size(); ++i) {
      charge(1);
      Scope inner(&scope);
      inner.set("loop", loop_value(items, i));
      assign(statement.targets, items[i], inner);
      if (run(statement.body, inner, out) == Flow::out) break;
    }
    return Flow::on;
  }

  static Value loop_value(const std::vector<Value>& items, std::size_t at) {
    const auto i = static_cast<std::int64_t>(at), count = static_cast<std::int64_t>(items.size());
    Dict loop;
    loop.entries = {{"index", Value(i + 1)},        {"index0", Value(i)},
                    {"revindex", Value(count - i)}, {"revindex0", Value(count - i - 1)},
                    {"first", Value(i == 0)},       {"last", Value(i + 1 == count)},
                    {"length", Value(count)}};
    if (i > 0) loop.set("previtem", items[at - 1]);
    if (i + 1 < count) loop.set("nextitem", items[at + 1]);
    return Value::dict(std::move(loop));
  }

  /// Macros see the outermost names, so they are defined among these.
  void define(const Statement& statement, Scope& scope) {
    if (&scope != &root_) fail("a macro inside of a loop, a macro or a {% set %} is not supported");
    const std::string& name = statement.targets[0];
    scope.set(name, Value::function(name, [this, &statement](const Arguments& arguments) {
                return call_macro(statement, arguments);
              }));
  }

  Value call_macro(const Statement& macro, const Arguments& arguments) {
    const std::vector<std::string> names(macro.targets.begin() + 1, macro.targets.end());
    arguments.expect("the macro '" + macro.targets[0] + "'", names);
    if (++calls_ > kDeepestCalls) fail("macros call each other too deep");
    // Defaults may use the parameters in front of them.
    Scope inner(&root_);
    for (std::size_t i = 0; i < names.size(); ++i) {
      const Value* given = arguments.find(i, names[i]);
      if (given)
        inner.set(names[i], *given);
      else
        inner.set(names[i],
                  macro.defaults[i] ? evaluate(*macro.defaults[i], inner) : Value(Undefined{names[i]}));
    }
    Text out;
    run(macro.body, inner, out);
    --calls_;
    return out;
  }

  /// What texts and lists cost is charged where they come from, once more where they go into another.
  Value evaluate(const Expression& e, const Scope& scope) {
    Value value = value_of(e, scope);
    charge(1 + size_of(value));
    return value;
  }

  Value value_of(const Expression& e, const Scope& scope) {
    using Kind = Expression::Kind;
    switch (e.kind) {
      case Kind::literal:
        return e.value;
      case Kind::name:
        return look_up(e.name, scope);
      case Kind::list:
        return Value::list(all(e, 0, scope));
      case Kind::tuple:
        return Value::list(all(e, 0, scope), true);
      case Kind::dict:
        return dict(e, scope);
      case Kind::attribute:
        return attribute_of(operand(e, 0, scope), e.name);
      case Kind::item:
        return item_of(operand(e, 0, scope), operand(e, 1, scope));
      case Kind::slice:
        return slice_of(operand(e, 0, scope), operand(e, 1, scope), operand(e, 2, scope),
                        operand(e, 3, scope));
      case Kind::call:
        return call(e, scope);
      case Kind::filter:
        return filtered(e, scope);
      case Kind::test:
        return tested(e, scope);
      case Kind::unary:
        return unary(e, scope);
      case Kind::binary:
        return binary(e.name, operand(e, 0, scope), operand(e, 1, scope));
      case Kind::logic:
        return logic(e, scope);
      case Kind::comparison:
        return comparison(e, scope);
      case Kind::conditional:
        return operand(e, truth(operand(e, 0, scope)) ? 1 : 2, scope);
    }
    return Value();
  }

  Value filtered(const Expression& e, const Scope& scope) {
    const Value input = operand(e, 0, scope);
    const Arguments given = arguments(e, scope);
    charge_comparisons(input, given);
    return apply_filter(e.name, input, given);
  }

  Value tested(const Expression& e, const Scope& scope) {
    const Value input = operand(e, 0, scope);
    const Arguments given = arguments(e, scope);
    charge_comparisons(input, given);
    return Value(apply_test(e.name, input, given));
  }

  /// Of a value, or of each item of a list, with what may be in the arguments.
  void charge_comparisons(const Value& input, const Arguments& arguments) {
    std::int64_t each = 0;
    for (const Value& value : arguments.positional) each += extent_of(value).weight;
    const std::int64_t times = input.list() ? size_of(input) : 1;
    charge(std::min(extent_of(input).weight, times * each) / kUnitBytes);
  }

  /// Undefined where the operand is left out.
  Value operand(const Expression& e, std::size_t place, const Scope& scope) {
    return e.operands[place] ? evaluate(*e.operands[place], scope) : Value();
  }

  std::vector<Value> all(const Expression& e, std::size_t from, const Scope& scope) {
    std::vector<Value> values;
    for (std::size_t i = from; i < e.operands.size(); ++i) values.push_back(operand(e, i, scope));
    return values;
  }

  Arguments arguments(const Expression& e, const Scope& scope) {
    Arguments arguments{all(e, 1, scope), {}};
    for (const auto& [name, value] : e.named) arguments.named.emplace_back(name, evaluate(*value, scope));
    return arguments;
  }

  static Value look_up(const std::string& name, const Scope& scope) {
    if (const Value* found = scope.find(name)) return *found;
    const Value known = global_function(name);
    return known.is_undefined() ? Value(Undefined{name}) : known;
  }

  Value dict(const Expression& e, const Scope& scope) {
    Dict dict;
    for (std::size_t i = 0; i < e.operands.size(); i += 2) {
      const Value key = operand(e, i, scope);
      if (!key.text())
        fail(std::string("a key that is no string but ") + key.type_name() + " is not supported");
      dict.set(*key.text(), operand(e, i + 1, scope));
    }
    return Value::dict(std::move(dict));
  }

  Value call(const Expression& e, const Scope& scope) {
    const Value callee = operand(e, 0, scope);
    if (const Undefined* missing = callee.get<Undefined>()) fail("'" + missing->name + "' is undefined");
    if (!callee.function()) fail(std::string("a ") + callee.type_name() + " cannot be called");
    return callee.function()->call(arguments(e, scope));
  }

  Value unary(const Expression& e, const Scope& scope) {
    const Value value = operand(e, 0, scope);
    if (e.name == "not") return Value(!truth(value));
    return e.name == "-" ? negated(value) : binary("+", Value(std::int64_t{0}), value);
  }

  Value logic(const Expression& e, const Scope& scope) {
    const Value left = operand(e, 0, scope);
    return truth(left) == (e.name == "or") ? left : operand(e, 1, scope);
  }

  Value comparison(const Expression& e, const Scope& scope) {
    Value left = operand(e, 0, scope);
    for (std::size_t i = 0; i < e.names.size(); ++i) {
      Value right = operand(e, i + 1, scope);
      const std::int64_t a = extent_of(left).weight, b = extent_of(right).weight;
      charge((e.names[i].ends_with("in") ? b : std::min(a, b)) / kUnitBytes);
      if (!compare(e.names[i], left, right)) return Value(false);
      left = std::move(right);
    }
    return Value(true);
  }

  Scope root_;
  int line_ = 0;
  int calls_ = 0;
  std::int64_t work_left_ = kMostWork;
};

}  // namespace

Template::Template(std::string_view source) {
  try {
    block_ = parse(source);
  } catch (const Problem& problem) {
    throw InputError(std::string("chat template: ") + problem.what());
  }
}

Text Template::render(const Variables& globals) const {
  return Interpreter(globals).run(block_);
}

}  // namespace stagformer::internal::jinja
