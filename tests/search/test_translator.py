"""The translator: it translates schemes that are composed of parts, and refuses other code."""

import inspect
import re
from pathlib import Path
from textwrap import dedent
from typing import ClassVar

import attrs
import pytest

from rmapcheck.explore import explore
from rmapcheck.host import compile as build
from rmapcheck.model.era import Era
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.mm.swap import folio_put
from rmapcheck.model.mm.vma_merge import VmaMergeStruct
from rmapcheck.model.schemes.anon_vma_root import AvcRoot
from rmapcheck.plugins.catalogue import schemes
from rmapcheck.search import native
from rmapcheck.search.native.translate import translate
from rmapcheck.search.native.translator.source import Untranslatable

needs_compiler = pytest.mark.skipif(build.compiler() is None, reason="there is no C compiler")

TINY = Scope(mms=2, pages=1, folios=2, swaps=1, objects=6, ops=("mmap", "fault", "fork", "swap"))


@attrs.frozen(kw_only=True)
class OfSteps(Era):
    """An era with additional facts."""

    root_lock: bool = True
    steps: tuple[int, ...] = (0, 1)


class Climb:
    """Returns the anon_vma above another one."""

    up: ClassVar[int] = 1

    def parent(self, st, anon_vma):
        above = anon_vma
        for step in st.scheme.era.steps:
            if step == self.up:
                above = st.anon_vma[anon_vma].root
        return above


class Ladder(Climb):
    """Returns 0 if there is no anon_vma above."""

    def parent(self, st, anon_vma):
        return super().parent(st, anon_vma) if anon_vma else self.nothing()

    @staticmethod
    def nothing():
        return 0


@attrs.frozen
class Family:
    """Finds the oldest anon_vma of a family."""

    climb: ClassVar[Climb] = Ladder()
    turns: int = 2

    def root(self, st, anon_vma):
        if not st.scheme.era.root_lock:
            return {anon_vma: anon_vma}[anon_vma]
        for _ in range(self.turns):
            anon_vma = self.climb.parent(st, anon_vma)
        return anon_vma

    @classmethod
    def of_none(cls):
        return cls.__name__ != "Family"


class Composed(AvcRoot):
    """AvcRoot with a part that contains another part."""

    name = "composed"
    family: ClassVar[Family] = Family()
    era: ClassVar[OfSteps] = OfSteps()

    def lock_of(self, st, anon_vma):
        family = self.family
        if family.of_none():
            return 0
        return self.family.root(st, anon_vma)


class Unlocked(Composed):
    """Without the root lock, a branch is taken that cannot be translated."""

    name = "unlocked"
    era: ClassVar[OfSteps] = OfSteps(root_lock=False)


@needs_compiler
def test_a_scheme_of_parts_gives_the_counts_of_one_without():
    composed = explore(Composed, TINY, engine="native")
    interpreted = explore(Composed, TINY, engine="python")
    plain = explore(AvcRoot, TINY, engine="native")
    for name in ("generated", "distinct", "depth", "reached"):
        assert getattr(composed, name) == getattr(interpreted, name), name
        assert getattr(composed, name) == getattr(plain, name), name
    assert composed.verdict.how == interpreted.verdict.how == "exhaustive"


def functions(scheme, name):
    """Return how many C functions were written for Python functions called `name`."""
    source = translate(scheme, TINY).source
    return len(re.findall(rf"^static int {name}_\d+\(.*\) {{$", source, re.MULTILINE))


def test_methods_of_parts_are_functions_in_c_each_once():
    assert functions(Composed, "root") == 1
    assert functions(Composed, "parent") == 2, "that of Ladder and, by super(), that of Climb"


def test_constants_of_an_era_close_branches():
    translate(Composed, TINY)
    with pytest.raises(Untranslatable, match=r"test_translator.py:\d+: Dict expressions"):
        translate(Unlocked, TINY)


def test_two_parts_of_one_class_are_two():
    class Twice(Composed):
        other: ClassVar[Family] = Family(turns=3)

        def lock_of(self, st, anon_vma):
            return self.other.root(st, self.family.root(st, anon_vma))

    assert functions(Twice, "root") == 2


class Counted:
    """Has attributes that may change."""

    start: ClassVar[int] = 1
    order: ClassVar[list[int]] = [1, 2]
    pair: ClassVar[tuple[object, ...]] = (1, [2])

    def __init__(self):
        self.asked = 0

    @property
    def often(self):
        return self.asked > 1

    def method(self, st):
        return self.start


