"""A run on the terminal: the views of the page, in plain characters.

`frames` draws them as text, `replay` steps through them. Each file of `views` draws one view of a `Moment`.
"""
