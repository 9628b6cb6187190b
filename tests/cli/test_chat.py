"""Conversations: the chat template's text is the prompt, `chat` says what `generate` says, an answer can be stopped."""

import importlib.machinery
import importlib.util
import json
import os
import pty
import select
import signal
import subprocess
import termios
import time
import unittest
from pathlib import Path

import h5py
from support import (CHECKPOINT, CONFIG, HANG, INPUT, INTERRUPTED, MPIEXEC, PROGRAM, USAGE, TestCase, checkpoint, environment,
                     is_open_mpi, launch, main, run)

LAUNCH = Path(__file__).parents[2] / "launch" / "run"

TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m.role[0] | upper }}{{ m.content }}.{% endfor %}A"
PICKY = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}{{ m.content }}{% endfor %}"


def generate(*args, name="separate2", ranks=None):
    return run("generate", "--checkpoint", checkpoint(name), "--ignore-eos", *args, ranks=ranks)


class Prompts(TestCase):
    def setUp(self):
        super().setUp()
        self.template = self.file("chat.jinja", TEMPLATE)

    def chat(self, *args, ranks=None):
        return generate("--chat", "--chat-template", self.template, "--max-tokens", "12", "--token-ids", *args, ranks=ranks)

    def test_the_templates_text_is_the_prompt(self):
        plain = self.succeeds(generate("--prompt", "Uhi.A", "--max-tokens", "12", "--token-ids"))
        self.assertEqual(self.succeeds(self.chat("--prompt", "hi")).stdout, plain.stdout)
        self.assertEqual(self.succeeds(self.chat("--prompt", "hi", ranks=2)).stdout, plain.stdout)
        plain = self.succeeds(generate("--prompt", "Sbe.Uhi.A", "--max-tokens", "12", "--token-ids"))
        self.assertEqual(self.succeeds(self.chat("--prompt", "hi", "--system", "be")).stdout, plain.stdout)

    def test_messages_in_a_prompts_file(self):
        messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
        lines = self.prompts([{"messages": messages, "max_tokens": 9}, {"prompt": "hi", "max_tokens": 9},
                              {"prompt": "Uhi.A", "max_tokens": 9}], "in.jsonl")
        plain = self.succeeds(generate("--prompts", lines, "--chat-template", self.template)).records
        self.assertEqual(plain["1"]["prompt_tokens"], len("?Ua.Ab.Uc.A"))
        self.assertEqual(plain["2"]["prompt_tokens"], len("?hi"))
        as_chat = self.succeeds(generate("--prompts", lines, "--chat-template", self.template, "--chat", ranks=2)).records
        self.assertEqual(as_chat["1"], plain["1"])
        self.assertEqual(as_chat["2"]["token_ids"], plain["3"]["token_ids"])

    def test_a_users_text_holds_no_control_tokens(self):
        lines = self.prompts([{"messages": [{"role": "user", "content": "</s>"}]}])
        for template, tokens in ((TEMPLATE, len("?U</s>.A")), ("x</s>y", 3), ("x{{ messages[0].content }}y", 6)):
            found = generate("--prompts", lines, "--chat-template", self.file("t", template), "--max-tokens", "1")
            self.assertEqual(self.succeeds(found).records["1"]["prompt_tokens"], tokens, template)

    def test_the_checkpoints_own_template(self):
        self.fails(generate("--chat", "--prompt", "hi"), CHECKPOINT, "separate2.h5", "no chat template", "--chat-template")
        path = self.copy("separate2")
        with h5py.File(path, "r+") as file:
            file["tokenizer"].attrs["chat_template"] = TEMPLATE.replace("bos_token", "bos_token ~ eos_token")
            file["tokenizer"].attrs["eos_token"] = "E"
        mine = run("generate", "--checkpoint", str(path), "--chat", "--prompt", "hi", "--max-tokens", "5", "--ignore-eos",
                   "--token-ids")
        plain = generate("--prompt", "EUhi.A", "--max-tokens", "5", "--token-ids")
        self.assertEqual(self.succeeds(mine).stdout, self.succeeds(plain).stdout)
        self.assertIn("with a chat template", run("inspect", "--checkpoint", str(path)).text)
        converted = self.folder / "converted.h5"
        self.succeeds(run("convert", "--input", str(path), "--output", str(converted), "--to", "bf16"))
        with h5py.File(converted) as file:
            self.assertEqual(file["tokenizer"].attrs["eos_token"], "E")
            self.assertIn("messages", file["tokenizer"].attrs["chat_template"])

    def test_refusals(self):
        self.fails(generate("--prompt", "a", "--system", "b"), USAGE, "--system")
        broken = self.file("broken", "{% if %}")
        self.fails(generate("--chat", "--chat-template", broken, "--prompt", "a"), INPUT, "chat template: line 1")
        picky = self.file("picky", PICKY)
        self.fails(generate("--chat", "--chat-template", picky, "--prompt", "a", "--system", "b"), INPUT, "no system")
        lines = self.prompts([{"messages": [{"role": "system", "content": "a"}]}, {"messages": [{"role": "user", "content": "a"}]}])
        records = self.succeeds(generate("--prompts", lines, "--chat-template", picky, "--max-tokens", "2")).records
        self.assertIn("no system", records["1"]["error"])
        self.assertEqual(len(records["2"]["token_ids"]), 2)
        for line in ({"messages": []}, {"messages": [{"role": "<s>", "content": "a"}]}, {"messages": "a"}, {},
                     {"messages": [{"role": "user", "content": "a"}], "prompt": "a"}):
            self.fails(generate("--prompts", self.prompts([{"prompt": "a"}, line])), INPUT, "line 2")


