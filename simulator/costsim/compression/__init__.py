"""Compression: recipes that make an architecture smaller, and what they save and cost."""
