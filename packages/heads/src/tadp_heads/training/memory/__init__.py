"""The memory that training takes, measured or estimated, and what to do where it does not suffice."""
