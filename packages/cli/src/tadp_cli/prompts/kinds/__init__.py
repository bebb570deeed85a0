"""The built-in kinds of prompts: those of the paper (4.1-4.2), VPD's for NYUv2, and those of docs/presence.md."""
