"""Runs one search of the AVC profile in its own process: `ours.py P,V,F,A brute`.

It prints one line of JSON; `seconds` is CPU time without Python's start and the translation. With
`build` instead of `brute` or `orbits`, it only builds both libraries.
"""

import json
import resource
import sys
import time

from avc_profile import Bounds, counts, question

from rmapcheck.host import compile as build
from rmapcheck.search.native.explore import Native
from rmapcheck.search.native.search import translated
from rmapcheck.search.question import Limits


def compile_all(bounds: Bounds) -> dict[str, float]:
    """Translate and compile for both kinds of search; return the CPU seconds of each half."""
    start = time.process_time()
    both = [question(bounds, symmetry=symmetry) for symmetry in (False, True)]
    sources = [translated(asked).source for asked in both]
    translating = (time.process_time() - start) / 2
    for source in sources:
        build.build(source)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"translate": translating, "gcc": (children.ru_utime + children.ru_stime) / 2}


def main() -> None:
    """Search, and print the result and its cost."""
    bounds = Bounds(*map(int, sys.argv[1].split(",")))
    if sys.argv[2] == "build":
        sys.stdout.write(json.dumps(compile_all(bounds)))
        return
    symmetry = sys.argv[2] == "orbits"
    asked = question(bounds, symmetry=symmetry)
    engine = Native(translation=translated(asked))
    start = time.process_time()
    done = engine.answer(asked, Limits())
    seconds = time.process_time() - start
    states, transitions = counts(done)
    found = {"verdict": done.verdict.how, "states": states, "transitions": transitions}
    sys.stdout.write(json.dumps({**found, "seconds": seconds}))


if __name__ == "__main__":
    main()
