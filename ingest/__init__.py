"""From a file to rows: detect, read, symbolise, validate, append."""
