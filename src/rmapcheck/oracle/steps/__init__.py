"""Which steps a comparison runs: random ones, directed ones, and prepared scenarios."""
