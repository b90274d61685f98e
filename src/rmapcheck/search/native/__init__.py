"""Search at native speed: the model's own Python source as one C file, compiled and loaded.

This is the guide to the folder. It follows one function of the model to C, folio_put() of
model/mm/swap.py in a search of avc-7.0, and names the files in the order in which to read them.

.. code-block:: python

    def folio_put(st: "Kernel", folio: int) -> None:
        st.folio[folio].refcount -= 1
        if st.folio[folio].refcount == 0:
            st.scheme.folio_free(st, folio)
            kmem_cache_free(st, st.folio, folio)
            tell(st, "free_page", folio)

.. code-block:: c

    static int folio_put_94(S *st, int p_folio) {
    { __auto_type t1 = &(folio_ok_at(st, p_folio)->refcount); int t2 = *t1;
    int t3 = 1; *t1 = t2 - t3; }
    if ((folio_ok_at(st, p_folio)->refcount == 0)) {
    folio_free_95(st, p_folio);
    folio_free(st, p_folio);
    }
    return 0;
    }

The way in:

`explore.py`      a search from its beginning, or a checkpoint, to its verdict
`translate.py`    the C file: functions for each invariant and goal, for apply() and possible() of
                  each operation, and for all that these call, between the texts of layout/ and c/
`search.py`       the library, loaded: its numbers become operations and states again
`memory.py`       how much memory it may take

One function, translator/:

`source.py`       finds the syntax tree of folio_put(), and tests that it is the tree of the code
                  that is loaded; a refusal, Untranslatable, is one sentence with file and line
`functions.py`    writes folio_put() in C, once for each use, of which this is number 94: `folio`
                  is a number and becomes `int p_folio`; `st` is the one state there is
`program.py`      what is known of scheme and scope: fields, pools; which functions are written
`body.py`         the C function while it is written; asks, for each node of the tree,
`grammar.py`      a table, which function translates nodes of that form
`kinds.py`        what such a function returns: C code, a kind, and the constant if it is one

One node, translator/:

`constants.py`    comes first, for every expression. `st.folio` and `st.scheme` are constants, as
                  `st.scope.files` would be: of `if st.scope.files:` no `if` is left in C
`parts.py`        which attributes of a scheme's objects are constants: `st.scheme.era.since`
`statements.py`   the `if`; loops; `return`
`conditions.py`   its condition, `and`, `or`, comparisons
`assignments.py`  `-= 1`, for which the field is looked up once
`arithmetic.py`   the minus
`fields.py`       `st.folio[folio].refcount` is `folio_ok_at(st, p_folio)->refcount`, which stops
                  the step if the page is NULL or freed
`lists.py`        lists and sets of numbers; none here
`loops.py`        `for`, and comprehensions; none here
`generators.py`   `yield`: in an invariant "violated", in an operation "possible"; none here

One call, translator/:

`calls.py`        decides which of the following two a call is for; here are three calls
`resolve.py`      `st.scheme.folio_free` is found along the MRO of avc-7.0: Scheme.folio_free.
                  It does nothing, so folio_free_95 is empty and gcc leaves the call out
`intrinsics.py`   C knows kmem_cache_free() by heart; tell() is for observers of the interpreted
                  model, and nothing in C
`on_stack.py`     structs that a function makes for itself, as vma_merge_struct; none here

What the C function stands on:

`layout/heap.py`  structs and pools: folio_ok_at(), folio_free()
`c/head.c`        oopses by number; the fields of a running operation
`c/runtime.c`     stop(), lists, locks

What becomes of the state that a step leaves:

`layout/stored.py`     its key, drawn; encode() and load()
`layout/packed.py`     the bits of a key, drawn, and how Python reads them
`layout/numbering.py`  the numbers that objects get in a key, drawn
`layout/reachable.py`  dangling() and leaked(), for two invariants
`layout/orders.py`     how processes are compared, so that few orders are tried
`c/canonical.c`        the least key over these orders
`c/search.c`           what a search is made of; a record and a step, drawn
`c/hash.c`             the hash of a key, and its fingerprint
`c/memory.c`           memory, counted; segments of records
`c/visited.c`          the table of states, drawn
`c/numbers.c`          the numbers of states: those that one worker would have given
`c/engine.c`           one worker: one step, one state
`c/workers.c`          all workers; what Python calls
`c/saved.c`            the states in a checkpoint, drawn

Why there is C at all: docs/adr/0002-model-to-c.md; why it is fast: 0010 and 0012; why workers find
what one finds: 0007; why the translator is built like this: 0016.
"""
