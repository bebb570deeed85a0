"""Recipes: what a training run is, as TOML files; see `tadp_cli.recipes.recipe`."""