class Sampling(TestCase):
    WAYS = ((None,), (2,), (2, "--head", "last"), (2, "--head", "sliced", "--chunk", "2"))

    def test_penalties_are_the_same_for_every_number_of_ranks(self):
        plain = self.succeeds(generate("--prompt", "abcabc", "--max-tokens", "30", "--token-ids")).stdout
        for flags in (("--repetition-penalty", "1.5"), ("--presence-penalty", "2", "--frequency-penalty", "0.5"),
                      ("--repetition-penalty", "1.2", "--temperature", "1", "--top-p", "0.9")):
            found = {self.succeeds(generate("--prompt", "abcabc", "--max-tokens", "30", "--token-ids", *flags, *way,
                                            ranks=ranks)).stdout for ranks, *way in self.WAYS}
            self.assertEqual(len(found), 1, flags)
            self.assertNotIn(plain, found, flags)

    def test_a_line_may_have_penalties_of_its_own(self):
        lines = self.prompts([{"prompt": "abcabc", "repetition_penalty": 1.5}, {"prompt": "abcabc"}])
        records = self.succeeds(generate("--prompts", lines, "--max-tokens", "30", ranks=2)).records
        flag = self.succeeds(generate("--prompt", "abcabc", "--max-tokens", "30", "--token-ids", "--repetition-penalty", "1.5"))
        self.assertEqual(" ".join(map(str, records["1"]["token_ids"])), flag.text.strip())
        self.assertNotEqual(records["1"]["token_ids"], records["2"]["token_ids"])
        self.fails(generate("--prompts", lines, "--draft", "2"), INPUT, "--draft")
        self.fails(generate("--prompts", self.prompts([{"prompt": "a", "repetition_penalty": 0}])), INPUT, "repetition_penalty")
        self.fails(generate("--prompt", "a", "--draft", "2", "--presence-penalty", "1"), USAGE, "--draft")

    def test_likeliest_tokens(self):
        lines = self.prompts([{"prompt": "abc"}, {"prompt": "x", "temperature": 1}])
        whole = None
        for ranks, *way in (*self.WAYS, (2, "--draft", "3")):
            flags = ("--max-tokens", "6", "--log-probabilities", "--top-log-probabilities", "5", *way)
            records = self.succeeds(generate("--prompts", lines, *flags, ranks=ranks)).records
            whole = whole or records
            self.assertEqual(records, whole, way)
        greedy = whole["1"]
        self.assertEqual([top[0] for top in greedy["top_log_probabilities"]],
                         [list(pair) for pair in zip(greedy["token_ids"], greedy["log_probabilities"])])
        for record in whole.values():
            for top, token, own in zip(record["top_log_probabilities"], record["token_ids"], record["log_probabilities"]):
                self.assertEqual(len(top), 5)
                self.assertEqual(top, sorted(top, key=lambda pair: (-pair[1], pair[0])))
                self.assertEqual(dict(map(tuple, top)).get(token, own), own)

    def test_presence_shifts_the_next_distribution(self):
        """The whole distribution behind the first token, with and without the penalty."""
        def second(*flags):
            lines = self.prompts([{"prompt": "abc"}])
            record = self.succeeds(generate("--prompts", lines, "--max-tokens", "2", "--top-log-probabilities", "300",
                                            *flags, ranks=2)).records["1"]
            self.assertEqual(len(record["top_log_probabilities"][1]), 272)
            return record["token_ids"][0], dict(map(tuple, record["top_log_probabilities"][1]))

        first, plain = second()
        again, shifted = second("--presence-penalty", "1.5")
        self.assertEqual(first, again)
        changes = {token: shifted[token] - plain[token] for token in plain}
        other = next(token for token in plain if token != first)
        for token, change in changes.items():
            self.assertAlmostEqual(change - changes[other], -1.5 if token == first else 0, places=4)


