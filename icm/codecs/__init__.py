"""Image codecs: networks with CompressAI's interface, and the objects that turn pictures into .vcm bytes."""
