"""`tadp doctor`: what the commands need, and what this machine and installation have."""
