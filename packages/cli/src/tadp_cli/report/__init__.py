"""Results as tables, self-contained HTML pages and figures."""
