"""What a workflow found, to look at: tables, one self-contained HTML page, figures."""
