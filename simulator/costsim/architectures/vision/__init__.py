"""Nets of images and videos: small parametric families, one file each."""
