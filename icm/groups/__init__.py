"""Groups of a picture: their masks, where these come from, how they are coded, what a stream says of them. No torch."""

from icm.groups.mask import GRIDS, MAX_GROUPS, GroupMask, from_labels, one_group

__all__ = ["GRIDS", "MAX_GROUPS", "GroupMask", "from_labels", "one_group"]
