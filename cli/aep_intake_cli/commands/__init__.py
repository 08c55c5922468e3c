"""What can be typed, a module for each subject; each adds its `command` to `aep-intake`.

A command's function imports what it needs when it runs: else `--help` would wait for AWS's client.
"""
