"""Small programs that sample.toml and the tests run."""
