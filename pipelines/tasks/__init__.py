"""What `vcm train` can train: task name → module with `Settings` (a dataclass) and `build(settings, seed) -> Task`."""

TASKS = {
    "image-codec": "pipelines.tasks.image_codec",
    "mask-rcnn-scenes": "pipelines.tasks.mask_rcnn_scenes",
}
