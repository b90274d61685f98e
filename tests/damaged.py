"""Damaged inputs: cases, checkpoints, cached libraries and plug-ins, each made from a seed.

    python -m tests.damaged case 17        damages one input, runs the commands on it, and checks
    python -m tests.damaged case 0 500     the first 500

The process may not show a traceback, end by a signal, or take longer than PATIENCE for one input.
So this runs in a process of its own: `test_damaged_inputs.py` starts it.
"""

import ast
import contextlib
import faulthandler
import io
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from rmapcheck.cli import engines, run
from rmapcheck.cli.scaffold import SCHEME
from rmapcheck.host import compile as build
from rmapcheck.host.cache import is_whole
from rmapcheck.plugins import guard, watchdog
from rmapcheck.search.checkpoint import Reader, write
from rmapcheck.verdict import Exit

SAVED = sorted((Path(__file__).parents[1] / "counterexamples").glob("[BE]*.json"))
PATIENCE = 60.0
"""Seconds for one input."""
NUMBERS = (0, 1, -1, 2, 31, 32, 255, 256, 2**31, 2**63, 2**64, -(2**63), 10**30)
ODD = (*NUMBERS, 1.5, None, True, "", "x", "\x1b[31m", "é\u202e", [], {}, [[]], {"op": "mmap"})
SEARCH = ("--mms", "1", "--pages", "2", "--folios", "2", "--swaps", "0", "--ops")
OPERATIONS = "mmap,munmap,fault"
LINES = """\
        return 0
        raise KeyError
        st.vma[99].vm_mm = 1
        while True: pass
        self.x = 1
    x = [
    name = 7
import nothing""".splitlines()
"""Lines that a damaged plug-in may have."""


DEEP = ("(" * 300, "-" * 99_999 + "1", "1+" * 99_999 + "1", "not " * 9_999 + "1", "a." * 50_000)
"""Expressions that are too deep for Python's compiler."""
STATEMENTS = """\
pass
return 1
return None
return self
yield 1
raise OSError
st.folio[folio].mapping = 10 ** 9
st.vma[1].anon_vma = st
del st
self.seen = st
while True: pass
def may_adopt(self): return 1
super().dup_mmap(st)
x = [0] * 10 ** 12
""".splitlines()
"""Statements that may stand instead of another one."""


# Bytes.


def bytes_of(data: bytes, rng: random.Random) -> bytes:
    """Return `data` with one to three pieces changed."""
    for _ in range(rng.randint(1, 3)):
        first, size = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 7, 64, 1000))
        piece = data[first : first + size]
        new = rng.choice((
            b"", piece * 2, rng.randbytes(len(piece)), bytes(len(piece)), piece[::-1],
            rng.choice((b'"', b"{", b"[" * size, b"\xff", b"\n", b"9" * size)) + piece,
        ))  # fmt: skip
        data = data[:first] + new + data[first + size :]
        data = data[:first] if rng.random() < 0.15 else data
    return data


# Cases.


