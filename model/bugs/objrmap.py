"""Bugs of partial objrmap, 2003 and 2004. Most override nothing: it was posted like this."""

import attrs

from rmapcheck.model.scheme import Bug
from rmapcheck.model.schemes.objrmap import Objrmap5a
from rmapcheck.model.schemes.objrmap_nonlinear import Objrmap5b, Objrmap5cAgain
from rmapcheck.model.schemes.pte_chain import PteChainArray

ONE = {
    "mms": 1,
    "pages": 2,
    "folios": 2,
    "swaps": 0,
    "protections": 1,
    "files": 1,
    "file_pages": 2,
}


class NonlinearLost(Objrmap5a):
    """No walk finds a page that remap_file_pages() mapped away from its linear place.

    try_to_unmap_obj() of 2.5.62-3 stopped the kernel with BUG() when its count did not reach 0.
    """

    name = "E41"
    bug = Bug(
        id="E41",
        title="objrmap: nonlinear mappings",
        introduced="2.5.62-3 (2003-02-20)",
        fixed="2.5.62-5 (2003-02-20)",
        violates="walk_complete",
        evidence="verified in the mails 8390000.1045757611 and 135130000.1045781211",
        scope={**ONE, "ops": ["file", "fault", "remap"]},
        steps=2,
    )


class MapcountAsPointer(Objrmap5b):
    """install_page() set PG_anon on a page whose entries were counted, not chained.

    Then the pte_chain code uses the count as a pointer.
    """

    name = "E42"
    bug = Bug(
        id="E42",
        title="objrmap: page_convert_anon()",
        introduced="2.5.62-5 (2003-02-20)",
        fixed="2.5.62-mm3",
        violates="kernel_bug",
        evidence="derived from the code of mail 135130000.1045781211",
        scope={**ONE, "ops": ["file", "fault", "remap"]},
        steps=3,
    )


class HalfConverted(Objrmap5cAgain):
    """page_convert_anon() ran out of memory halfway: the page stayed PG_anon with half a chain."""

    name = "E43"
    bug = Bug(
        id="E43",
        title="never fixed as such; page_convert_anon() went with rmap 8",
        introduced="patch of 2003-04-03 (for 2.5.66-mm3)",
        fixed="2a6053ea95",
        violates="chain_equals_ptes",
        evidence="derived from the code of mail 61050000.1049405305",
        scope={**ONE, "alloc_fail": True, "ops": ["file", "fault", "remap"]},
        steps=3,
    )


class TruncatesLinearly(PteChainArray):
    """Truncation checked only the linear place of a page, and missed it in a nonlinear VMA."""

    name = "E44"
    era = attrs.evolve(PteChainArray.era, truncates_nonlinear=False)
    bug = Bug(
        id="E44",
        title="rmap: nonlinear truncation",
        introduced="1a1ec2db98 (v2.5.46)",
        fixed="66d25df0b1",
        violates="nothing_beyond_the_end",
        evidence="verified; the hashes are those of the mirror dmgerman/history-token",
        scope={**ONE, "ops": ["file", "fault", "remap", "truncate"]},
        steps=3,
    )
