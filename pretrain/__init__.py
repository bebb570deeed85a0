"""How the tiny models shipped with the packages were made: `python -m pretrain` does it again."""
