"""One library for all scopes in which a scheme is verified.

A library of one scope takes a C compiler two seconds, and answers in a tenth of that. So `verify`,
which asks of many scopes, has a general library compiled (bounds.py), once, while it does what
needs none. A search that lasts longer than a compiler is faster in a library of its own.
"""

from collections.abc import Sequence

import attrs

from rmapcheck.host.background import Building
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.scheme import Scheme
from rmapcheck.search.native.bounds import Running, widest
from rmapcheck.search.native.translate import Translation, translate_general
from rmapcheck.search.question import Question


@attrs.frozen
class General:
    """The general library of a scheme."""

    translation: Translation
    building: Building

    @classmethod
    def of(cls, scheme: type[Scheme], scopes: Sequence[Scope]) -> "General":
        """Return a library for `scopes`; its compiler is not started. Raise Untranslatable."""
        translation = translate_general(scheme, widest(scopes))
        return cls(translation, Building(translation.source))

    def answers(self, question: Question) -> bool:
        """Return whether the library can search for an answer."""
        bounds = self.translation.bounds
        known = isinstance(bounds, Running) and bounds.cover(question.scope)
        return known and question.symmetry and not question.named