def places(value: object, path: tuple = ()) -> list[tuple]:
    """Return the path of each value inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, inner in items:
        found.append((*path, key))
        if isinstance(inner, dict | list):
            found += places(inner, (*path, key))
    return found


def at(value: object, path: Iterable) -> object:
    """Return the value with that path."""
    for key in path:
        value = value[key]
    return value


def json_of(value: object, rng: random.Random) -> object:
    """Change one to three values of a JSON value: others, none, twice, at another place."""
    for _ in range(rng.randint(1, 3)):
        *path, last = rng.choice(places(value))
        parent = at(value, path)
        what = rng.randrange(4)
        if what == 0:
            parent[last] = rng.choice(ODD)
        elif what == 1 and isinstance(parent[last], int):
            parent[last] += rng.choice((-1, 1, 2, 10))
        elif what == 2:
            del parent[last]
        elif isinstance(parent, list):
            parent.insert(rng.randrange(len(parent) + 1), json.loads(json.dumps(parent[last])))
        else:
            parent[rng.choice(("op", "mm", "start", "to", "x", "fail"))] = parent[last]
        if not places(value):
            break
    return value


def another_run(value: dict, rng: random.Random) -> dict:
    """Change the steps, the scope or the scheme of a case so that it is often still a case."""
    steps = value["steps"]
    for _ in range(rng.randint(1, 4)):
        i = rng.randrange(len(steps))
        what = rng.randrange(5)
        if what == 0 and len(steps) > 1:
            del steps[i]
        elif what == 1:
            steps.insert(i, dict(rng.choice(steps)))
        elif what == 2:
            steps[i]["fail"] = rng.randint(1, 3)
        elif what == 3:
            name = rng.choice([n for n in steps[i] if n != "op"])
            steps[i][name] = rng.randint(0, 3) if isinstance(steps[i][name], int) else "r"
        else:
            bound = rng.choice(("mms", "pages", "vmas", "folios", "swaps", "objects"))
            value["scope"][bound] = rng.randint(1, 8)
    value["scheme"] = rng.choice((value["scheme"], "avc-6.0", "pte_chain-2.5.35", "E04"))
    value["expect"]["step"] = rng.randint(1, len(steps))
    return value


def case(rng: random.Random) -> list[list[str]]:
    """Damage a saved case; return commands to be run on it."""
    data = rng.choice(SAVED).read_bytes()
    how = rng.random()
    if how < 0.6:
        change = json_of if how < 0.3 else another_run
        data = json.dumps(change(json.loads(data), rng)).encode()
    else:
        data = bytes_of(data, rng)
    Path("case.json").write_bytes(data)
    formats = ("mermaid", "itf", "pytest", "c", "kselftest")
    other = rng.choice(("avc-7.0", "pte_chain-2.6.0", "virtual_scan-2.4", "B29"))
    chosen = rng.choice((
        ["show", "case.json"],
        ["show", "case.json", "--json"],
        ["export", "case.json", "--format", rng.choice(formats)],
        ["minimize", "case.json", "--save", "here", "--max-seconds", "0.2"],
        ["diff", "case.json", "--schemes", f"{other},avc-6.0", "--walks"],
        ["replay", "case.json", "--scheme", other],
    ))  # fmt: skip
    return [["replay", "case.json"], chosen]


# Checkpoints.


def checkpoint(rng: random.Random) -> list[list[str]]:
    """Damage a checkpoint: its bytes, or its content with digests that are right."""
    path = Path("whole")
    search = ["explore", "avc-7.0", *SEARCH, OPERATIONS, "--engine", "native"]
    if not path.exists():
        quiet([*search, "--max-depth", "3", "--checkpoint", str(path)])
        Path("answer").write_text(quiet([*search, "--json"])[1])
    resume = [*search, "--resume", "damaged"]
    if rng.random() < 0.6:
        Path("damaged").write_bytes(bytes_of(path.read_bytes(), rng))
        return [[*resume, "--json"]]
    with_right_digests(path, Path("damaged"), rng)
    return [resume]


def states_of(out: str) -> int:
    """Return how many states a search has found, according to its JSON."""
    return int(json.loads(out)["distinct"])


def with_right_digests(path: Path, target: Path, rng: random.Random) -> None:
    """Damage the header or a piece of a checkpoint, and write it as rmapcheck would."""
    reader = Reader(path)
    header, pieces = reader.header(), list(reader.pieces())
    how = rng.randrange(4)
    if how == 0:
        header = json_of(header, rng)
    elif how == 1:
        numbers = [p for p in places(header) if type(at(header, p)) is int]
        *path, last = rng.choice(numbers)
        at(header, path)[last] += rng.choice((-1, 1, 2, 1000))
    elif how == 2:
        pieces = rng.sample(pieces * 2, rng.randrange(1, len(pieces) * 2))
    else:
        i = rng.randrange(len(pieces))
        pieces[i] = bytes_of(pieces[i], rng) or b"x"
    target.unlink(missing_ok=True)
    write(target, header, pieces)


# Cached libraries.


def library(rng: random.Random) -> list[list[str]]:
    """Damage a library in the cache. It must be built again, and then do what it should."""
    number = rng.randrange(5)
    source = f"int answer(void) {{ return {number}; }}\n"
    path = build.build(source)
    data = path.read_bytes()
    path.unlink()  # this process may have loaded it, and must not see it change
    how = rng.randrange(6)
    if how == 0:
        path.symlink_to(path)
    elif how == 1:
        path.symlink_to("nowhere")
    elif how == 2:
        path.write_bytes(data[: rng.randrange(len(data))])
    else:
        path.write_bytes(bytes_of(data, rng))
    built = build.build(source)
    if not is_whole(built):
        raise AssertionError(f"{built} is damaged, and was not built again")
    return []


# Plug-ins.


def plugin(rng: random.Random) -> list[list[str]]:
    """Damage the scheme that `rmapcheck new` writes: its bytes, its lines, or its words."""
    words = {"name": "mine", "file": "mine.py", "cls": "Mine", "title": "mine"}
    text = SCHEME.substitute(words)
    how = rng.random()
    if how < 0.1:
        data = bytes_of(text.encode(), rng)
    elif how < 0.3:
        data = lines_of(text, rng).encode()
    else:
        data = program_of(text, rng).encode()
    Path("mine.py").write_bytes(data)
    engine = rng.choice(("explore", "fuzz"))
    more = ["--engine", "python", "--max-states", "200"] if engine == "explore" else (
        ["--engine", "walk", "--walk-steps", "300"])  # fmt: skip
    return [[engine, "mine.py", *SEARCH, f"{OPERATIONS},fork,mprotect", *more]]


def lines_of(text: str, rng: random.Random) -> str:
    """Delete, repeat, move and insert lines."""
    lines = text.splitlines()
    for _ in range(rng.randint(1, 3)):
        i = rng.randrange(len(lines))
        what = rng.randrange(4)
        if what == 0:
            del lines[i]
        elif what == 1:
            lines.insert(rng.randrange(len(lines)), lines[i])
        elif what == 2:
            lines.insert(i, rng.choice((*LINES, *DEEP)))
        else:
            lines[i] = lines[i][rng.randint(0, 5) :]
    return "\n".join(lines) + "\n"


def program_of(text: str, rng: random.Random) -> str:
    """Change one to three nodes of the syntax tree, so that the text is still Python."""
    tree = ast.parse(text)
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.expr) and hasattr(n, "ctx")]
    nodes = [n for n in nodes if isinstance(n.ctx, ast.Load)]
    blocks = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.If | ast.ClassDef)]
    for _ in range(rng.randint(1, 3)):
        block = rng.choice(blocks)
        what = rng.randrange(4)
        if what == 0:
            block.body[rng.randrange(len(block.body))] = ast.parse(rng.choice(STATEMENTS)).body[0]
        elif what == 1:
            block.body.insert(0, rng.choice(rng.choice(blocks).body))
        elif what == 2:
            rng.shuffle(block.body)
        else:
            one, other = rng.sample(nodes, 2)
            one.__class__, one.__dict__ = other.__class__, dict(other.__dict__)
    with contextlib.suppress(RecursionError):  # a node may have become its own part
        return ast.unparse(ast.fix_missing_locations(tree))
    return text


# Running them.


KINDS: dict[str, Callable[[random.Random], list[list[str]]]] = {
    "case": case,
    "checkpoint": checkpoint,
    "library": library,
    "plugin": plugin,
}
FINE = (Exit.EXPECTED, Exit.UNEXPECTED, Exit.INCONCLUSIVE)


def quiet(words: list[str]) -> tuple[int, str, str]:
    """Run the command line; return exit code, output and errors."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(words)
    return code, out.getvalue(), err.getvalue()


