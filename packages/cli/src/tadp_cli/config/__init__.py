"""Recipes: the settings of a training run, typed, read from TOML; see `tadp_cli.config.recipe`."""
