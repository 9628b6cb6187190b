// What templates print is what Jinja prints: templates of known models, and lines that each try one thing.
// chat/make_goldens.py wrote down what is expected.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <optional>

#include "stagformer/error.hpp"
#include "text/chat_template.hpp"

namespace stagformer::internal {
namespace {

using nlohmann::ordered_json;

std::string read(const std::string& name) {
  std::ifstream in(std::string(STAGFORMER_SOURCE_DIR "/tests/unit/text/chat/") + name);
  EXPECT_TRUE(in.good()) << name;
  return {std::istreambuf_iterator<char>(in), {}};
}

ordered_json messages_of(const std::string& text) {
  return ordered_json::parse(text);
}

/// The text, or nothing where the template refuses.
std::optional<std::string> rendered(const std::string& source, const ordered_json& messages,
                                    const std::string& bos = "<s>", const std::string& eos = "</s>") {
  try {
    return ChatTemplate(source, bos, eos).render(messages).bytes();
  } catch (const InputError&) {
    return std::nullopt;
  }
}

const ordered_json& goldens() {
  static const ordered_json kGoldens = ordered_json::parse(read("goldens.json"));
  return kGoldens;
}

TEST(Jinja, RendersModelsTemplatesAsJinjaDoes) {
  std::map<std::string, ordered_json> conversations;
  for (const ordered_json& conversation : ordered_json::parse(read("conversations.json")))
    conversations[conversation["name"]] = conversation["messages"];
  int texts = 0;
  for (const ordered_json& golden : goldens()["chats"]) {
    const std::string name = golden["template"], conversation = golden["conversation"];
    const auto text = rendered(read("templates/" + name), conversations.at(conversation));
    EXPECT_EQ(text.has_value(), golden.contains("text")) << name << ", " << conversation;
    if (!text || !golden.contains("text")) continue;
    EXPECT_EQ(*text, golden["text"].get<std::string>()) << name << ", " << conversation;
    ++texts;
  }
  EXPECT_GE(texts, 100);
}

TEST(Jinja, EvaluatesAsJinjaDoes) {
  const ordered_json messages =
      messages_of(R"([{"role": "user", "content": "hi <é>"}, {"role": "assistant", "content": "ho"}])");
  for (const ordered_json& golden : goldens()["snippets"]) {
    const std::string source = golden["source"];
    ASSERT_TRUE(golden.contains("text")) << source << golden["error"];
    std::string text;
    try {
      text = ChatTemplate(source, "", "").render(messages).bytes();
    } catch (const InputError& error) {
      text = error.what();
    }
    EXPECT_EQ(text, golden["text"].get<std::string>()) << source;
  }
}

TEST(Jinja, NamesWhatItDoesNotKnow) {
  const ordered_json messages = messages_of(R"([{"role": "user", "content": "Grüße"}])");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{% include 'a' %}", "include"},
      {"a\n{% with %}{% endwith %}", "line 2"},
      {"{% raw %}{% endraw %}", "raw"},
      {"{{ 'a' | shuffle }}", "filter 'shuffle'"},
      {"{{ 'a' is weird }}", "test 'weird'"},
      {"{{ 'a'.zfill(3) }}", "method 'zfill'"},
      {"{{ {'a': 1}.pop('a') }}", "method 'pop'"},
      {"{{ [1].append(2) }}", "method 'append'"},
      {"{{ 2 ** 3 }}", "'**'"},
      {"{{ nothing.at }}", "'nothing' is undefined"},
      {"{{ nothing() }}", "'nothing' is undefined"},
      {"{{ nothing + 1 }}", "'nothing' is undefined"},
      {"{{ messages[0].absent.more }}", "'absent' is undefined"},
      {"{{ 1 + 'a' }}", "'+' is not supported between int and str"},
      {"{{ 1 < 'a' }}", "int and str"},
      {"{{ 1 in 2 }}", "'in' is not supported for int"},
      {"{{ 1 / 0 }}", "division by zero"},
      {"{{ 9223372036854775807 + 1 }}", "too large"},
      {"{{ 99999999999999999999 }}", "too large"},
      {"{{ range(10000000) }}", "too long"},
      {"{{ 'a' * 100000000 }}", "too long"},
      {"{{ messages[0].content | upper }}", "beyond ASCII"},
      {"{{ [1] | map('string') | length }}", "generator has no length"},
      {"{{ namespace() }}", "cannot be printed"},
      {"{{ range(3) }}", "a range cannot be printed"},
      {"{{ [{'a': 1}.keys()] }}", "a dict_keys cannot be printed"},
      {"{{ [[1] | map('string')] }}", "a generator cannot be printed"},
      {"{{ {'a': 1}.values() | tojson }}", "no JSON form"},
      {"{% set g = [1] | map('string') %}{{ g | list }}{{ g | list }}", "gone through twice"},
      {"{{ [1] in {'a': 1} }}", "no key of a dict"},
      {"{{ nothing | int }}", "undefined"},
      {"{{ 'a' | safe + '<' }}", "behind the filter 'safe'"},
      {"{{ ('a' | safe | upper) + '<' }}", "behind the filter 'safe'"},
      {"{{ ['a' | safe] }}", "behind the filter 'safe'"},
      {"{{ ('a' | safe).replace('a', '<') }}", "behind the filter 'safe'"},
      {"{{ range | tojson }}", "no JSON form"},
      {"{{ 'a' | tojson(ensure_ascii=true) }}", "ensure_ascii"},
      {"{{ 'a' | trim(strange=1) }}", "'strange'"},
      {"{% if true %}a", "{% endif %} is missing"},
      {"{% for a in [] %}{% endif %}", "unexpected"},
      {"{% endfor %}", "endfor"},
      {"{{ 'a }}", "a string has no end"},
      {"{{ a", "a tag has no end"},
      {"{# a", "a comment has no end"},
      {"{{ (1 }}", "closes nothing"},
      {"{{ 1 2 }}", "the end of the expression"},
      {"{{ 1 ? 2 }}", "unexpected character '?'"},
      {"{% for a in b recursive %}{% endfor %}", "recursive"},
      {"{% for i in [1] %}{% macro m() %}{% endmacro %}{% endfor %}", "a macro inside"},
      {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "too deep"},
      {"{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "at most 1 arguments, found 2"},
      {"{% set a.b = 1 %}", "'a' is no namespace"},
      {"{% set a, b = [1] %}", "1 values for 2 names"},
      {"{{ raise_exception('no\nway') }}", "no way"},
      {"{{ {1: 2} }}", "a key that is no string"},
      {"{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x "
       "}}",
       "too large"},
      {"{% set n = namespace(x=[]) %}{% for i in range(300) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x }}",
       "nested too deep"},
      {"{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
       "too long"},
      {"{{ ('a' * 60000).replace('a', 'b' * 60000) }}", "too long"},
      {"{{ (['a' * 60000] * 60000) | map('upper') | join }}", "too large"},
      {"{{ ('a' * 60000) | list | tojson(separators=['c' * 60000, '']) }}", "too long"},
      {"{{ ('a ' * 2000000).split() | length }}", "too many words"},
      {"{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}", "takes too long"},
      {"{% macro a(n) %}{{ a(n - 1) ~ a(n - 1) if n }}{% endmacro %}{{ a(60) }}", "takes too long"},
      {"{% set n = namespace() %}{{ [n] }}", "a namespace in a list"},
      {"{% set n = namespace() %}{% set n.f = {}.get %}", "a function in a list"},
      {"{{ " + std::string(5000, '(') + "1" + std::string(5000, ')') + " }}", "nested too deep"},
  };
  for (const auto& [source, words] : cases) {
    try {
      const std::string text = ChatTemplate(source, "", "").render(messages).bytes();
      ADD_FAILURE() << source << " gave " << text;
    } catch (const InputError& error) {
      const std::string what = error.what();
      EXPECT_TRUE(what.starts_with("chat template: line ")) << what;
      EXPECT_NE(what.find(words), std::string::npos) << source << ": " << what;
    }
  }
}

std::string marks(const std::string& source, const std::string& content) {
  const ordered_json messages = {{{"role", "user"}, {"content", content}}};
  const jinja::Text text = ChatTemplate(source, "", "").render(messages);
  std::string out;
  for (std::size_t i = 0; i < text.bytes().size(); ++i) out += text.is_foreign(i) ? '#' : text.bytes()[i];
  return out;
}

TEST(Jinja, KnowsWhatCameFromMessages) {
  EXPECT_EQ(marks("<{{ messages[0].role }}>{{ messages[0].content }}</>", "abc"), "<user>###</>");
  EXPECT_EQ(marks("{% set c = messages[0].content %}{{ 'x' + c ~ 1 }}", "abc"), "x###1");
  EXPECT_EQ(marks("{{ messages[0].content.strip() | upper | replace('B', 'yy') }}", " abc "), "#yy#");
  EXPECT_EQ(marks("{{ messages[0].content[1:] }}.{{ messages[0].content[::-2] }}", "abc"), "##.##");
  EXPECT_EQ(marks("{{ messages[0].content.split(',') | join('-') }}", "a,b"), "#-#");
  EXPECT_EQ(marks("{% for c in messages[0].content %}{{ c }}.{% endfor %}", "ab"), "#.#.");
  EXPECT_EQ(marks("{{ messages[0].content | tojson }}", "a"), "###");
  EXPECT_EQ(marks("{% macro m(t) %}[{{ t }}]{% endmacro %}{{ m(messages[0].content) }}", "ab"), "[##]");
  EXPECT_EQ(marks("{% set t %}a{{ messages[0].content }}{% endset %}{{ t }}", "b"), "a#");
  EXPECT_EQ(marks("{{ (messages[0].content * 2) }}{{ 'ab' * 2 }}", "x"), "##abab");
}

TEST(Messages, AreCheckedBeforeTheTemplateSeesThem) {
  EXPECT_EQ(message_refusal(messages_of(R"([{"role": "user", "content": "a"}])")), "");
  EXPECT_EQ(message_refusal(messages_of(R"([{"role": "user", "content": [{"type": "text"}]}])")), "");
  EXPECT_EQ(message_refusal(messages_of(R"([{"role": "assistant", "content": null}])")), "");
  for (const char* text : {"[]", "{}", "\"a\"", "[1]", R"([{"content": "a"}])",
                           R"([{"role": "", "content": "a"}])", R"([{"role": "im_end|>", "content": "a"}])",
                           R"([{"role": 1, "content": "a"}])", R"([{"role": "user", "content": 1}])"})
    EXPECT_NE(message_refusal(messages_of(text)), "") << text;
}

}  // namespace
}  // namespace stagformer::internal
