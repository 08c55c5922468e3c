"""MiniStack where it is kinder than AWS: `hypercorn local.strict_aws.app:app`.

`switches` lists what is made strict; one module a subject replaces functions of MiniStack's modules
by name, which they look up at each call. `faults` are what a test makes AWS do wrong for a while,
over HTTP; `client` is the test's side of that. Only `switches`, `faults` and `client` can be
imported where MiniStack is not installed.
"""