class Conversation:
    """A chat under way, spoken with through a pipe or a terminal."""

    def __init__(self, test, *args, ranks=None, template=TEMPLATE, terminal=False, launcher=None):
        self.record = test.folder / "record.json"
        chat = ["chat", "--checkpoint", checkpoint("separate2"), "--chat-template", test.file("chat.jinja", template), "--json",
                str(self.record), *args]
        self.command = [*launcher, *chat] if launcher else launch(chat, ranks=ranks)
        self.output = b""
        if terminal:
            self.pid, self.end = pty.fork()
            if self.pid == 0:
                os.execvpe(self.command[0], self.command, environment(
                    {"STAGFORMER_PROGRAM": PROGRAM, "STAGFORMER_MPIRUN": MPIEXEC} if launcher else None))
            self.input = self.end
        else:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=subprocess.DEVNULL, env=environment())
            self.pid, self.end, self.input = self.process.pid, self.process.stdout.fileno(), self.process.stdin.fileno()

    def say(self, text):
        os.write(self.input, text.encode())

    def press(self, key, seen) -> None:
        """Until it is seen to work: Python's input() takes no notice of what comes while it begins to read."""
        end = time.monotonic() + HANG
        while time.monotonic() < end and not seen(self.output):
            self.say(key)
            try:
                self.wait_for(seen, 2)
            except AssertionError:
                continue
        self.wait_for(seen, 0)

    def wait_for(self, seen, seconds=HANG) -> None:
        end = time.monotonic() + seconds
        while not seen(self.output):
            if time.monotonic() > end:
                raise AssertionError(f"nothing came: {self.output!r}")
            if select.select([self.end], [], [], 0.1)[0]:
                self.output += os.read(self.end, 4096)

    def close(self) -> int:
        """The exit code, once all output has been read."""
        if self.input != self.end:
            self.process.stdin.close()
        end = time.monotonic() + HANG
        while time.monotonic() < end:
            if select.select([self.end], [], [], 0.1)[0]:
                try:
                    more = os.read(self.end, 4096)
                except OSError:  # a terminal whose program has ended
                    break
                if not more:
                    break
                self.output += more
        else:
            os.kill(self.pid, signal.SIGKILL)
        if self.input != self.end:
            self.process.stdout.close()
            return self.process.wait()
        os.close(self.end)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def turns(self) -> list:
        return json.loads(self.record.read_text())["result"]["turns"]


def is_answered(output):
    """Whether a terminal shows the beginning of an answer behind the last prompt."""
    return len(output.rpartition(b"> ")[2].partition(b"\r\n")[2]) > 2


class TurnSigns(TestCase):
    """launch/lib/converse finds whose turn it is in stderr, however it comes in pieces."""

    def test_signs_in_pieces(self):
        loader = importlib.machinery.SourceFileLoader("converse", str(LAUNCH.parent / "lib" / "converse"))
        converse = importlib.util.module_from_spec(importlib.util.spec_from_loader("converse", loader))
        loader.exec_module(converse)
        stream = b"[info] a > b\n> [warning] c\n>d\n\n> x> \n> "
        for size in (1, 2, 3, 5, 100):
            signs = converse.TurnSigns()
            shown, turns = b"", 0
            for at in range(0, len(stream), size):
                piece, found = signs.take(stream[at:at + size])
                shown, turns = shown + piece, turns + found
            self.assertEqual(shown, b"[info] a > b\n[warning] c\n>d\n\nx> \n", size)
            self.assertEqual(turns, 3 if size < 100 else 1, size)


SLOW = ("--delay-section", "0:60", "--max-tokens", "40")


