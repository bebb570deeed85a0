"""What commands share: options, progress bars, errors, tables in a terminal."""
