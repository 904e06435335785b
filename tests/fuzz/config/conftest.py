"""How hypothesis works here; for long runs: max_examples in the test file, and derandomize=False."""

from hypothesis import HealthCheck, settings

# The same examples in every run, and no judgement of how fast the machine is just now.
settings.register_profile("steady", derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("steady")
