"""Hypothesis profiles for the whole test suite, and the plug-ins that all of it uses.

`make test` uses Hypothesis's own profiles: "default", or "ci" if the variable CI is set (no
deadline, always the same examples). `make test ARGS=--hypothesis-profile=dev` is for quick runs
while you write code. `make nightly` uses "nightly": it tries new examples, even in CI.
`make soak` runs the same tests with "soak", which takes hours.
"""

from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester", "tests.compiled"]

settings.register_profile(
    "dev", settings.get_profile("default"), max_examples=20, stateful_step_count=30, deadline=None
)

settings.register_profile(
    "nightly",
    settings.get_profile("default"),
    max_examples=5_000,
    stateful_step_count=100,
    derandomize=False,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)

settings.register_profile("soak", settings.get_profile("nightly"))
