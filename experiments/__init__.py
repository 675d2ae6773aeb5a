"""One folder a question: main, sweep, plot, claims, and what came out."""
