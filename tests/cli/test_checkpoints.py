"""Checkpoints that are missing, damaged or unfit."""

import unittest

import damage
from support import CHECKPOINT, CONFIG, MEMORY, NUMERIC, TestCase, checkpoint, run

PROMPT = ("--prompt", "hello", "--max-tokens", "3", "--ignore-eos")


class Checkpoints(TestCase):
    def refused(self, path, *words, ranks=None, code=CHECKPOINT, args=()):
        return self.fails(run("generate", "--checkpoint", path, *PROMPT, *args, ranks=ranks), code, str(path), *words)

    def test_no_file(self):
        self.refused(self.folder / "none.h5", "No such file")
        self.refused(self.folder / "none.h5", "No such file", "rank 0 on ", ranks=2)
        self.refused(self.folder, "directory")
        self.refused(self.file("empty.h5", b""))
        self.refused("/dev/null")

    def test_not_hdf5(self):
        self.refused(self.file("text.h5", "some text, and not HDF5\n" * 1000), "HDF5")
        self.refused(self.file("zeros.h5", bytes(100000)), "HDF5")
        self.refused(checkpoint("separate2.golden"), "stagformer")  # HDF5, but no checkpoint

    def test_truncated(self):
        for size in (-1, 200000, 100000, 5000, 2000, 600, 100, 8):
            with self.subTest(size=size):
                self.refused(damage.truncate(self.copy("separate2"), size))
        self.refused(damage.truncate(self.copy("separate2"), -1), "truncated", ranks=2)

    def test_a_flipped_bit_is_found(self):
        damaged = damage.flip_bit(self.copy("separate2"))
        for ranks in (None, 2):
            self.refused(damaged, "embedding/weight", "checksum", ranks=ranks)
        self.succeeds(run("generate", "--checkpoint", damaged, *PROMPT, "--no-verify"))
        self.fails(run("inspect", "--checkpoint", damaged, "--verify"), CHECKPOINT, "embedding/weight", "checksum")
        self.succeeds(run("inspect", "--checkpoint", damaged))
        self.fails(run("convert", "--input", damaged, "--output", self.folder / "out.h5"), CHECKPOINT, "embedding/weight")
        self.assertFalse((self.folder / "out.h5").exists())

    def test_a_flipped_bit_is_found_wherever_it_is_read(self):
        for name, offset, args in (("separate2", -100, ()), ("untied", -100, ("--head", "sliced")),
                                   ("format_q4_0", -100, ()), ("sections4", -100, ())):
            with self.subTest(name=name):
                damaged = damage.flip_bit(self.copy(name), offset)
                self.refused(damaged, "checksum", ranks=2, args=args)
                self.refused(damaged, "checksum")

    def test_a_flipped_bit_in_a_sliced_head(self):
        content = bytearray(self.copy("untied").read_bytes())
        for part in range(2):  # near its beginning, near its end: slices of different ranks
            path = self.copy("untied")
            at = self.head_offset(content) + (100 if part == 0 else 260 * 128)
            damage.flip_bit(path, at)
            self.refused(path, "head/weight", "checksum", ranks=2, args=("--head", "sliced"))

    def head_offset(self, content) -> int:
        """The head of `untied` is found by what the program says is wrong when a page of it is touched."""
        for at in range(damage.PAGE, len(content), damage.PAGE):
            path = damage.flip_bit(self.copy("untied"), at + 64)
            result = run("inspect", "--checkpoint", path, "--verify")
            if any("head/weight" in line for line in result.errors):
                return at
        self.fail("no page of the head")

    def test_damaged_index(self):
        """Bits of the file's own tables: anything but a crash, a hang, or silence about what is read."""
        whole = run("generate", "--checkpoint", checkpoint("separate2"), *PROMPT, "--token-ids")
        for offset in (8, 13, 40, 60, 100, 200, 500, 700, 3600, 3900, 4100, 4500, 7000):
            with self.subTest(offset=offset):
                damaged = damage.flip_bit(self.copy("separate2"), offset)
                result = run("generate", "--checkpoint", damaged, *PROMPT, "--token-ids")
                if result.code == 0:
                    self.assertEqual(result.stdout, whole.stdout, result)
                else:
                    self.fails(result, (CHECKPOINT, CONFIG), str(damaged))

    def test_newer_version(self):
        newer = damage.set_attribute(self.copy("separate2"), "format_version", 2)
        self.refused(newer, "version", "2")

    def test_other_shapes_than_the_configuration_says(self):
        path = damage.replace(self.copy("separate2"), b'"intermediate_size": 64', b'"intermediate_size": 96')
        self.refused(path, "feed_forward", "expected", "96", "found", "64")
        path = damage.replace(self.copy("separate2"), b'"vocab_size": 272', b'"vocab_size": 288')
        self.refused(path, "embedding/weight", "expected", "288", "found", "272", ranks=2)
        path = damage.replace(self.copy("separate2"), b'"count": 2', b'"count": 9')
        self.refused(path, code=(CHECKPOINT, CONFIG))

    def test_unknown_configuration(self):
        path = damage.replace(self.copy("separate2"), b'"hidden_act"', b'"hidden_akt"')
        self.refused(path, "hidden_akt", code=(CHECKPOINT, CONFIG))
        path = damage.replace(self.copy("separate2"), b'"hidden_act": "silu"', b'"hidden_act": "selu"')
        self.refused(path, "selu", code=(CHECKPOINT, CONFIG))
        path = damage.replace(self.copy("separate2"), b'{\n  "hidden_size"', b'{\n  "hidden_size ')
        self.refused(path, "config", code=(CHECKPOINT, CONFIG))

    def test_split_checkpoints(self):
        for name in ("split2", "split2.section-0", "split2.section-1"):
            self.copy(name)
        part = self.folder / "split2.section-1.h5"
        root = self.folder / "split2.h5"
        self.succeeds(run("generate", "--checkpoint", root, *PROMPT))
        damage.flip_bit(part, -100)
        self.fails(run("generate", "--checkpoint", root, *PROMPT, ranks=2), CHECKPOINT, str(part), "checksum")
        damage.truncate(part, -1000)
        self.fails(run("generate", "--checkpoint", root, *PROMPT), CHECKPOINT, "section-1")
        part.unlink()
        self.fails(run("generate", "--checkpoint", root, *PROMPT, ranks=2), CHECKPOINT, "section-1")


