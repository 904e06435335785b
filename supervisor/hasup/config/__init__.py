"""From TOML, pyproject.toml or a Procfile to the model."""
