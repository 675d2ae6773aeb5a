"""What does a sequential scan cost against parallel attention?"""
