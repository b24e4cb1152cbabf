"""Faster forms of what the files beside this folder say plainly, each equal to the plain form in a test.

`choice` is the one place that knows when a form runs. A form knows the plain files' data, never their modules.
"""
