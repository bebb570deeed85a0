"""Text of the backbone: encoding, learned tokens, text conditionings, and where words attend."""
