"""The commands of `vislab` and tools/: one module each, with `add_arguments(parser)` and `main(args)`.

Slow imports stand inside `main`, so that `--help` is instant.
"""
