"""Checkpoints that are missing, damaged or unfit."""

import damage
from support import CHECKPOINT, CONFIG, MEMORY, NUMERIC, TestCase, checkpoint, main, run

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
        for name, section in (("separate2", "sections/1"), ("sections4", "sections/3")):
            with self.subTest(name=name):
                damaged = self.copy(name)
                damage.flip_bit(damaged, damage.weight_offset(damaged.read_bytes(), last=True) + 402)
                self.refused(damaged, section, "checksum", ranks=2)
                self.refused(damaged, section, "checksum")
        damaged = self.copy("format_q4_0")
        damage.flip_bit(damaged, damaged.stat().st_size - 1000)
        self.refused(damaged, "sections/1", "checksum", ranks=2)

    def test_a_flipped_bit_in_a_sliced_head(self):
        """The head is the last dataset of `untied`: 263 rows of 32 values, of which each rank reads a part."""
        size = 263 * 32 * 4
        begin = self.copy("untied").stat().st_size // damage.PAGE * damage.PAGE - size // damage.PAGE * damage.PAGE
        for offset in (100, size - 100):
            path = damage.flip_bit(self.copy("untied"), begin + offset)
            self.refused(path, "head/weight", "checksum", ranks=2, args=("--head", "sliced"))

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
        newer = damage.set_integer_attribute(self.copy("separate2"), "format_version", 2)
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
        damage.flip_bit(part, -1000)
        self.fails(run("generate", "--checkpoint", root, *PROMPT, ranks=2), CHECKPOINT, str(part), "checksum")
        damage.truncate(part, -1000)
        self.fails(run("generate", "--checkpoint", root, *PROMPT), CHECKPOINT, "section-1")
        part.unlink()
        self.fails(run("generate", "--checkpoint", root, *PROMPT, ranks=2), CHECKPOINT, "section-1")


class Values(TestCase):
    def test_values_that_are_not_finite(self):
        damaged = damage.put_values(self.copy("separate2"), 3e38)  # finite weights, infinite products
        one = ("generate", "--checkpoint", damaged, *PROMPT)
        text = self.file("text", "a text to score, longer than one window")
        score = ("eval", "--checkpoint", damaged, "--text", text, "--context", "8")
        for ranks in (None, 2, 4):
            self.fails(run(*one, "--no-verify", ranks=ranks), NUMERIC, "not finite", stdout=None)
            self.fails(run(*score, "--no-verify", ranks=ranks), NUMERIC, "not finite")
        self.fails(run(*one, ranks=2), CHECKPOINT, "checksum")

    def test_a_batch_goes_on_behind_them(self):
        damaged = damage.put_values(self.copy("separate2"), 3e38)
        prompts = self.prompts([{"prompt": "one"}, {"prompt": "two"}])
        result = self.succeeds(run("generate", "--checkpoint", damaged, "--no-verify", "--prompts", prompts, ranks=2))
        self.assertEqual([r["finish_reason"] for r in result.records.values()], ["error", "error"])
        self.assertTrue(all("not finite" in r["error"] for r in result.records.values()))


    def test_weights_that_are_not_finite(self):
        damaged = damage.put_values(self.copy("separate2"), float("nan"))
        generate = ("generate", "--checkpoint", damaged, *PROMPT)
        for ranks in (None, 2):
            self.fails(run(*generate, "--no-verify", ranks=ranks), CHECKPOINT, str(damaged), "embedding/weight", "not finite")
        self.fails(run(*generate), CHECKPOINT, str(damaged), "embedding/weight")
        self.fails(run("inspect", "--checkpoint", damaged, "--verify"), CHECKPOINT, "embedding/weight")


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

    def test_drafts_of_models_that_cannot(self):
        for name, word in (("decoder1", "2 sections"), ("looped", "staggered"), ("sections3_linear", "read-out"),
                           ("lag0", "lag"), ("no_cross", "cross-attention")):
            for ranks in (None, 3) if name == "looped" else (None,):
                self.fails(run("generate", "--checkpoint", checkpoint(name), *PROMPT, "--draft", "2", ranks=ranks), CONFIG,
                           "drafting needs", word)

    def test_delays_of_sections_that_are_not_there(self):
        self.fails(run("generate", "--checkpoint", checkpoint("separate2"), *PROMPT, "--delay-section", "2:1", ranks=2), 2,
                   "section 2")


if __name__ == "__main__":
    main()
