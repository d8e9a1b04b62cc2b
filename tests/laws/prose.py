"""Find prose that is not plain technical English. `python -m tests.laws.prose PATH...` lists it for files and folders.

Prose is the text of Markdown pages, docstrings, comments, and strings of four words or more. Lines of TOML and YAML
files are checked for banned words only.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

GENERATED = {".venvs", "archives", "node_modules"}  # folders of others' files
MAX_WORDS = 30  # in a sentence
BY_LINE = {".toml", ".yml", ".yaml"}  # suffixes of files whose sentences are not counted

# Expressions that prose must not contain, and what to write instead.
WORDS: dict[str, str] = {
    r"foret(old|ells?|elling)": "estimate",
    r"of late": "recently",
    r"who(so)?ever": "a caller that, anyone who",
    r"borne": "accepted, carried",
    r"nought": "zero, nothing",
    r"(the|a|this|full|empty|our) house": "the service, the gateway",
    r"(the|at the|a|two|both|whose|management|inference) doors?": "endpoint, port, client",
    r"(is|are|was|were|be|been|being|as|not|what|it|who) told": "reported, returned, named",
    r"tells? (of|what|whether|how|where|which|who|when)": "reports, says, describes",
    r"seats?": "slot",
    r"(are|is|be) looked at": "are checked",
    r"looks? at": "checks, reads, examines",
    r"nobody": "no one, no caller; or name the part",
    r"somebody": "a caller, a user",
    r"the lack of|for want of": "because there is no",
    r"pictures?": "image",
    r"lanes?": "queue",
    r"in company|company": "batch",
    r"promises?": "estimate, guarantee",
    r"has it that|as it were|so to speak|by and by|thereof|wherein|whereof|anew|hence|thus": "plain words",
    r"nothing but": "only",
    r"makes? (no|much) (difference|ado)": "does not matter",
    r"(those|them|one|he|they|it) (that|who) (come|comes|came) ": "name the thing",
}
BANNED = re.compile(rf"\b({'|'.join(WORDS)})\b", re.IGNORECASE)
CODE = re.compile(r"``[^`]+``|`[^`]+`")
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
ADDRESS = re.compile(r"https?://\S+")
DIRECTIVE = re.compile(r"#\s*(noqa|type:|ruff:|pragma:|mypy:|!)")
SENTENCE_END = re.compile(r"(?<=[.!?:;])[)\"'*]*\s+(?=[A-Z`(\"'*_\d])|\s[-*]\s|\n\s*\n")
WORD = re.compile(r"[A-Za-z][\w'/.-]*|\d[\d.,]*")


class Passage(NamedTuple):
    """A piece of prose, and the line where it starts."""

    line: int
    text: str


def passages(path: Path) -> Iterator[Passage]:
    """Yield the prose of a Python or Markdown file, or each line of a TOML or YAML file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from _of_python(text)
    elif path.suffix in BY_LINE:
        yield from (Passage(*line) for line in enumerate(ADDRESS.sub("", text).splitlines(), start=1))
    else:
        yield from _of_markdown(text)


def complaints(path: Path) -> Iterator[str]:
    """Yield a line for each banned expression and each long sentence of a file."""
    for line, text in passages(path):
        for found in BANNED.finditer(CODE.sub("", text)):
            cure = next(cure for word, cure in WORDS.items() if re.fullmatch(word, found[0], re.IGNORECASE))
            yield f"{path}:{line}: '{found[0]}': say {cure}"
        for sentence in () if path.suffix in BY_LINE else sentences(text):
            count = len(WORD.findall(sentence))
            if count > MAX_WORDS:
                yield f"{path}:{line}: {count} words: {' '.join(sentence.split())[:90]}"


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a passage. Text in backticks counts as one word."""
    plain = CODE.sub("Code", LINK.sub(r"\1", ADDRESS.sub("address", text)))
    yield from (part for part in SENTENCE_END.split(plain) if part and part.strip())


def _of_markdown(text: str) -> Iterator[Passage]:
    blank = FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)
    block: list[str] = []
    start = 1
    for number, line in enumerate([*blank.splitlines(), ""], start=1):
        is_row = line.lstrip().startswith("|")
        if is_row or not line.strip() or line.startswith(("    ", "#")) or re.match(r"\s*([-*]|\d+\.)\s", line):
            if block:
                yield Passage(start, "\n".join(block))
            block = []
        if is_row:
            yield from (Passage(number, cell) for cell in line.strip().strip("|").split("|") if cell.strip())
        elif line.strip() and not (line.startswith("    ") and not block):
            if not block:
                start = number
            block.append(line)


def _of_python(text: str) -> Iterator[Passage]:
    module = ast.parse(text)
    prose = _docstrings(module)
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) in prose:
                yield from _paragraphs(node.lineno, node.value)
            elif len(re.findall(r"[A-Za-z]{2,} ", node.value)) >= 3 and "\n" not in node.value.strip():
                yield Passage(node.lineno, node.value)
    yield from _comments(text)


def _docstrings(module: ast.Module) -> set[int]:
    definitions = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [node.body for node in ast.walk(module) if isinstance(node, definitions)]
    first = [body[0].value for body in bodies if body and isinstance(body[0], ast.Expr)]
    return {id(value) for value in first if isinstance(value, ast.Constant)}


def _paragraphs(line: int, text: str) -> Iterator[Passage]:
    for part in re.split(r"(\n\s*\n)", text):
        written = [row for row in part.splitlines() if not row.startswith(" " * 8)]
        if part.strip() and written:
            yield Passage(line, "\n".join(written))
        line += part.count("\n")


def _comments(text: str) -> Iterator[Passage]:
    """Yield comments. Comments on consecutive lines are one passage."""
    block: list[str] = []
    start = previous = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT or DIRECTIVE.match(token.string):
            continue
        line = token.start[0]
        if block and line != previous + 1:
            yield Passage(start, "\n".join(block))
            block = []
        if not block:
            start = line
        block.append(token.string.lstrip("# "))
        previous = line
    if block:
        yield Passage(start, "\n".join(block))


def main(names: list[str]) -> int:
    """Print all findings, and return 1 if there are any."""
    paths = [
        path for name in names for path in ([Path(name)] if Path(name).is_file() else sorted(Path(name).rglob("*")))
    ]
    checked = [path for path in paths if path.suffix in {".py", ".md"} | BY_LINE and not GENERATED & set(path.parts)]
    found = [each for path in checked for each in complaints(path)]
    sys.stdout.write("".join(f"{each}\n" for each in found) + f"{len(found)} to rewrite\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
