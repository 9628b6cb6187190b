"""docs/troubleshooting.md quotes the program's own lines: every piece of a quoted line must stand in a string of the source."""

import re
import sys
from pathlib import Path

LEAST = 6  # letters of a piece that says enough to look for


def strings_of(source: str) -> str:
    """All string literals, those that stand side by side joined, what is put between them as a mark."""
    source = re.sub(r"(?m)^\s*(//|#).*$", "", source)
    joined = re.sub(r'"\s*\n?\s*"', "", source)
    return "\n".join(re.findall(r'"((?:[^"\\\n]|\\.)*)"', joined))


def quoted_lines(page: str) -> list[str]:
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| ") and "`" in line]
    return [quote for row in rows for quote in re.findall(r"`([^`]+)`", row)]


def main() -> int:
    root = Path(sys.argv[1])
    text = "\n".join(strings_of(path.read_text()) for path in sorted((root / "src").rglob("*.?pp")))
    text = re.sub(r"\{[^}]*\}|%[a-z.0-9]+", "\n", text)  # what a format string puts in
    quotes = quoted_lines((root / "docs" / "troubleshooting.md").read_text())
    missing = [(quote, piece) for quote in quotes for piece in (part.strip(" ()") for part in quote.split("…"))
               if len(piece) >= LEAST and piece not in text]
    for quote, piece in missing:
        print(f"docs/troubleshooting.md quotes '{quote}', but no source says '{piece}'")
    if len(quotes) < 20:
        print(f"only {len(quotes)} quoted lines found")
    return 1 if missing or len(quotes) < 20 else 0


if __name__ == "__main__":
    sys.exit(main())
