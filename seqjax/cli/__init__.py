"""The programs: each file is one command."""
