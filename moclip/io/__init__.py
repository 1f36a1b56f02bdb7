"""Files: paths, whole writes, forms, keys of validity, caches, and work on many files."""
