"""Exhaustive search in C: the same states, counts and traces as the interpreted search, faster."""

import ctypes
import enum
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, overload

import attrs

from rmapcheck.host import compile as build
from rmapcheck.host.background import Building
from rmapcheck.invariants.registry import Violation, check_state, wanted
from rmapcheck.model.operations import OPERATIONS, Operation, boot, possible_operations
from rmapcheck.model.operations import run as carry_out
from rmapcheck.search import memory
from rmapcheck.search.checkpoint import PIECE, Reader
from rmapcheck.search.interpreted import Search
from rmapcheck.search.native.layout.packed import Packing
from rmapcheck.search.native.layout.plain import Plain
from rmapcheck.search.native.translate import Translation, translate
from rmapcheck.search.question import Answer, EngineError, Question

SAVED = ("next", "depth", "layer_end", "generated")
SAVED_ARRAYS = ("fired", "enabled", "cut", "words", "met")
OUT_OF_RANGE = 11
FOUND_OOPS, FOUND_LOCKS, FOUND_ATOMICITY = 1000, 2000, 3000
OOPSES = {1: "null_dereference", 2: "use_after_free", 3: "double_free", 4: "kernel_bug"}
BROKEN = {
    10: "index {number} lies outside its pool or list",
    11: "a field got the value {number}, which is outside its declared range",
    12: "a list became longer than anything the scope can hold",
    13: "a loop or recursion did not end",
    14: "too many locks were held at once",
    15: "a field that the scheme does not have was set",
    16: "a state has too many possible operations",
    17: "a step fails once but not when it is repeated",
}


class Ended(enum.IntEnum):
    """Why a slice of the search ended; the same numbers as in engine.c."""

    SLICE = 0
    EXHAUSTED = 1
    VIOLATION = 2
    BROKEN = 3
    MEMORY = 4
    STATES = 5
    DEPTH = 6


def _report(translation: Translation) -> type[ctypes.Structure]:
    """Return the layout of Report in engine.c."""
    number = ctypes.c_uint64
    names = (
        "states next depth layer_end bytes status parent ordinal fail found failure subject number"
    )
    texts, goals = len(translation.texts), len(translation.goals)
    fields: list[tuple[str, Any]] = [(name, number) for name in names.split()]
    fields += [("fired", number * len(OPERATIONS)), ("generated", number)]
    fields += [("enabled", number * len(OPERATIONS))]
    fields += [("cut", number * texts), ("words", number * texts)]
    fields += [("met", ctypes.c_ubyte * (goals + 1))]
    return type("Report", (ctypes.Structure,), {"_fields_": fields})


class _Keys(Sequence[bytes]):
    """The stored states, read from the library one at a time."""

    def __init__(self, search: "NativeSearch") -> None:
        self.search = search

    def __len__(self) -> int:
        return int(self.search.report.states)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        length = ctypes.c_uint64()
        library, handle = self.search.library, self.search.handle
        at = library.search_key(handle, index, ctypes.byref(length))
        if not at:
            raise LookupError(f"of state {index} only the fingerprint is stored")
        return self.search.packing.unpack(ctypes.string_at(at, length.value))


class OutOfMemory(Exception):  # noqa: N818 - a limit, which ends the search with UNKNOWN
    """The memory limit is too small to start the search."""


def translated(question: Question) -> Translation:
    """Return the C file that searches for an answer. Raise Untranslatable."""
    return translate(
        question.scheme,
        question.scope,
        symmetry=question.symmetry,
        named=question.named,
        target=question.target,
    )


