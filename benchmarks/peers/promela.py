"""Writes the model for SPIN for one set of bounds: avc.pml with the main loop that calls it.

Each instance of a transition is a separate option with constant arguments, and one d_step, which
is the fastest form for SPIN. All invariants together are the guard of one more option, so that a
state that satisfies them costs no step.
"""

from pathlib import Path

PROCEDURES = Path(__file__).with_name("avc.pml")


def _all(parts: list[str], sign: str = " && ") -> str:
    return "(" + sign.join(parts) + ")"


class Model:
    """The options for one set of bounds, each with a guard and an action."""

    def __init__(self, mms: int, pages: int, folios: int, anon_vmas: int) -> None:
        self.p, self.v, self.f, self.a = mms, pages, folios, anon_vmas
        self.n = mms * pages

    def ranges(self) -> list[tuple[int, int]]:
        """Return all pairs (start, length)."""
        return [(s, n) for s in range(self.v) for n in range(1, self.v - s + 1)]

    def options(self) -> list[str]:
        """Return the options of the main loop."""
        out = []
        for p in range(self.p):
            out += self.mmaps(p) + self.faults(p) + self.forks(p) + self.exit(p)
            out += self.munmaps(p) + self.mremaps(p)
        return out

    def mmaps(self, p: int) -> list[str]:
        """Return the options of mmap: map free pages."""
        out = []
        for s, n in self.ranges():
            base = p * self.v
            pages = range(base + s, base + s + n)
            guard = _all([f"alive[{p}]", *(f"vs[{x}] == 0" for x in pages)])
            sets = "; ".join(f"vs[{x}] = {base + s + 1}" for x in pages)
            out.append(f":: d_step {{ {guard} -> {sets}; pgoff[{base + s}] = {s} }}")
        return out

    def faults(self, p: int) -> list[str]:
        """Return the options of write: store to a page."""
        page = _all([f"mapcount[{f}] == 0" for f in range(self.f)], " || ")
        anon = _all([f"TR({a}, 0) == 0" for a in range(self.a)], " || ")
        out = []
        for x in range(p * self.v, (p + 1) * self.v):
            first = f"({page} && (av[vs[{x}] - 1] != 0 || {anon}))"
            b = f"pte[{x}] - 1"
            again = f"(!excl[{b}] && (mapcount[{b}] == 1 || {page}))"
            guard = f"vs[{x}] != 0 && (pte[{x}] == 0 -> {first} : {again})"
            out.append(f":: d_step {{ ({guard}) -> fault({x}); j = 0 }}")
        return out

    def forks(self, p: int) -> list[str]:
        """Return the options of fork: the child is the lowest free process."""
        out = []
        for q in range(self.p):
            if q != p:
                lower = [f"alive[{r}]" for r in range(q)]
                test = " && ".join(f"now.{t}" for t in [f"alive[{p}]", *lower])
                guard = f"{test} && !now.alive[{q}] && !(needs({p}) > unused())"
                base, to = p * self.v, q * self.v
                body = f"alive[{q}] = 1; fork({base}, {to}); j = 0"
                out.append(f":: d_step {{ c_expr {{ {guard} }} -> {body} }}")
        return out

    def exit(self, p: int) -> list[str]:
        """Return the options of exit: all processes except the last may exit."""
        others = _all([f"alive[{q}]" for q in range(self.p) if q != p] or ["false"], " || ")
        guard = f"(alive[{p}] && {others})"
        return [f":: d_step {{ {guard} -> unmap({p * self.v}, 0, {self.v}); alive[{p}] = 0 }}"]

    def munmaps(self, p: int) -> list[str]:
        """Return the options of munmap: unmap a range whose first and last page are mapped."""
        base = p * self.v
        return [
            f":: d_step {{ (vs[{base + s}] != 0 && vs[{base + s + n - 1}] != 0) -> "
            f"unmap({base}, {s}, {s + n}); j = 0 }}"
            for s, n in self.ranges()
        ]

    def mremaps(self, p: int) -> list[str]:
        """Return the options of mremap: move pages of one VMA to free pages."""
        base = p * self.v
        out = []
        for s, n in self.ranges():
            for t in range(self.v - n + 1):
                if t + n <= s or s + n <= t:
                    free = [f"vs[{base + t + i}] == 0" for i in range(n)]
                    whole = f"vs[{base + s}] == vs[{base + s + n - 1}]"
                    guard = _all([f"vs[{base + s}] != 0", whole, *free])
                    out.append(f":: d_step {{ {guard} -> mremap({base}, {s}, {n}, {t}); j = 0 }}")
        return out

    def invariant(self) -> str:
        """Return I1 ... I4 as one expression, so that checking a state costs no step."""
        n, anons = range(self.n), range(self.a)
        out = []
        for x in n:
            f, v = f"(pte[{x}] - 1)", f"(vs[{x}] - 1)"
            chain = _all([f"CH({v}, {k}) == mapping[{f}]" for k in anons], " || ")
            found = [
                f"vs[{x}] != 0",
                f"mapping[{f}] != 0",
                f"USED(mapping[{f}] - 1)",
                chain,
                f"index[{f}] == pgoff[{v}] + {x} - {v}",
            ]
            out.append(f"(pte[{x}] == 0 || {_all(found)})")
        for f in range(self.f):
            out.append(f"(mapcount[{f}] == 0 || (mapping[{f}] != 0 && USED(mapping[{f}] - 1)))")
            out.append(f"(mapcount[{f}] == {' + '.join(f'(pte[{x}] == {f + 1})' for x in n)})")
        for v in n:
            out += [f"(CH({v}, {k}) == 0 || USED(CH({v}, {k}) - 1))" for k in anons]
            own = _all([f"CH({v}, {k}) == av[{v}]" for k in anons], " || ")
            out.append(f"(av[{v}] == 0 || {own})")
        for a in anons:
            linked = _all([f"CH({v}, {k}) == {a + 1}" for v in n for k in anons], " || ")
            out.append(f"(!USED({a}) || ({linked} && USED(parent[{a}])))")
            out.append(f"(nactive[{a}] == {' + '.join(f'(av[{v}] == {a + 1})' for v in n)})")
            children = " + ".join(f"(USED({b}) && parent[{b}] == {a})" for b in anons)
            out.append(f"(nchild[{a}] == {children})")
        return "\n      && ".join(out)


def source(mms: int, pages: int, folios: int, anon_vmas: int) -> str:
    """Return the model."""
    model = Model(mms, pages, folios, anon_vmas)
    options = "\n  ".join(model.options())
    sizes = f"#define P {mms}\n#define V {pages}\n#define F {folios}\n#define A {anon_vmas}\n"
    return (
        sizes
        + PROCEDURES.read_text(encoding="utf-8")
        + f"""
active proctype kernel() {{
  alive[0] = 1;
  do
  {options}
  :: !({model.invariant()}) -> assert(false)
  od
}}
"""
    )
