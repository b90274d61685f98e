"""Search at native speed: the model's own Python source, translated to one C file and compiled.

This is the guide to the folder. It follows one function of the model to C, folio_put() of
model/mm/swap.py in a search of avc-7.0, and lists the files in the order in which to read them.

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

The entry points:

`explore.py`      runs a search from its start, or from a checkpoint, to its verdict
`translate.py`    writes the C file: functions for each invariant and goal, for apply() and
                  possible() of each operation, and for all that these call, together with the
                  texts of layout/ and c/
`search.py`       loads the library, and turns its numbers back into operations and states
`general.py`      one library for many scopes, compiled in the background
`bounds.py`       the limits of a scope: constants in C, or numbers that such a library reads

One function, translator/:

`source.py`       finds the syntax tree of folio_put(), and checks that the file has not changed
                  since it was loaded. What cannot be translated raises Untranslatable, one
                  sentence with file and line
`functions.py`    writes folio_put() in C, once for each use; this is function number 94. `folio`
                  is a number and becomes `int p_folio`; `st` is always the same state
`program.py`      what is known of scheme and scope: fields and pools; which functions are written
`body.py`         the C function that is being written. For each node of the tree it looks up, in
`grammar.py`      a table, the function that translates this type of node
`kinds.py`        what such a function returns: C code, a kind, and the value if it is a constant

One node, translator/:

`constants.py`    is tried first, for every expression. `st.folio` and `st.scheme` are constants.
                  So is `st.scope.files`, so that `if st.scope.files:` leaves no `if` in C
`parts.py`        which attributes of a scheme's objects are constants: `st.scheme.era.since`
`statements.py`   the `if`; loops; `return`
`conditions.py`   its condition, `and`, `or`, comparisons
`assignments.py`  `-= 1`, which looks up the field once
`arithmetic.py`   the minus
`fields.py`       `st.folio[folio].refcount` is `folio_ok_at(st, p_folio)->refcount`, which stops
                  the step if the page is NULL or freed
`lists.py`        lists and sets of numbers; none here
`loops.py`        `for`, and comprehensions; none here
`generators.py`   `yield`: in an invariant "violated", in an operation "possible"; none here

One call, translator/:

`calls.py`        decides which of the following two handles a call; here there are three calls
`resolve.py`      finds `st.scheme.folio_free` along the MRO of avc-7.0: it is Scheme.folio_free.
                  That does nothing, so folio_free_95 is empty and gcc removes the call
`intrinsics.py`   C has its own code for kmem_cache_free(); tell() is for observers of the
                  interpreted model, and becomes no code in C
`on_stack.py`     structs that are local variables, such as vma_merge_struct; none here

What the C function uses:

`layout/heap.py`  structs and pools: folio_ok_at(), folio_free()
`c/head.c`        oopses by number; the fields of a running operation
`c/runtime.c`     stop(), lists, locks

How the state after a step is stored:

`layout/stored.py`     its key, drawn; encode() and load()
`layout/packed.py`     the bits of a key, drawn, and how Python reads them
`layout/plain.py`      the key in a general library, which has bytes instead of bits
`layout/numbering.py`  the numbers that objects get in a key, drawn
`layout/reachable.py`  dangling() and leaked(), for two invariants
`layout/orders.py`     how processes are compared, so that few orders are tried
`c/canonical.c`        the smallest key over these orders
`c/search.c`           the data structures of a search; a record and a step, drawn
`c/hash.c`             the hash of a key, and its fingerprint
`c/memory.c`           memory, counted; segments of records
`c/visited.c`          the table of states, drawn
`c/numbers.c`          the numbers of states, the same for any number of workers
`c/engine.c`           one worker: one step, one state
`c/workers.c`          all workers, and the functions that Python calls
`c/saved.c`            the states in a checkpoint, drawn

Why there is C at all: docs/adr/0002-model-to-c.md. Why it is fast: 0010 and 0012. Why many workers
find the same as one: 0007. Why the translator is built like this: 0016. Why one library may search
many scopes: 0018.
"""