class NativeSearch(Search):
    """One search in C, with the interface of Search for tests; its states stay in C.

    The constructor raises Untranslatable or BuildError. Tests use `defines` to plant faults.
    """

    def __init__(
        self,
        question: Question,
        *,
        memory_mb: int | None = None,
        translation: Translation | None = None,
        building: Building | None = None,
        workers: int = 1,
        fingerprint: bool = False,
        defines: tuple[str, ...] = (),
    ) -> None:
        super().__init__(question)
        self.engine = "native"
        self.handle = 0
        self.translation = translation or translated(question)
        source = self.translation.source
        self.library = build.load(building.path() if building else build.build(source, defines))
        self.packing = self._packing()
        self.fingerprint = fingerprint
        self.handle = self.library.search_new(
            self._wants(), self._numbers(), memory.budget(memory_mb), workers, fingerprint
        )
        if not self.handle:
            raise OutOfMemory
        layout = _report(self.translation)
        self.report: Any = layout.from_address(self.library.search_report(self.handle))
        self.keys = _Keys(self)  # type: ignore[assignment]
        boot(self.st)
        self.first = self.key()

    def __del__(self) -> None:
        if getattr(self, "handle", 0):
            self.library.search_free(self.handle)
            self.handle = 0

    def _packing(self) -> Packing | Plain:
        if self.translation.bounds.general:
            return Plain()
        return Packing(self.st.layout, renamed=self.symmetry)

    def _numbers(self) -> Any:  # noqa: ANN401 - ctypes has no name for an array of any length
        """Return the limits of the scope as a general library takes them."""
        values = self.translation.bounds.values(self.scope)
        return (ctypes.c_int * len(values))(*values)

    def _wants(self) -> bytes:
        """Return a byte for each violation and goal: 1 if it may end the search, or is looked for.

        search_new() in C reads them.
        """
        names = [inv.name for inv in self.translation.checks]
        oopses = [OOPSES.get(i, "") for i in range(len(OOPSES) + 1)]
        tests = [*names, *oopses, "lock_discipline", "failure_atomicity"]
        wants = [wanted(self.question.target, name) for name in tests]
        # 0 is not the number of an oops; this byte says whether an oops in an invariant counts.
        wants[len(names)] = any(wanted(self.question.target, name) for name in OOPSES.values())
        goals = {goal.name for goal in self.wanted}
        return bytes([*wants, *(goal.name in goals for goal in self.translation.goals)])

    def start(self) -> list[Violation]:
        key = self.packing.pack(self.first)
        done = self.library.search_start(self.handle, key, len(key))
        if done < 0:
            raise OutOfMemory
        if done == 0:
            raise EngineError("the first state cannot be stored")
        self.sync()
        return check_state(self.st, self.invariants)

    def sync(self) -> None:
        """Copy the counters from the library."""
        report = self.report
        self.next, self.generated, self.depth = report.next, report.generated, report.depth
        for number, cls in enumerate(OPERATIONS):
            if cls.name in self.per_operation:
                self.per_operation[cls.name].enabled = report.enabled[number]
                self.per_operation[cls.name].fired = report.fired[number]
        texts = self.translation.texts
        self.cut = {texts[i]: n for i, n in enumerate(report.cut) if n}
        self.words = {texts[i] for i, met in enumerate(report.words) if met}
        goals = self.translation.goals
        self.words |= {g.name for g, met in zip(goals, report.met, strict=False) if met}

    def run(self, max_states: int | None, max_depth: int | None, seconds: float) -> Ended:
        """Search for at most `seconds`; return why the search or this slice ended."""
        never = (1 << 63) - 1
        ended = self.library.search_run(
            self.handle,
            never if max_states is None else max_states,
            never if max_depth is None else max_depth,
            max(seconds, 0.0),
        )
        self.sync()
        return Ended(ended)

    def path(self, index: int) -> list[tuple[Operation, bytes]]:
        """Return the operations that lead to state `index`, each with the state it led to."""
        key = self.first
        steps = []
        for number in self._line(index):
            _, ordinal, fail = self.origin(number)
            op = self._operation(key, ordinal, fail)
            key = self._after(key, op) if self.fingerprint else self.keys[number]
            if self.fingerprint and self._print_of(key) != self._print(number):
                raise EngineError(f"{op} leads to another state than in the search")
            steps.append((op, key))
        return steps

    def _line(self, index: int) -> list[int]:
        """Return the numbers of the states on the path to state `index`, without the first."""
        numbers = []
        while index:
            numbers.append(index)
            index = self.origin(index)[0]
        return numbers[::-1]

    def _after(self, key: bytes, op: Operation) -> bytes:
        self.load(key)
        carry_out(self.st, op)
        return self.key()

    def _print(self, index: int) -> int:
        return int(self.library.search_print(self.handle, index))

    def _print_of(self, key: bytes) -> int:
        packed = self.packing.pack(key)
        return int(self.library.search_print_of(packed, len(packed)))

    def origin(self, index: int) -> tuple[int, int, int]:
        """Return the parent of state `index`, and the ordinal and `fail` of the step to it.

        They are fields of From in c/search.c.
        """
        number = self.library.search_from(self.handle, index)
        return number >> 32, number >> 16 & 0xFFFF, number >> 6 & 0x3FF

    def _operation(self, key: bytes, ordinal: int, fail: int) -> Operation:
        """Return number `ordinal` of the operations that are possible in a state."""
        self.load(key)
        op = possible_operations(self.st)[ordinal]
        return attrs.evolve(op, fail=fail) if fail else op

    def last(self) -> Operation:
        """Return the operation at which the search ended."""
        report = self.report
        return self._operation(self.keys[report.parent], report.ordinal, report.fail)

    def found(self) -> str:
        """Return the name of the invariant that ended the search."""
        number = self.report.found
        if number >= FOUND_ATOMICITY:
            return "failure_atomicity"
        if number >= FOUND_LOCKS:
            return "lock_discipline"
        if number >= FOUND_OOPS:
            return OOPSES[number - FOUND_OOPS]
        return str(self.translation.checks[number].name)

    def broken(self) -> Answer:
        """Return the violation that the checked replay finds; raise an error if it finds none."""
        trace = self.trace(self.report.parent, None)
        last = self.last()
        full = [*trace, *self._named_last(trace, last)]
        again = self.question.replay(full)
        left = self.report.failure == OUT_OF_RANGE
        if left and again.violations and again.step == len(full):
            return self.violated(self.question.ending(again.violations), last, self.report.parent)
        if left and self.question.target:
            raise build.BuildError("a number is out of range, which this search does not look for")
        number = ctypes.c_int64(self.report.number).value
        what = BROKEN.get(self.report.failure, "the model failed").format(number=number)
        raise EngineError(f"{what}, at {last} after {len(trace)} operations")

    def _named_last(self, trace: tuple[Operation, ...], last: Operation) -> list[Operation]:
        full = self.trace(self.report.parent, last)
        return list(full[len(trace) :])

    # Checkpoints.

    def identity(self) -> dict[str, Any]:
        """Return what must be equal in a checkpoint and in the search that continues from it."""
        return {
            "scheme": self.question.scheme.name,
            "scope": str(self.scope),
            "symmetry": self.symmetry,
            "target": self.question.target,
            "fingerprint": self.fingerprint,
            "model": hashlib.sha256(self.translation.source.encode()).hexdigest(),
        }

    def counters(self) -> dict[str, Any]:
        """Return the counters of the search, for a checkpoint."""
        numbers = {name: getattr(self.report, name) for name in SAVED}
        return numbers | {name: list(getattr(self.report, name)) for name in SAVED_ARRAYS}

    def packed(self) -> Iterator[bytes]:
        """Yield all states in pieces, in the format of c/saved.c."""
        buffer = ctypes.create_string_buffer(PIECE)
        used = ctypes.c_uint64()
        number, states = 0, self.report.states
        while number < states:
            number = self.library.search_pack(
                self.handle, number, buffer, PIECE, ctypes.byref(used)
            )
            yield buffer.raw[: used.value]

    def restore(self, counters: dict[str, Any], reader: Reader) -> None:
        """Restore the counters and all states of a checkpoint.

        Raise OutOfMemory if there is no room, and a CheckpointError if the content is impossible.
        """
        try:
            for name in SAVED:
                setattr(self.report, name, counters[name])
            for name in SAVED_ARRAYS:
                getattr(self.report, name)[:] = counters[name]
        except (KeyError, TypeError, ValueError):
            raise reader.refuse("makes no sense") from None
        for piece in reader.pieces():
            done = self.library.search_unpack(self.handle, piece, len(piece))
            if done == 0:
                raise OutOfMemory
            if done < 0:
                raise reader.refuse("makes no sense")
        if not self.library.search_sound(self.handle):
            raise reader.refuse("makes no sense: its counters contradict its states")
        self.sync()
