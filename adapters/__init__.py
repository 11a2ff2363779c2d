"""One module a format: detection, metadata and reader together."""
