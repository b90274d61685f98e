"""The solvers Z3 and cvc5: their interface, SMT-LIB text, and the proofs found so far."""
