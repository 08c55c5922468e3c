"""What can be typed: a module for each subject, whose `command` is added to `aep-intake`.

A command's function imports what it needs when it runs; else `--help` would load boto3.
"""
