"""The commands, one file each: they parse, call a workflow and print. Nothing heavy is imported at the top."""
