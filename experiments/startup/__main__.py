"""Runs the experiment: python -m experiments.startup --help."""

from experiments import command

if __name__ == '__main__':
  command.main(__package__)
