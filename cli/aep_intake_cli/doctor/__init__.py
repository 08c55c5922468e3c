"""Is a deployed stack able to work?"""
