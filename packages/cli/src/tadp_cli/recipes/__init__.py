"""The shipped recipes, as TOML files; `tadp_cli.config.recipe` reads them."""
