"""The classroom: lessons that run cell by cell, and exercises whose functions run in a separate worker process."""
