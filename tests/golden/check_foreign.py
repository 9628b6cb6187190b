"""The engine's numbers on checkpoints that a stranger wrote: golden checkpoints, written again with plain h5py.

Fixed-length strings, no alignment, no checksums, copies in place of links (or external links to split files); the golden
files beside them stay as they are, and the golden test must pass on the copies.

usage: check_foreign.py GOLDEN_TEST_PROGRAM GOLDEN_FOLDER WORK_FOLDER
"""

import os
import pathlib
import shutil
import subprocess
import sys

import h5py
import numpy as np

ONE_FILE = ["separate2", "shared2", "window1", "sections3_linear", "gelu_scale", "format_bf16", "format_q8_0", "format_q4_0",
            "format_q4_1", "format_mixed"]
SPLIT = ["sections4", "mixed4", "format_q4_0"]


def copy_attributes(source, target, fixed):
    for name, value in source.attrs.items():
        if name == "xxh3_64":
            continue
        if isinstance(value, (str, bytes)):
            text = value if isinstance(value, bytes) else value.encode()
            target.attrs[name] = np.bytes_(text) if fixed else text.decode()
        else:
            target.attrs[name] = value


def copy_tree(source, target, fixed):
    """Datasets as plain contiguous ones; a link is followed and what it names is stored again."""
    copy_attributes(source, target, fixed)
    for name in source:
        item = source[name]
        if isinstance(item, h5py.Dataset):
            copy_attributes(item, target.create_dataset(name, data=item[()]), fixed)
        else:
            copy_tree(item, target.create_group(name), fixed)


def rewrite(source_path, target_path, fixed):
    with h5py.File(source_path, "r") as source, h5py.File(target_path, "w", userblock_size=512) as target:
        copy_tree(source, target, fixed)


def rewrite_split(source_path, target_path):
    with h5py.File(source_path, "r") as source, h5py.File(target_path, "w") as target:
        copy_attributes(source, target, False)
        for name in source:
            if name == "sections":
                continue
            copy_tree(source[name], target.create_group(name), False)
        sections = target.create_group("sections")
        for number in source["sections"]:
            part = target_path.with_name(f"{target_path.stem}.section-{number}.h5")
            with h5py.File(part, "w") as file:
                copy_tree(source["sections"][number], file, False)
            sections[number] = h5py.ExternalLink(part.name, "/")


def run_golden(program, folder):
    environment = dict(os.environ, STAGFORMER_GOLDEN=str(folder))
    result = subprocess.run([program, "--gtest_filter=Cases/*"], env=environment, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, encoding="utf-8", timeout=300)
    print("\n".join(result.stdout.splitlines()[-8:]))
    return result.returncode == 0 and "[  PASSED  ]" in result.stdout


def main():
    program, golden, work = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    shutil.rmtree(work, ignore_errors=True)
    for style, names in (("fixed", ONE_FILE), ("variable", ONE_FILE), ("split", SPLIT)):
        folder = work / style
        (folder / "twins").mkdir(parents=True)
        for name in names:
            shutil.copy(golden / f"{name}.golden.h5", folder)
            if style == "split":
                rewrite_split(golden / f"{name}.h5", folder / f"{name}.h5")
            else:
                rewrite(golden / f"{name}.h5", folder / f"{name}.h5", style == "fixed")
        print(style, flush=True)
        if not run_golden(program, folder):
            sys.exit(1)


if __name__ == "__main__":
    main()
