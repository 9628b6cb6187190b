"""Checkpoints: looking at them, other number formats, other files."""

import unittest

import golden
from support import CHECKPOINT, INPUT, USAGE, TestCase, checkpoint, run


class Inspect(TestCase):
    def test_tables(self):
        text = self.succeeds(run("inspect", "--checkpoint", checkpoint("shared2"))).text
        for words in ("shared2.h5", "byte", "272", "f32"):
            self.assertIn(words, text)
        for name in ("format_mixed", "split_shared3", "sections6_uneven"):
            verified = self.succeeds(run("inspect", "--checkpoint", checkpoint(name), "--verify"))
            self.assertNotIn("warning", verified.stderr)
        self.assertIn("q4_0", self.succeeds(run("inspect", "--checkpoint", checkpoint("format_q4_0"))).text)

    def test_many_ranks_print_once(self):
        one = run("inspect", "--checkpoint", checkpoint("separate2"))
        self.assertEqual(self.succeeds(run("inspect", "--checkpoint", checkpoint("separate2"), ranks=2)).stdout, one.stdout)
        self.fails(run("inspect", "--checkpoint", self.folder / "none.h5", ranks=2), CHECKPOINT, "none.h5")


class Convert(TestCase):
    def convert(self, source, to, *args, ranks=None):
        result = self.succeeds(run("convert", "--input", source, "--output", to, *args, ranks=ranks))
        self.assertEqual(result.stdout, b"")
        self.succeeds(run("inspect", "--checkpoint", to, "--verify"))
        return str(to)

    def generated(self, path, name, ranks=None) -> bytes:
        return self.succeeds(run("generate", "--checkpoint", path, "--prompt", golden.prompt(name), "--max-tokens", "20",
                                 "--ignore-eos", "--token-ids", ranks=ranks)).stdout

    def test_number_formats(self):
        source, sizes = checkpoint("separate2"), {}
        whole = self.generated(source, "separate2")
        for number_format in ("f32", "bf16", "q8_0", "q4_0", "q4_1"):
            path = self.convert(source, self.folder / f"{number_format}.h5", "--to", number_format, "--alignment", "64")
            self.assertIn(number_format, self.succeeds(run("inspect", "--checkpoint", path)).text)
            sizes[number_format] = (self.folder / f"{number_format}.h5").stat().st_size
            tokens = self.generated(path, "separate2")
            self.assertEqual(self.generated(path, "separate2", ranks=2), tokens)
            if number_format == "f32":
                self.assertEqual(tokens, whole)
        self.assertEqual(sorted(sizes, key=sizes.get), ["q4_0", "q4_1", "q8_0", "bf16", "f32"])

    def test_widening_keeps_the_values(self):
        for name in ("format_bf16", "format_q8_0"):
            path = self.convert(checkpoint(name), self.folder / f"{name}.h5", "--to", "f32")
            self.assertEqual(self.generated(path, name), self.generated(checkpoint(name), name))

    def test_split_and_back(self):
        for name in ("separate2", "shared2"):
            split = self.convert(checkpoint(name), self.folder / f"{name}-parts.h5", "--split")
            self.assertEqual(len(list(self.folder.glob(f"{name}-parts.section-*.h5"))), 2)
            back = self.convert(split, self.folder / f"{name}-back.h5", ranks=2)
            whole = self.generated(checkpoint(name), name)
            self.assertEqual(self.generated(split, name, ranks=2), whole)
            self.assertEqual(self.generated(back, name), whole)

    def test_the_input_is_never_overwritten(self):
        copy = self.copy("separate2")
        content = copy.read_bytes()
        link = self.folder / "link.h5"
        link.symlink_to(copy)
        for output in (copy, link, self.folder / "." / "separate2.h5"):
            for more in ((), ("--to", "bf16"), ("--split",)):
                self.fails(run("convert", "--input", copy, "--output", output, *more), INPUT, "input")
        self.assertEqual(copy.read_bytes(), content)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["link.h5", "separate2.h5"])
        for name in ("split2", "split2.section-0", "split2.section-1"):
            self.copy(name)
        self.fails(run("convert", "--input", self.folder / "split2.h5", "--output", self.folder / "split2.section-1.h5"), INPUT,
                   "input")

    def test_refusals(self):
        out = self.folder / "out.h5"
        self.fails(run("convert", "--input", checkpoint("separate2"), "--output", out, "--to", "q5_0"), USAGE, "q5_0")
        self.fails(run("convert", "--input", self.folder / "none.h5", "--output", out), CHECKPOINT, "none.h5")
        self.fails(run("convert", "--input", checkpoint("separate2"), "--output", "/nonexistent/out.h5"), INPUT,
                   "/nonexistent/out.h5")
        self.fails(run("convert", "--input", checkpoint("separate2"), "--output", "/dev/full", ranks=2), INPUT, "/dev/full")
        self.assertEqual(list(self.folder.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
