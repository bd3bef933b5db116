"""One file a format: ``inspect`` walks its structure to the last byte, ``decode`` gives stored values.

Messages say what is wrong with the content; ``read`` puts the file's name before them.
"""
