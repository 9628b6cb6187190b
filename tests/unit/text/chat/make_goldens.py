#!/usr/bin/env python3
"""Writes goldens.json: what Jinja, set up as transformers does it, makes of templates/ with the conversations of conversations.json,
and of the lines of snippets.txt. Needs jinja2; only for making the file anew:

    python3 make_goldens.py            writes goldens.json
    python3 make_goldens.py --check    compares with transformers' own function (needs transformers)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

HERE = Path(__file__).parent
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
SNIPPET_VARIABLES = {"messages": [{"role": "user", "content": "hi <é>"}, {"role": "assistant", "content": "ho"}]}


class GenerationTag(jinja2.ext.Extension):
    """{% generation %} prints its body."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


def environment() -> jinja2.Environment:
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                                       extensions=[GenerationTag, jinja2.ext.loopcontrols])

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    return env


def rendered(env: jinja2.Environment, source: str, variables: dict) -> dict:
    try:
        return {"text": env.from_string(source).render(variables)}
    except (jinja2.exceptions.TemplateError, TypeError) as error:
        return {"error": str(error)}


def goldens() -> dict:
    env = environment()
    conversations = json.loads((HERE / "conversations.json").read_text())
    chats = []
    for path in sorted((HERE / "templates").glob("*.jinja")):
        for conversation in conversations:
            variables = TOKENS | {"messages": conversation["messages"], "tools": None, "documents": None,
                                  "add_generation_prompt": True}
            chats.append({"template": path.name, "conversation": conversation["name"]}
                         | rendered(env, path.read_text(), variables))
    snippets = []
    for source in (HERE / "snippets.txt").read_text().split("\n"):
        if source:
            snippets.append({"source": source} | rendered(env, source, SNIPPET_VARIABLES))
    for source in BLOCKS:
        snippets.append({"source": source} | rendered(env, source, SNIPPET_VARIABLES))
    return {"chats": chats, "snippets": snippets}


# Where line breaks matter.
BLOCKS = [
    "  {% if true %}  \n  indented\n  {% endif %}  \n{# a comment\nof two lines #}\nafter",
    "{%+ if true %}plus{%+ endif %} {% if true +%}\nnewline kept{% endif %}",
    "  {% if true %}\n  a\n  {% endif %}\nb\n",
    "{% if true %}\n\na{% endif %}\n\nb\n\n",
    "a\n  {%- if true %}\n  b\n  {%- endif %}\nc",
    "a\n  {%+ if true %}\n  b\n  {%+ endif %}\nc",
    "a {% if true +%}\nb{% endif +%}\nc",
    "a\n\n {{- 'b' -}} \n\nc\n  {{ 'd' }}\n  e",
    "{# c #}\n  {# d #}\na {# e -#}\n b\n {#- f #}\nc",
    "{% for i in range(2) %}\n  {{ i }}\n{% endfor %}\n{% for i in range(2) -%}\n  {{ i }}\n{%- endfor %}",
    "a\r\n{% if true %}\r\nb\r{% endif %}c\r\n",
    "x{% set a = {'b': {'c': 1}} %}\n{{ {'a': {'b': 2}}['a']['b'] }}{{a.b.c}}\n\t{% if a %}\t\n\t{% endif %}\n",
    "{{ '\n' }}{% if true %}\n{% endif %}{{ 'a' }}\n{{ 'b' }}\n",
    "{{ 'x' -}}\n  {% if true %}y{% endif %}\n   {% if true %}z{% endif %}",
]


def check_with_transformers(made: dict) -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    conversations = {c["name"]: c["messages"] for c in json.loads((HERE / "conversations.json").read_text())}
    different = 0
    for chat in made["chats"]:
        try:
            texts, _ = render_jinja_template(conversations=[conversations[chat["conversation"]]],
                                             chat_template=(HERE / "templates" / chat["template"]).read_text(),
                                             add_generation_prompt=True, **TOKENS)
            result = texts[0]
        except (jinja2.exceptions.TemplateError, TypeError) as error:
            result = None if "error" in chat else repr(error)
        if result != chat.get("text"):
            different += 1
            print(f"{chat['template']}, {chat['conversation']}: {result!r}")
    print(f"{len(made['chats'])} conversations, {different} differ")
    sys.exit(different > 0)


def main() -> None:
    if sys.argv[1:] == ["--check"]:
        check_with_transformers(json.loads((HERE / "goldens.json").read_text()))
    (HERE / "goldens.json").write_text(json.dumps(goldens(), ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
