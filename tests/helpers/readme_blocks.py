"""The documents of the project, their fenced blocks, and what stands in their running text as code."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"

FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)

GENERATED = ("_build", "generated")
INCLUDED = ("contributing.md", "changelog.md")
"""Pages of the site that only include a document of the top folder."""


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    language: str
    text: str
    line: int
    section: str
    document: str = "README.md"

    @property
    def first(self):
        return self.text.splitlines()[0]

    @property
    def commands(self):
        """What is typed at a shell's prompt."""
        return [line.removeprefix("$ ") for line in self.text.splitlines() if line.startswith("$ ")]

    def __str__(self):
        return f"{self.document} line {self.line}: {self.first}"


def documents():
    """Every document that people read, top folder first, then the pages of the site: names below the root."""
    pages = [p.relative_to(ROOT) for p in sorted((ROOT / "docs").rglob("*.md"))]
    pages = [p for p in pages if not set(p.parts) & set(GENERATED) and p.name not in INCLUDED]
    return ["README.md", "CONTRIBUTING.md", *map(str, pages)]


def text_of(document):
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(text, document="README.md"):
    """All fenced blocks, in their order; directives of the site (a language in braces) are none."""
    found, fences = [], 0
    for match in FENCE.finditer(text):
        fences += 1
        before = text[: match.start()]
        headings = HEADING.findall(FENCE.sub("", before))
        section = headings[-1] if headings else ""
        if not match[1].startswith("{"):
            found.append(Block(match[1], match[2], before.count("\n") + 1, section, document))
    assert text.count("\n```") == 2 * fences, f"a fence is left open in {document}"
    return found


def all_blocks(*, below="", top=False):
    """Blocks of the pages in a folder of ``docs/``, or of the documents of the top folder."""
    chosen = [d for d in documents() if (("/" not in d) if top else d.startswith(f"docs/{below}"))]
    return [block for document in chosen for block in blocks(text_of(document), document)]


def how_to_blocks(first, last):
    """Blocks of the how-to pages whose names begin with a letter from `first` to `last`."""
    return [b for b in all_blocks(below="how-to/") if first <= b.document.rpartition("/")[2][0] <= last]


def other_blocks():
    """Blocks of the site's pages that are no how-to guide."""
    return [b for b in all_blocks() if not b.document.startswith("docs/how-to/")]


def spans(text):
    """Code within the running text, without its backticks."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
