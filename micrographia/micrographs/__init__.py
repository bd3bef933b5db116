"""Pixels and their scale: image files to checked records, display images, and what looks alike."""
