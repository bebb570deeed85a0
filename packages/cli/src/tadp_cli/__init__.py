"""The `tadp` commands, the recipes, and the workflows that compose the four packages."""
