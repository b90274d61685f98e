"""pytest plug-in: replays saved counterexamples and offers the conformance kit."""
