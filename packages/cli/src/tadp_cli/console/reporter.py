"""Who is told of progress."""

from tadp_heads.training.protocols import Report as Report