class Chat(TestCase):
    def talk(self, text, *args, ranks=None):
        chat = Conversation(self, *args, ranks=ranks)
        chat.say(text)
        self.assertEqual(chat.close(), 0)
        return chat

    def test_answers_are_those_of_generate(self):
        """The second one goes on with the caches of the first, for every way of running it."""
        for ranks, *args in ((None,), (2,), (2, "--head", "last"), (None, "--chunk", "3")):
            with self.subTest(ranks=ranks, args=args):
                turns = self.talk("hello\nb\n/quit\n", "--max-tokens", "8", *args, ranks=ranks).turns()
                self.assertEqual(len(turns), 2)
                self.assertEqual(turns[0]["cached_tokens"], 0)
                self.assertGreaterEqual(turns[1]["cached_tokens"], len("?Uhello.A"))
                messages = [{"role": "user", "content": "hello"}]
                lines = [{"messages": messages}, {"messages": [*messages, {"role": "assistant", "content": turns[0]["text"]},
                                                               {"role": "user", "content": "b"}]}]
                records = self.succeeds(run("generate", "--checkpoint", checkpoint("separate2"), "--chat-template",
                                            self.file("t", TEMPLATE), "--prompts", self.prompts(lines), "--max-tokens",
                                            "8")).records
                for turn, record in zip(turns, records.values()):
                    self.assertEqual(turn["token_ids"], record["token_ids"])
                    self.assertEqual(turn["prompt_tokens"], record["prompt_tokens"])

    def test_stdout_has_the_answers_alone(self):
        chat = self.talk("hello\n\n/nonsense\nb\n", "--max-tokens", "5", ranks=2)
        self.assertEqual(chat.output.decode(), "".join(turn["text"] + "\n" for turn in chat.turns()))
        self.assertEqual(len(chat.turns()), 2)

    def test_reset_begins_anew(self):
        turns = self.talk("hello\nb\n/reset\nhello\n", "--max-tokens", "5").turns()
        self.assertEqual(turns[2]["token_ids"], turns[0]["token_ids"])
        self.assertEqual(turns[2]["prompt_tokens"], turns[0]["prompt_tokens"])

    def test_a_conversation_that_is_too_long(self):
        turns = self.talk("hello\n" + "x" * 80 + "\n/reset\nhello\n").turns()
        self.assertEqual([turn["finish_reason"] for turn in turns], ["length", "length"])
        self.assertEqual(turns[0]["prompt_tokens"] + len(turns[0]["token_ids"]), 64)

    def test_stop_ends_an_answer_and_the_next_is_whole(self):
        whole = self.talk("hello\n", "--max-tokens", "40").turns()[0]["token_ids"]
        for ranks, *args in ((None,), (2, "--head", "sliced"), (2, "--head", "last")):
            with self.subTest(ranks=ranks, args=args):
                chat = Conversation(self, *SLOW, *args, ranks=ranks)
                chat.say("hello\n")
                chat.wait_for(lambda output: len(output) > 2)
                chat.say("/stop\n")
                chat.wait_for(lambda output: output.endswith(b"\n"))
                chat.say("/reset\nhello\n")
                self.assertEqual(chat.close(), 0)
                first, second = chat.turns()
                self.assertEqual(first["finish_reason"], "stopped")
                self.assertLess(len(first["token_ids"]), 40)
                self.assertEqual(first["token_ids"], whole[:len(first["token_ids"])])
                self.assertEqual(second["token_ids"], whole)

    def test_thinking_takes_no_stall_timeout(self):
        chat = Conversation(self, "--stall-timeout", "1", "--max-tokens", "3", ranks=2)
        for _ in range(2):
            time.sleep(2.5)
            chat.say("hi\n")
        self.assertEqual(chat.close(), 0)
        self.assertEqual(len(chat.turns()), 2)

    def test_interrupt_ends_the_answer_and_not_the_program(self):
        chat = Conversation(self, *SLOW, terminal=True)
        chat.wait_for(lambda output: b"> " in output)
        chat.say("hello\n")
        chat.wait_for(is_answered)
        chat.say("\x03")
        chat.wait_for(lambda output: output.endswith(b"> "))
        chat.say("\x03")
        chat.wait_for(lambda output: b"Ctrl-D ends" in output.rpartition(b"hello\r\n")[2])
        chat.say("b\n")
        chat.wait_for(is_answered)
        chat.say("\x03")
        chat.wait_for(lambda output: output.endswith(b"> "))
        chat.say("\x04")
        self.assertEqual(chat.close(), 0, chat.output)
        self.assertEqual([turn["finish_reason"] for turn in chat.turns()], ["stopped", "stopped"])

    def test_a_terminal_under_the_launcher(self):
        chat = Conversation(self, *SLOW, ranks=2, terminal=True)
        chat.wait_for(lambda output: b"> " in output)
        chat.say("hello\n")
        chat.wait_for(is_answered)
        chat.say("/stop\n")
        chat.wait_for(lambda output: b"> " in output.partition(b"/stop\r\n")[2])  # mpirun may bring stdout behind it
        chat.say("/quit\n")
        self.assertEqual(chat.close(), 0, chat.output)
        self.assertEqual([turn["finish_reason"] for turn in chat.turns()], ["stopped"])

    @unittest.skipUnless(is_open_mpi(), "MPICH's mpirun hands the signal on by itself, once")
    def test_interrupt_under_the_launcher(self):
        """The launcher never sees it, and the terminal is afterwards what it was."""
        chat = Conversation(self, *SLOW, ranks=2, terminal=True)
        before = termios.tcgetattr(chat.end)
        chat.wait_for(lambda output: b"> " in output)
        chat.say("hello\n")
        chat.wait_for(is_answered)
        chat.say("\x03")
        chat.wait_for(lambda output: b"> " in output.partition(b"^C")[2])
        chat.say("thrown away\x03")
        chat.wait_for(lambda output: output.endswith(b"(/quit or Ctrl-D ends)\r\n> "))
        chat.say("b\n")
        chat.wait_for(is_answered)
        self.assertNotEqual(termios.tcgetattr(chat.end), before)
        chat.say("/stop\n/quit\n")
        chat.wait_for(lambda _: termios.tcgetattr(chat.end) == before)
        self.assertEqual(chat.close(), 0, chat.output)
        self.assertEqual([turn["finish_reason"] for turn in chat.turns()], ["stopped", "stopped"])
        self.assertEqual([turn["prompt_tokens"] for turn in chat.turns()][0], len("?Uhello.A"))

    def test_launch_run_edits_lines_and_takes_interrupts_for_itself(self):
        chat = Conversation(self, *SLOW, terminal=True, launcher=[str(LAUNCH), "-n", "2", "--bind", "none", "--"])
        chat.wait_for(lambda output: output.endswith(b"> "))
        chat.say("hlo\x1b[D\x1b[Del\x1b[D\x1b[D\x1b[C\x1b[C\r")  # hlo, two to the left, el
        chat.wait_for(is_answered)
        chat.say("\x03")
        chat.wait_for(lambda output: output.endswith(b"> "))
        chat.press("\x03", lambda output: output.endswith(b"(/quit or Ctrl-D ends)\r\n> "))
        chat.say("\x1b[A\r")  # the line before
        chat.wait_for(is_answered)
        chat.say("\x03")
        chat.wait_for(lambda output: output.endswith(b"> "))
        chat.say("\x04")
        self.assertEqual(chat.close(), 0, chat.output)
        self.assertEqual([turn["finish_reason"] for turn in chat.turns()], ["stopped", "stopped"])
        self.assertEqual([turn["prompt_tokens"] for turn in chat.turns()][0], len("?Uhello.A"))

    def test_launch_run_passes_on_how_it_ended(self):
        chat = Conversation(self, "--context", "65", terminal=True, launcher=[str(LAUNCH), "-n", "2", "--bind", "none", "--"])
        self.assertEqual(chat.close(), INPUT, chat.output)
        self.assertIn(b"--context 65", chat.output)

    def test_a_signal_ends_it(self):
        chat = Conversation(self, *SLOW)
        chat.say("hello\n")
        chat.wait_for(lambda output: len(output) > 2)
        os.kill(chat.pid, signal.SIGTERM)
        self.assertEqual(chat.close(), INTERRUPTED)

    def test_refusals(self):
        template = ("--chat-template", self.file("t", TEMPLATE))
        chat = ("chat", "--checkpoint", checkpoint("separate2"))
        self.fails(run(*chat), CHECKPOINT, "no chat template")
        self.fails(run(*chat, *template, "--context", "65"), INPUT, "--context 65", "64")
        self.fails(run(*chat, *template, ranks=4), CONFIG, "one replica", "4 ranks")
        self.fails(run(*chat, *template, "--stop", ""), USAGE, "--stop")


if __name__ == "__main__":
    main()
