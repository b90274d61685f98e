"""Which scheme predicts which kernel: an era of anon_vma_chain, adjusted by version rules.

An era stands for several releases. Where these differ in something that the model has, a version
rule says since when. The predictor is the newest era whose kernels include the running one, with
the version rules set for it. Kernels before v6.1 are not compared, because they do not show
PageAnonExclusive.
"""

import os
import re
from typing import Any

import attrs

from rmapcheck.host.errors import Unavailable
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins.catalogue import bugs, schemes

Version = tuple[int, int, int]
OLDEST: Version = (6, 1, 0)


@attrs.frozen(kw_only=True)
class VersionRule:
    """What kernels do since a version, or since a stable release of an older version."""

    name: str
    attribute: str
    """The field of Era that says whether a kernel does it."""
    since: Version
    stable: tuple[Version, ...] = ()
    """The first stable releases of older versions that do it too."""
    commit: str

    def holds(self, version: Version) -> bool:
        """Return whether kernel `version` does it."""
        return version >= self.since or any(
            version[:2] == first[:2] and version >= first for first in self.stable
        )


VERSION_RULES = (
    VersionRule(
        name="mprotect uncharges a never-faulted VMA that is made read-only",
        attribute="mprotect_unaccounts",
        since=(6, 3, 0),
        commit="named in model/scheme.py",
    ),
    VersionRule(
        name="swap-in by a read maps a page that is not shared writable",
        attribute="swap_in_writable",
        since=(6, 11, 0),
        commit="c18160dba5ff",
    ),
    VersionRule(
        name="mremap moves ranges over several VMAs",
        attribute="mremap_many",
        since=(6, 17, 0),
        commit="d23cb648e365",
    ),
    VersionRule(
        name="mremap checks everything before it unmaps anything",
        attribute="mremap_checks_first",
        since=(6, 17, 0),
        commit="recalled; v6.1 does not, v6.18 does, as measured",
    ),
    VersionRule(
        name="mmap checks each neighbour of a new range separately",
        attribute="mmap_asks_both",
        since=(6, 12, 0),
        commit="cacded5e42b9, recalled; v6.1 does not, v6.18 does, as measured",
    ),
    VersionRule(
        name="a merge of mremap's copy gives the source's anon_vma to a never-faulted neighbour",
        attribute="inherits_copied_from",
        since=(6, 19, 0),
        stable=((6, 18, 8),),
        commit="61f67c230a5e",
    ),
    VersionRule(
        name="a merge of mremap's copy checks whether its source is a fork child",
        attribute="asks_copied_from",
        since=(6, 19, 0),
        stable=((6, 18, 8),),
        commit="3b617fd3d317, recalled",
    ),
)


def version_of(release: str) -> Version:
    """Return the version that `uname -r` names, such as 6.18.44-fc as (6, 18, 44)."""
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", release)
    if match is None:
        raise Unavailable(f"{release!r} is not a kernel version")
    return int(match[1]), int(match[2]), int(match[3] or 0)


def _range(kernels: str) -> tuple[Version, Version | None]:
    """Return the first version of ``v6.0-rc4 … v6.15``, and the first one after it, if any."""
    first, _, last = (part.strip().removeprefix("v") for part in kernels.partition("…"))
    begin = version_of(first)
    if not last:
        return begin, None
    major, minor, _ = version_of(last)
    return begin, (major, minor + 1, 0)


def era_of(version: Version) -> type[Scheme]:
    """Return the newest era of anon_vma_chain whose kernels include `version`.

    Raise Unavailable if there is none, or if the kernel is too old to be compared.
    """
    if version < OLDEST:
        raise Unavailable(f"kernels before v6.1 are not compared; this is {version}")
    found = None
    for name, cls in schemes().items():
        if name.startswith("avc-"):
            begin, end = _range(cls.era.kernels)
            if begin <= version and (end is None or version < end):
                found = cls
    if found is None:
        raise Unavailable(f"no era of anon_vma_chain includes {version}")
    return found


def predictor_of(version: Version) -> type[Scheme]:
    """Return the scheme that predicts kernel `version`: its era, with the version rules set."""
    era = era_of(version)
    return _as_predictor(era, {r.attribute: r.holds(version) for r in VERSION_RULES})


def _as_predictor(cls: type[Scheme], rules: dict[str, Any]) -> type[Scheme]:
    """Return the scheme with these rules set, and with behaviour that searches leave out."""
    era = attrs.evolve(cls.era, **rules, fault_around=True, cow_prepares_first=True)
    return type(cls.__name__, (cls,), {"era": era})


def bug_of(name: str) -> type[Scheme]:
    """Return the predictor that has a seeded bug. Raise Unavailable if the name is unknown."""
    if name not in bugs():
        raise Unavailable(f"no bug is called {name!r}")
    return _as_predictor(bugs()[name], {})


def running() -> type[Scheme]:
    """Return the scheme that predicts the kernel that is running."""
    return predictor_of(version_of(os.uname().release))