class Values(TestCase):
    def test_weights_that_are_not_finite(self):
        damaged = damage.put_value(self.copy("separate2"), float("nan"))
        for ranks in (None, 2):
            self.fails(run("generate", "--checkpoint", damaged, *PROMPT, "--no-verify", ranks=ranks), CHECKPOINT,
                       "embedding/weight", "not finite")
        self.fails(run("generate", "--checkpoint", damaged, *PROMPT, ranks=2), CHECKPOINT, "checksum")
        self.fails(run("inspect", "--checkpoint", damaged, "--verify"), CHECKPOINT, "embedding/weight")

    def test_sums_that_are_not_finite(self):
        damaged = damage.put_value(self.copy("separate2"), 3e38)
        text = self.file("text", "a text to score, longer than one window")
        one = ("generate", "--checkpoint", damaged, *PROMPT)
        score = ("eval", "--checkpoint", damaged, "--text", text, "--context", "8")
        for ranks in (None, 2, 4):
            self.fails(run(*one, "--no-verify", ranks=ranks), NUMERIC, "not finite", stdout=None)
            self.fails(run(*score, "--no-verify", ranks=ranks), NUMERIC, "not finite")

    def test_a_batch_goes_on_behind_them(self):
        damaged = damage.put_value(self.copy("separate2"), 3e38)
        prompts = self.prompts([{"prompt": "one"}, {"prompt": "two"}])
        result = self.succeeds(run("generate", "--checkpoint", damaged, "--no-verify", "--prompts", prompts, ranks=2))
        self.assertEqual([r["finish_reason"] for r in result.records.values()], ["error", "error"])
        self.assertTrue(all("not finite" in r["error"] for r in result.records.values()))


class Limits(TestCase):
    def test_memory_limit(self):
        generate = ("generate", "--checkpoint", checkpoint("separate2"), *PROMPT)
        for ranks in (None, 2):
            self.fails(run(*generate, "--memory-limit", "50000", ranks=ranks), MEMORY, "needs", "weights",
                       "--memory-limit allows 49 KiB")
        self.succeeds(run(*generate, "--memory-limit", "64MiB"))

    def test_recurrent_decoding_of_other_models(self):
        for name, word in (("separate2", "shared"), ("decoder1", ""), ("looped", "")):
            for ranks in (None, 2) if name == "separate2" else (None,):
                self.fails(run("generate", "--checkpoint", checkpoint(name), *PROMPT, "--decode", "recurrent", ranks=ranks),
                           CONFIG, "recurrent", word)
        self.succeeds(run("generate", "--checkpoint", checkpoint("shared2"), *PROMPT, "--decode", "recurrent", ranks=2))

    def test_delays_of_sections_that_are_not_there(self):
        self.fails(run("generate", "--checkpoint", checkpoint("separate2"), *PROMPT, "--delay-section", "2:1", ranks=2), 2,
                   "section 2")


if __name__ == "__main__":
    unittest.main()
