"""Includes go downwards only: cli > {pipeline, import} > {model, comm, checkpoint, text} > kernels > base; and what is fenced in stays so."""

import pathlib
import re
import sys

BELOW = {
    "base": set(),
    "kernels": {"base"},
    "model": {"base", "kernels"},
    "comm": {"base"},
    "checkpoint": {"base", "kernels"},
    "text": {"base", "kernels"},
}
BELOW["pipeline"] = set(BELOW)
BELOW["import"] = {"base", "kernels", "checkpoint", "text"}
BELOW["cli"] = set(BELOW)
FENCED = {"mpi.h": "comm", "hdf5.h": "checkpoint", "sentencepiece_processor.h": "text", "hwy/highway.h": "kernels",
          "cblas.h": "kernels", "CLI/CLI.hpp": "cli"}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)


def problems(root):
    for path in sorted((root / "src").rglob("*.[ch]pp")):
        layer = path.relative_to(root / "src").parts[0]
        for name in INCLUDE.findall(path.read_text()):
            first = name.split("/")[0]
            if first in BELOW and first != layer and first not in BELOW[layer]:
                yield f"{path.relative_to(root)}: layer {layer} includes {name}"
            if name in FENCED and FENCED[name] != layer:
                yield f"{path.relative_to(root)}: only {FENCED[name]} may include {name}"
    for path in sorted((root / "include").rglob("*.hpp")):
        for name in INCLUDE.findall(path.read_text()):
            if "/" in name and not name.startswith("stagformer/"):
                yield f"{path.relative_to(root)}: a public header includes {name}"


def main():
    found = list(problems(pathlib.Path(sys.argv[1])))
    print("\n".join(found) or "layers are in order")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
