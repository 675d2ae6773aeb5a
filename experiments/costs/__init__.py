"""What do training, populations and checkpoints cost?"""
