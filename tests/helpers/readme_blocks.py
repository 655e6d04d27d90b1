"""The fenced blocks of README.md, and what stands in its running text as code."""

import re
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"

FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    language: str
    text: str
    line: int
    section: str

    @property
    def first(self):
        return self.text.splitlines()[0]

    @property
    def commands(self):
        """What is typed at a shell's prompt."""
        return [line.removeprefix("$ ") for line in self.text.splitlines() if line.startswith("$ ")]

    def __str__(self):
        return f"line {self.line}: {self.first}"


def blocks(text):
    """All fenced blocks, in their order."""
    found = []
    for match in FENCE.finditer(text):
        before = text[: match.start()]
        headings = HEADING.findall(FENCE.sub("", before))
        found.append(Block(match[1], match[2], before.count("\n") + 1, headings[-1] if headings else ""))
    assert text.count("\n```") == 2 * len(found), "a fence is left open"
    return found


def spans(text):
    """Code within the running text, without its backticks."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
