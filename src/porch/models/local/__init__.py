"""The bundled demo model: SmolLM2 135M, served by a child process of its own.

`weights` finds or installs the file, `process` keeps the child alive, `serve` is what the child runs.
"""
