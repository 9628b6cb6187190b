"""launch/gallery over the shipped models, and that it notices other tokens."""

import shutil
import subprocess
import sys
from pathlib import Path

from support import HANG, MPIEXEC, MPIEXEC_FLAGS, NUMPROC_FLAG, PROGRAM, TestCase, checkpoint, environment, main

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = " ".join([MPIEXEC, *MPIEXEC_FLAGS, NUMPROC_FLAG, "{ranks}"])


def gallery(*words, launcher: str = LAUNCHER) -> subprocess.CompletedProcess:
    command = [sys.executable, "-B", str(ROOT / "launch/gallery"), "--program", PROGRAM, "--launcher", launcher, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=10 * HANG, env=environment())


class Gallery(TestCase):
    def test_shipped_models(self):
        done = gallery("Once upon a time", "--tokens", 8)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("All runs that must give the same tokens did.", done.stdout)
        for path in (ROOT / "models").glob("*.h5"):
            self.assertIn(f"=== {path.name} (", done.stdout)
        for words in ("| Once upon a time", "2 ranks, staggered", "sequential", "drafts of 4", "converted to q4_0", "tokens/s"):
            self.assertIn(words, done.stdout)

    def folder_of(self, name: str) -> Path:
        shutil.copy(checkpoint(name), self.folder / f"{name}.h5")
        return self.folder

    def test_every_way_of_a_shared_model(self):
        done = gallery("abc", "--tokens", 6, "--models", self.folder_of("shared2"))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("recurrent: after the prompt", done.stdout)

    def test_other_tokens_are_told(self):
        """The launcher starts no second rank here, but makes the run sample."""
        sampling = "env STAGFORMER_TEMPERATURE=5 STAGFORMER_SEED=3"
        done = gallery("abc", "--tokens", 6, "--models", self.folder_of("separate2"), launcher=sampling)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("OTHER TOKENS", done.stdout)
        self.assertIn("gave other tokens than they must", done.stderr)
        self.assertNotIn("did.", done.stdout)

    def test_errors_are_one_line(self):
        done = gallery("--models", self.folder)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, f"launch/gallery: no checkpoint in {self.folder}\n")


if __name__ == "__main__":
    main()
