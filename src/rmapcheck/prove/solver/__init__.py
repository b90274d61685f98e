"""Z3 and cvc5: what is asked of them, in which words, and within which memory."""
