"""How the tiny models shipped with the packages were made: `python -m tadp_cli.pretrain` does it again."""
