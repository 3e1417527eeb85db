"""Validation: measured runs in, error and coverage of the estimates out."""
