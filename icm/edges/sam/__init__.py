"""Segment Anything on a whole picture, fast: upstream's masks, in an order of work that throws away early.

decoder: the mask decoder in two halves. everything: pictures to the masks that survive. survivors: those masks, packed,
from which the label map of any alpha comes in milliseconds. options: upstream's settings, and named shortcuts.
"""
