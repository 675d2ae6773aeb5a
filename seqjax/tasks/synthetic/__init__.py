"""Tasks that are drawn on the device, one file a family."""
