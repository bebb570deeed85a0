"""The page's tabs, one a module: what is shown and which event calls what; results come from the modules above."""
