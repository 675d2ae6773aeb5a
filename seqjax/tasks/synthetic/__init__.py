"""Tasks that are sampled on the device, one file per family."""
