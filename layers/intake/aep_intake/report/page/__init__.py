"""The page: what became of a day's files, what waits, what needs you, and where a file is.

CloudWatch shows it as a custom widget, and the operator's command in a browser. There is no script:
what can be clicked asks for another page. All values go through `fill`, which escapes them.
CloudWatch says what a widget may have in it: *Add a custom widget to a CloudWatch dashboard*.
"""