def check(kind: str, seed: int) -> None:
    """Damage one input and run its commands. Raise AssertionError if one does what it must not."""
    rng = random.Random(f"{kind} {seed}")
    for words in KINDS[kind](rng):
        code, out, err = quiet(words)
        said = f"{' '.join(words)}: exit code {code}\n{out}{err}"
        if "Traceback" in out + err or code not in (*FINE, Exit.USAGE):
            raise AssertionError(said)
        if kind == "checkpoint" and "--json" in words and code == Exit.EXPECTED:
            # damage that went unnoticed must not matter, unless the digests were made to fit
            if states_of(out) != states_of(Path("answer").read_text()):
                raise AssertionError(said)
        if code == Exit.USAGE and not (err.startswith("rmapcheck: ") and err.count("\n") == 1):
            raise AssertionError(said)


def main(kind: str, first: int, last: int) -> None:
    """Check the inputs with the seeds from `first` to before `last`, in an empty folder."""
    watchdog.LOOP_SECONDS = 0.5
    short = guard.check_behaviour
    engines.check_behaviour = lambda cls, scope, **_: short(cls, scope, steps=200, seconds=0.2)
    with tempfile.TemporaryDirectory(prefix="rmapcheck-damaged-") as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder) / "cache")
        os.chdir(folder)
        for seed in range(first, last):
            faulthandler.dump_traceback_later(PATIENCE, exit=True)
            sys.stdout.write(f"{kind} {seed}\n")
            sys.stdout.flush()
            check(kind, seed)
            shutil.rmtree("counterexamples", ignore_errors=True)
        faulthandler.cancel_dump_traceback_later()
        os.chdir("/")


if __name__ == "__main__":
    KIND, FIRST, *REST = sys.argv[1:]
    main(KIND, int(FIRST), int(REST[0]) if REST else int(FIRST) + 1)
