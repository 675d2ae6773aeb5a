"""Programs, one file per command; they share build, seeds and trained."""
