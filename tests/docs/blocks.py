"""Code blocks of the documentation, with what the comments before them say.

<!-- slow -->                     takes long: run with -m slow only
<!-- not run: REASON -->          never run; its flags and configuration keys are checked
<!-- output -->                   what the command block before it prints, in shape
<!-- file: NAME -->               a file that the blocks after it find in their directory
"""

import dataclasses
import pathlib
import re
import shlex

ROOT = pathlib.Path(__file__).parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")))
_FENCE = re.compile(r"^( *)```(\S*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!-- (slow|output|not run|file)(?:: ((?:(?!-->).)+))? -->\s*\Z", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
      page, line: where it stands.
      language: of the fence; "" without one.
      text: without the fence and its indentation.
      kind: of the comment before it: "slow", "output", "not run", "file" or "".
      argument: the comment's reason or file name.
    """

    page: str
    line: int
    language: str
    text: str
    kind: str
    argument: str

    @property
    def where(self):
        return f"{self.page}:{self.line}"

    @property
    def runs(self):
        """True for commands and Python that are run, slowly or not; mere flags are not."""
        code = self.language in ("bash", "python") and not self.text.startswith("--")
        return code and self.kind in ("", "slow")


def read(page):
    """The blocks of a page, in order."""
    return parse(page, (ROOT / page).read_text(encoding="utf-8"))


def parse(page, text):
    """The blocks of a page's text, in order."""
    found = []
    for match in _FENCE.finditer(text):
        indent, language, body = match.groups()
        comment = _COMMENT.search(text[: match.start()])
        kind, argument = (comment[1], comment[2] or "") if comment else ("", "")
        body = "\n".join(line.removeprefix(indent) for line in body.splitlines())
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(page, line, language, body, kind, argument))
    return found


def commands(block):
    """The commands of a block of bash, each as list of words; `&&` parts them."""
    joined = block.text.replace("\\\n", "")
    found = []
    for line in joined.splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            found.append(words[:end])
            words = words[end + 1 :]
    return [words for words in found if words]


_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")


def shape(line):
    """A line with every number as `#` and every run of spaces as one."""
    return " ".join(_NUMBER.sub("#", line).split())


def missing(shown, printed):
    """The first shown line that has no line of its shape in `printed`, in order; or None.

    "…" in a shown line stands for anything, alone for any lines.
    """
    lines = iter([shape(line) for line in printed.splitlines()])
    for line in shown.splitlines():
        wanted = shape(line)
        if wanted in ("", "…"):
            continue
        pattern = re.compile(".*".join(map(re.escape, wanted.split("…"))))
        if not any(pattern.fullmatch(candidate) for candidate in lines):
            return line
    return None
