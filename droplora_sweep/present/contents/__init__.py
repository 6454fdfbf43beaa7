"""Tables and figures as data, and the answer in words: made once, for every view."""
