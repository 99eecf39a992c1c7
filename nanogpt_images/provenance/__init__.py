"""
Write how an image was made into its file, and read it back, without changing a pixel.

`record` is the record, `png`, `jpeg` and `webp` find its place in a file, `embedding` inserts it while the image
streams to disk, `reading` reads it.
"""
