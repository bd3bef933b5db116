"""Where each particle ends: by a small trained network or by threshold, with the reason for the choice.

segmentation = segment(field, "auto")       # .labels, .confidence, .method, .reason
"""

from micrographia.measure.segment.choose import METHODS, TRUSTED, Method, Segmentation, segment

__all__ = ["METHODS", "TRUSTED", "Method", "Segmentation", "segment"]
