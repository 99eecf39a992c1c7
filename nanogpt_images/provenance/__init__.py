"""
How an image was made, written into its file and read back, without touching its pixels.

`record` is what is written, `png`, `jpeg` and `webp` know where it goes, `embedding` puts it there while the
image streams to disk, `reading` finds it again.
"""
