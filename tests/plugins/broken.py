"""Broken plug-ins: for each, its source and what the error must say."""

import textwrap

HEAD = """\
import attrs
from rmapcheck.model.machine.heap import num, ref
from rmapcheck.model.scheme import Scheme
from rmapcheck.model.schemes.anon_vma_reuse import AvcPublish

"""


def plain(body, base="AvcPublish", name='name = "mine"\n'):
    return f"{HEAD}class Mine({base}):\n" + textwrap.indent(name + textwrap.dedent(body), "    ")


BROKEN = {
    "syntax error": ("class Mine(\n", ["mine.py, line 1", "not Python"]),
    "not UTF-8": (b"name = '\xff'\n", ["mine.py", "not Python"]),
    "a null byte": (b"x = 1\x00\n", ["mine.py", "null byte"]),
    "an import of an earlier version": (
        "from model.schemes.anon_vma_reuse import AvcPublish\n",
        ["mine.py, line 1: `model.schemes.anon_vma_reuse` is", "`rmapcheck.model.schemes.anon_"],
    ),
    "an import of a module that moved": (
        "import attrs\nfrom rmapcheck.catalogue import schemes\n",
        ["mine.py, line 2", "is now called `rmapcheck.plugins.catalogue`: import that instead"],
    ),
    "an import of a module with another name": (
        "from model.i_mmap_prio_tree import IMmapPrioTree\n",
        ["mine.py, line 1", "is now called `rmapcheck.model.i_mmap.prio_tree`"],
    ),
    "an import of a name that moved": (
        "from rmapcheck.model.machine.state import (\n    VM_READ,\n    pte_offset,\n)\n",
        ["mine.py, line 1: `VM_READ` is now in `rmapcheck.model.machine.structs`: import it from"],
    ),
    "an import of a module and a name that moved": (
        "from model.mm.vma import vma_lookup, move_end\n",
        [
            "mine.py, line 1: `model.mm.vma` is now called `rmapcheck.model.mm.vma` and",
            "`move_end` is now in `rmapcheck.model.mm.vma_merge`: import them from there",
        ],
    ),
    "an import of a class that is a row now": (
        "from rmapcheck.model.schemes.anon_vma_eras import AnonVma2615\n",
        ["mine.py, line 1: `AnonVma2615` is no longer a class", "schemes()['anon_vma-2.6.15']`"],
    ),
    "an import of a name that there never was": (
        "from rmapcheck.model.machine.state import nonsense\n",
        ["mine.py, line 1: importing it raised ImportError: cannot import name 'nonsense'"],
    ),
    "a fact of the era in the class": (
        plain("mremap_many = True\n"),
        [
            "Mine.mremap_many is a fact of the scheme's era",
            "write `era = attrs.evolve(AvcPublish.era, mremap_many=True)`",
        ],
    ),
    "no era": (plain("era = None\n"), ["`era` must be an object of class Era (model/era.py)"]),
    "a class for a container": (
        f"from rmapcheck.model.i_mmap.list import IMmapList\n{plain('i_mmap = IMmapList')}",
        ["`i_mmap` must be an object of class IMmap (model/i_mmap)"],
    ),
    "a method of the container in the class": (
        plain("def i_mmap_foreach(self, st, mapping, first, last, rwc):\n    return []\n"),
        [
            "Mine.i_mmap_foreach belongs to the container",
            "subclass of IMmapIntervalTree with foreach",
        ],
    ),
    "import raises": (
        "import attrs\nx = undefined\n",
        ["mine.py, line 2", "importing it raised NameError", "'undefined'"],
    ),
    "import exits": ("import sys\nsys.exit(0)\n", ["mine.py, line 2", "SystemExit"]),
    "import does not end": ("while True:\n    pass\n", ["mine.py, line", "does not end"]),
    "a warning and an error": (
        "x = 0 if 1 else 2\nif x == 0not in ():\n    (\n",
        ["mine.py, line 3: not Python: '(' was never closed"],
    ),
    "an expression too long": ("x = " + "1+" * 200_000 + "1\n", ["nested too deeply"]),
    "operators too deep": ("x = " + "-" * 200_000 + "1\n", ["nested too deeply"]),
    "parentheses too deep": ("(" * 500 + ")" * 500, ["mine.py, line 1: not Python: too many"]),
    "a name with an escape sequence": (
        plain("", name='name = "\\x1b[31mred"\n'),
        ["`name` of class Mine has a character that cannot be printed"],
    ),
    "a title that is not text": (
        plain("title = 7\n"),
        ["`title` of class Mine must be a string that can be printed"],
    ),
    "no scheme": ("class Mine:\n    name = 'mine'\n", ["no subclass of Scheme", "(Scheme)"]),
    "several schemes": (
        plain("") + "\n\nclass Other(Scheme):\n    name = 'other'\n",
        ["several schemes (Mine, Other)", "mine.py:Other"],
    ),
    "no name": (plain("title = 'x'", name=""), ["class Mine has no name", 'name = "…"']),
    "name of a built-in": (
        plain("", name='name = "avc-7.0"\n'),
        ["has the name of the built-in 'avc-7.0'", "choose another"],
    ),
    "wrong signature": (
        plain("def anon_vma_prepare(self, st):\n    return 0\n"),
        ["mine.py, line 8", "hook anon_vma_prepare must take (self, st, vma), not (self, st)"],
    ),
    "wrong signature of a decision": (
        plain("def may_reuse(self, st, anon_vma):\n    return False\n"),
        ["mine.py, line 8", "may_reuse must take (self, st, anon_vma, own)", "of AvcCounters"],
    ),
    "static hook": (
        plain("@staticmethod\ndef anon_vma_prepare(st, vma):\n    return 0\n"),
        ["hook anon_vma_prepare must be a plain method, without @staticmethod"],
    ),
    "hook that is not a function": (
        plain("anon_vma_prepare = 0\n"),
        ["`anon_vma_prepare` is the name of a hook, so it must be a method, not 0"],
    ),
    "misspelt hook": (
        plain("def anon_vma_prepair(self, st, vma):\n    return 0\n"),
        ["mine.py, line 8", "anon_vma_prepair is not a hook", "did you mean anon_vma_prepare?"],
    ),
    "misspelt decision": (
        plain("def may_reuze(self, st, anon_vma, own):\n    return True\n"),
        ["may_reuze is not a hook, and nothing uses it", "did you mean may_reuse?"],
    ),
    "misspelt attribute": (
        plain("invariant = ('coverage',)\n"),
        ["Mine.invariant is not a hook", "did you mean invariants?"],
    ),
    "unknown invariant": (
        plain("invariants = ('covrage',)\n"),
        ["names the invariant 'covrage', which does not exist", "did you mean coverage?"],
    ),
    "unknown goal": (
        plain("goals = ('chain of threes',)\n"),
        ["names the goal 'chain of threes'", "did you mean chain of three?"],
    ),
    "invariants as one string": (
        plain("invariants = 'coverage'\n"),
        ["`invariants` must be a tuple, as in ('coverage',), not 'coverage'"],
    ),
    "unknown pool": (
        plain("fields = {'vmas': ('anon_vma',)}\n"),
        ["`fields` names the pool 'vmas', which does not exist", "did you mean vma?"],
    ),
    "unknown field": (
        plain("fields = {'vma': ('anon_vmas',)}\n"),
        ["`fields` names the field 'anon_vmas' of vma", "did you mean anon_vma"],
    ),
    "fields as a string": (
        plain("fields = {'vma': 'anon_vma'}\n"),
        ["`fields['vma']` must be a tuple of field names, not 'anon_vma'"],
    ),
    "struct that is not an attrs class": (
        plain("class Box:\n    vma = 0\nstructs = (Box,)\n", base="Scheme"),
        ["Box in `structs` is not an attrs class", "@attrs.define"],
    ),
    "undeclared field": (
        plain("@attrs.define\nclass Box:\n    vma: int = 0\nstructs = (Box,)\n", base="Scheme"),
        ["field 'vma' of struct Box must be declared with num(…), ref(…)"],
    ),
    "reference to no struct": (
        plain(
            "@attrs.define\nclass Box:\n    lid: int = ref('lid')\nstructs = (Box,)\n",
            base="Scheme",
        ),
        ["field 'lid' refers to 'lid', a struct that the scheme does not list"],
    ),
    "cannot be made": (
        plain("def __init__(self, size):\n    self.size = size\n"),
        ["Mine() cannot be made", "'size'"],
    ),
    "reads page tables": (
        plain("""
            def folio_mapped(self, st, folio):
                return any(st.pte[i].folio == folio for i in st.pte.indices())
            """),
        ["mine.py, line 10", "folio_mapped of scheme 'mine' reads page tables (st.pte)"],
    ),
    "returns None": (
        plain("def anon_vma_prepare(self, st, vma):\n    pass\n"),
        ["mine.py, line 8", "anon_vma_prepare of scheme 'mine' returned None instead of a whole"],
    ),
    "returns a positive number": (
        plain("def anon_vma_prepare(self, st, vma):\n    return 1\n"),
        ["anon_vma_prepare of scheme 'mine' returned 1 instead of 0 or -ENOMEM (-12)"],
    ),
    "returns a string": (
        plain("def folio_mapped(self, st, folio):\n    return 'yes'\n"),
        ["folio_mapped of scheme 'mine' returned 'yes' instead of True or False"],
    ),
    "returns where it must not": (
        plain("def folio_free(self, st, folio):\n    return folio\n"),
        ["folio_free of scheme 'mine' returned 1, but it must return nothing"],
    ),
    "yields": (
        plain("def rmap_walk(self, st, folio, rwc):\n    yield folio\n"),
        ["rmap_walk of scheme 'mine' contains `yield`"],
    ),
    "raises": (
        plain("def anon_vma_prepare(self, st, vma):\n    return st.vma[99].anon_vma\n"),
        ["mine.py, line 9", "hook anon_vma_prepare of scheme 'mine' raised IndexError"],
    ),
    "raises in a helper": (
        plain("""
            def anon_vma_prepare(self, st, vma):
                return self.helper(vma)

            def helper(self, vma):
                return 1 // 0
            """),
        ["mine.py, line 13", "hook anon_vma_prepare of scheme 'mine' raised ZeroDivisionError"],
    ),
    "recurses": (
        plain("def folio_free(self, st, folio):\n    self.folio_free(st, folio)\n"),
        ["hook folio_free of scheme 'mine' raised RecursionError"],
    ),
    "uses a struct that is not declared": (
        plain("def folio_free(self, st, folio):\n    st.box[1].lid = 0\n"),
        ["mine.py, line 9", "no 'box'", "`structs`"],
    ),
    "does not end": (
        plain("def anon_vma_prepare(self, st, vma):\n    while True:\n        pass\n"),
        ["mine.py, line", "hook anon_vma_prepare of scheme 'mine' does not end"],
    ),
    "list in a circle": (
        plain("""
            def insert(self, st, anon_vma, avc):
                st.anon_vma[anon_vma].head = avc
                st.anon_vma_chain[avc].same_anon_vma = avc
            """),
        ["does not end on what scheme 'mine' has built", "one of its lists is a circle"],
    ),
    "remembers in self": (
        plain("def folio_free(self, st, folio):\n    self.last = folio\n"),
        ["mine.py, line 9", "scheme 'mine' keeps something in self.last", "extra_fields"],
    ),
    "remembers in a list": (
        plain("""
            seen = ([],)

            def folio_add_new_anon_rmap(self, st, folio, vma, address, ptep):
                super().folio_add_new_anon_rmap(st, folio, vma, address, ptep)
                self.seen[0].append(folio)
                st.folio[folio].index = len(self.seen[0]) % 2
            """),
        ["scheme 'mine' does not do the same thing twice"],
    ),
    "exits": (
        plain("def anon_vma_prepare(self, st, vma):\n    raise SystemExit(0)\n"),
        ["mine.py, line 9", "hook anon_vma_prepare of scheme 'mine' raised SystemExit"],
    ),
    "exits when it is made": (
        plain("def __init__(self):\n    raise SystemExit(0)\n"),
        ["mine.py", "SystemExit"],
    ),
    "writes a field that is not declared": (
        plain("def folio_free(self, st, folio):\n    st.folio[folio].direct = 1\n"),
        ["mine.py, line 9", "folio.direct is not a field of this scheme's state"],
    ),
}