@attrs.define
class Thawed:
    """Has a field that can be assigned to."""

    depth: int = 1


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("self.part.asked", "Counted.asked may change; Counted must be a frozen class"),
        ("self.part.asked + 1", "Counted.asked may change; Counted must be a frozen class"),
        ("self.part.often", "Counted.often may change; Counted must be a frozen class"),
        ("self.part.order[0]", "Counted.order is a list, which may change"),
        ("self.part.pair", "Counted.pair holds a list, which may change"),
        ("self.part.height", "Counted has no attribute 'height'"),
        ("self.part.climb(st)", "Counted has no method climb()"),
        ("self.part.start(st)", "Counted has no method start()"),
        ("self.part.own(st)", "own is not a method of the class Counted"),
        ("self.thawed.depth", "Thawed.depth may change; Thawed must be a frozen class"),
        ("st.scheme.era.no_such", "OfSteps has no attribute 'no_such'"),
        ("st.scheme.era.steps.no_such", "a constant has no 'no_such' that C can read"),
        ("no_such(anon_vma)", "no_such is not defined in the module of this function"),
        ("no_such(anon_vma, 1)", "no_such is not defined in the module of this function"),
        ("LIMIT(anon_vma)", "LIMIT is not a function in the module of this function"),
        ("divmod(anon_vma, 2)", "divmod() with these arguments is not translated"),
        ("abs(anon_vma)", "abs() of a number is not translated"),
        ("anon_vma.root", "a number has no 'root' that C can read"),
        ("anon_vma.root()", "a number has no method root() in C"),
        ("anon_vma[0]", "a number has no elements"),
        ("st.anon_vma[st.vma]", "a number is needed here, not a pool"),
        ("anon_vma + st.anon_vma[1]", "a number is needed here, not an object of a pool"),
        ("anon_vma in st.vma", "`in` is not translated for a pool"),
        (
            "1 if anon_vma else st.vma[1]",
            "the two values must be of the same kind, not a number and an object of a pool",
        ),
        (
            "st.vma[1] == st.vma[2]",
            "this comparison of an object of a pool and another one is not translated",
        ),
    ],
)
def test_what_cannot_be_translated_is_refused_with_one_sentence(tmp_path, expression, reason):
    part = Counted()
    part.own = part.method
    file = tmp_path / "refused.py"
    file.write_text(f"def lock_of(self, st, anon_vma):\n    return {expression}\n")
    space = {"LIMIT": 3}
    exec(compile(file.read_text(), str(file), "exec"), space)
    members = {"part": part, "thawed": Thawed(), "lock_of": space["lock_of"]}
    with pytest.raises(Untranslatable) as refused:
        translate(type("Refused", (Composed,), members), TINY)
    assert str(refused.value) == f"{file}:2: {reason}."


def test_attributes_of_a_part_cannot_be_assigned_to():
    class Assigning(Composed):
        def lock_of(self, st, anon_vma):
            self.family.turns = 1
            return anon_vma

    with pytest.raises(Untranslatable, match="turns of a part of the scheme cannot be assigned"):
        translate(Assigning, TINY)


def test_one_name_cannot_be_two_parts():
    class Either(Composed):
        other: ClassVar[Family] = Family()

        def lock_of(self, st, anon_vma):
            family = self.family
            family = self.other
            return family.root(st, anon_vma)

    with pytest.raises(
        Untranslatable, match="family is first a part of the scheme, then another one"
    ):
        translate(Either, TINY)


class Merges(Composed):
    """Makes a struct that is a local variable."""

    def lock_of(self, st, anon_vma):
        vmg = VmaMergeStruct(mm=1, start=0, end=anon_vma, pgoff=0, flags=0, file=0)
        vmg.end += 1
        vmg.prev = vmg.end - 1
        return super().lock_of(st, vmg.prev)


@needs_compiler
def test_a_struct_on_the_stack_is_one_in_c():
    found = [explore(cls, TINY, engine="native").distinct for cls in (Composed, Merges)]
    assert found[0] == found[1]


class Returns(Composed):
    def lock_of(self, st, anon_vma):
        return VmaMergeStruct(mm=1, start=0, end=1, pgoff=0, flags=0, file=0)


class Positional(Composed):
    def lock_of(self, st, anon_vma):
        return VmaMergeStruct(anon_vma).end


class Incomplete(Composed):
    def lock_of(self, st, anon_vma):
        return VmaMergeStruct(mm=1).end


class Misspelt(Composed):
    def lock_of(self, st, anon_vma):
        vmg = VmaMergeStruct(mm=1, start=0, end=1, pgoff=0, flags=0, file=0)
        vmg.ende = 2
        return vmg.end


@pytest.mark.parametrize(
    ("scheme", "reason"),
    [
        (Returns, "a vma_merge_struct is on the stack and cannot be returned"),
        (Positional, "VmaMergeStruct must get its fields by name"),
        (Incomplete, "field start is missing"),
        (Misspelt, "vma_merge_struct has no field 'ende'"),
    ],
)
def test_what_no_struct_on_the_stack_can_do_is_refused(scheme, reason):
    with pytest.raises(Untranslatable, match=reason):
        translate(scheme, TINY)


# The guide at the head of rmapcheck.search.native.


FLAGS = re.DOTALL | re.MULTILINE


def example(language):
    """Return the code block of the guide in `language`."""
    found = re.search(rf"code-block:: {language}\n\n(.*?)\n\n(?=\S)", native.__doc__, re.DOTALL)
    return dedent(found[1])


def unnumbered(code):
    """Return C code without the numbers of functions, which depend on all functions before."""
    return re.sub(r"_\d+\(", "(", code)


def test_the_guide_shows_a_function_before_and_after():
    lines = inspect.getsource(folio_put).splitlines()
    assert example("python").splitlines() == [lines[0], *lines[2:]], "all but its docstring"
    source = translate(schemes()["avc-7.0"], Scope()).source
    made = re.search(r"^static int folio_put_\d+\([^;]*\{$.*?(?=^static )", source, FLAGS)
    assert unnumbered(example("c")) == unnumbered(made[0].strip())


def test_the_guide_names_each_file_once():
    folder = Path(native.__file__).parent
    paths = [f for f in folder.rglob("*") if f.suffix in (".py", ".c") and f.stem != "__init__"]
    files = [str(f.relative_to(folder)).removeprefix("translator/") for f in paths]
    named = re.findall(r"^`([\w/]+\.(?:py|c))` ", native.__doc__, re.MULTILINE)
    assert sorted(named) == sorted(files)
