"""Measures what a sequential scan costs against parallel attention."""
