"""Outside formats, read into our data."""
