"""One search of the AVC profile, alone in its process: `ours.py P,V,F,A brute`.

Prints one line of JSON. With `build` in place of `brute` or `orbits` both libraries are only made.
"""

import json
import resource
import sys
import time

from avc_profile import INVARIANTS, NAMED, AvcProfile, Bounds, counts, search

from rmapcheck.native import build
from rmapcheck.native.translate import translate


def compile_all(bounds: Bounds) -> dict[str, float]:
    """Translate and compile for both kinds of search; return the CPU seconds of each half."""
    start = time.process_time()
    sources = [
        translate(AvcProfile, bounds.scope(), named=named, target=",".join(INVARIANTS)).source
        for named in (NAMED, ())
    ]
    translating = (time.process_time() - start) / 2
    for source in sources:
        build.build(source)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"translate": translating, "gcc": (children.ru_utime + children.ru_stime) / 2}


def main() -> None:
    """Search, and print what was found and what it cost."""
    bounds = Bounds(*map(int, sys.argv[1].split(",")))
    if sys.argv[2] == "build":
        sys.stdout.write(json.dumps(compile_all(bounds)))
        return
    start = time.process_time()
    done = search(bounds, symmetry=sys.argv[2] == "orbits")
    seconds = time.process_time() - start
    states, transitions = counts(done)
    found = {"verdict": done.verdict.how, "states": states, "transitions": transitions}
    sys.stdout.write(json.dumps({**found, "seconds": seconds}))


if __name__ == "__main__":
    main()
