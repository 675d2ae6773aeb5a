"""Pure functions on arrays: the formulas, without parameters or Flax."""
