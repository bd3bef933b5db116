"""What is measured of an answer: its words, its class, its facts.

Every metric gives one row of numbers a sample, so that ``statistics`` can sum them over resampled groups.
"""
