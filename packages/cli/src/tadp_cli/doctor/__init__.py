"""`tadp doctor`: what this machine and installation have of what the commands use."""
