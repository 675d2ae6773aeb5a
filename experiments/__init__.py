"""Experiments: a folder per question, and the programs that all of them share.

A folder with a `sweep.py` is an experiment, and no other file lists it.
"""
