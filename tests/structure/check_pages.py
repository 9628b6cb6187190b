"""Links between pages lead somewhere, and every flag of every subcommand stands on its page or on docs/command-line.md."""

import re
import subprocess
import sys
from pathlib import Path

PAGES = ("*.md", "docs/**/*.md", "models/*.md", "slurm/*.md", "python/*.md", "tests/**/*.md")


def anchors(page: str) -> set[str]:
    headings = re.findall(r"(?m)^#+ (.+)$", page)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken_links(root: Path) -> list[str]:
    broken = []
    for path in sorted({path for pattern in PAGES for path in root.glob(pattern)}):
        for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", path.read_text()):
            if target.startswith("http"):
                continue
            file = path.parent / target if target else path
            if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file.read_text())):
                broken.append(f"{path.relative_to(root)}: {target}{'#' if anchor else ''}{anchor} leads nowhere")
    return broken


def help_of(program: str, *words: str) -> str:
    return subprocess.run([program, *words, "--help"], check=True, capture_output=True, text=True).stdout


def missing_flags(root: Path, program: str) -> list[str]:
    common, missing = (root / "docs/command-line.md").read_text(), []
    commands = re.findall(r"(?m)^  ([a-z]+)  ", help_of(program).split("Subcommands:")[1])
    for command in commands:
        page = root / "docs/commands" / f"{command}.md"
        if not page.exists():
            missing.append(f"{command} has no page in docs/commands")
            continue
        text = page.read_text() + common
        missing += [f"{page.name} does not name {flag}" for flag in re.findall(r"(?m)^  (?:-h,)?(--[a-z-]+)", help_of(program, command))
                    if not re.search(re.escape(flag) + r"(?![a-z-])", text)]
    return missing if commands else ["--help lists no subcommands"]


def main() -> int:
    root, program = Path(sys.argv[1]), sys.argv[2]
    problems = broken_links(root) + missing_flags(root, program)
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
