"""Reproducing the paper's tables: plan, prerequisites, runs, comparison."""
