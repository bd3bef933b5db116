"""Recipes that come with Micrographia: package data."""
