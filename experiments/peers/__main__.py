"""Runs the benchmark: python -m experiments.peers --help."""

from experiments import command

if __name__ == '__main__':
  command.main(__package__)
